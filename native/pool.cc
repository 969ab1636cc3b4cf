#include "pool.h"

#include <exception>

namespace vdb {

Pool::Pool(size_t threads, size_t queue_max, std::function<void(std::unique_ptr<Job>)> on_end)
    : queue_max_(queue_max), on_end_(std::move(on_end)) {
    for (size_t i = 0; i < threads; i++) threads_.emplace_back([this] { work(); });
}

bool Pool::submit(std::unique_ptr<Job> job) {
    job->unfinished_ = job->task_count();
    const bool has_many = job->unfinished_ > 1;
    {
        const std::lock_guard lock(mutex_);
        if (is_stopping_ || queue_.size() >= queue_max_) return false;
        queue_.push_back(job.release());
    }
    if (has_many) has_work_.notify_all();
    else has_work_.notify_one();
    return true;
}

void Pool::stop() {
    std::deque<Job*> dropped;
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
        dropped.swap(queue_);
    }
    has_work_.notify_all();
    for (std::thread& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
    for (Job* job : dropped) {
        job->end = JobEnd::canceled;
        on_end_(std::unique_ptr<Job>(job));
    }
}

size_t Pool::waiting() {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

void Pool::work() {
    Scratch scratch;
    std::unique_lock lock(mutex_);
    for (;;) {
        has_work_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
        if (is_stopping_) return;
        Job* const job = queue_.front();
        const bool is_late = job->end == JobEnd::done && job->deadline <= Clock::now();
        if (is_late) job->end = JobEnd::deadline_exceeded;
        const size_t first = job->next_task_;
        // A job that has failed needs none of its other tasks.
        const size_t taken = job->end == JobEnd::done ? 1 : job->task_count() - first;
        job->next_task_ += taken;
        if (job->next_task_ == job->task_count()) queue_.pop_front();
        if (job->end == JobEnd::done) {
            lock.unlock();
            run_one(*job, first, scratch);
            lock.lock();
        }
        if (std::unique_ptr<Job> ended = finish(job, taken)) {
            lock.unlock();
            on_end_(std::move(ended));
            lock.lock();
        }
    }
}

void Pool::run_one(Job& job, size_t task, Scratch& scratch) {
    std::string error;
    try {
        job.run(task, scratch);
        return;
    } catch (const std::exception& thrown) {
        error = thrown.what();
    }
    const std::lock_guard lock(mutex_);
    job.end = JobEnd::failed;
    job.error = error;
}

std::unique_ptr<Job> Pool::finish(Job* job, size_t tasks) {
    job->unfinished_ -= tasks;
    return std::unique_ptr<Job>(job->unfinished_ == 0 ? job : nullptr);
}

} // namespace vdb
