#include "pool.h"

#include <exception>

namespace vdb {
namespace {

// Waiting work that is worth another thread.
constexpr double kCallNs = 4e5;
// Longer tasks hold their thread: waiting work must not count on it.
constexpr double kHeldNs = 2e6;

} // namespace

Pool::Pool(size_t threads, size_t queue_max, std::function<void(std::unique_ptr<Job>)> on_end)
    : queue_max_(queue_max), on_end_(std::move(on_end)), sleepers_(threads) {
    for (Sleeper& one : sleepers_) threads_.emplace_back([this, &one] { work(one); });
}

bool Pool::submit(std::unique_ptr<Job> job) {
    job->unfinished_ = job->task_count();
    const std::lock_guard lock(mutex_);
    if (is_stopping_ || queue_.size() >= queue_max_) return false;
    waiting_ns_ += job->task_ns * static_cast<double>(job->unfinished_);
    queue_.push_back(job.release());
    call();
    return true;
}

void Pool::call() {
    while (!queue_.empty() && !asleep_.empty()) {
        const size_t awake = sleepers_.size() - asleep_.size();
        // Each called thread takes one task.
        const double left_ns = waiting_ns_ - queue_.front()->task_ns * static_cast<double>(called_);
        if (awake > held_ && left_ns < kCallNs) return;
        Sleeper& next = *asleep_.back();
        asleep_.pop_back();
        called_++;
        next.is_called = true;
        next.called.notify_one();
    }
}

void Pool::stop() {
    std::deque<Job*> dropped;
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
        dropped.swap(queue_);
        for (Sleeper& one : sleepers_) one.called.notify_one();
    }
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

void Pool::work(Sleeper& self) {
    Scratch scratch;
    std::unique_lock lock(mutex_);
    for (;;) {
        while (!is_stopping_ && !queue_.empty()) work_once(lock, scratch);
        if (is_stopping_) return;
        asleep_.push_back(&self);
        self.called.wait(lock, [this, &self] { return is_stopping_ || self.is_called; });
        if (is_stopping_) return;
        self.is_called = false;
        called_--;
    }
}

void Pool::work_once(std::unique_lock<std::mutex>& lock, Scratch& scratch) {
    Job* const job = queue_.front();
    const bool is_late = job->end == JobEnd::done && job->deadline <= Clock::now();
    if (is_late) job->end = JobEnd::deadline_exceeded;
    const size_t first = job->next_task_;
    // A failed job needs none of its other tasks.
    const size_t taken = job->end == JobEnd::done ? 1 : job->task_count() - first;
    job->next_task_ += taken;
    if (job->next_task_ == job->task_count()) queue_.pop_front();
    waiting_ns_ = queue_.empty() ? 0 : waiting_ns_ - job->task_ns * static_cast<double>(taken);
    if (job->end == JobEnd::done) {
        const size_t held = job->task_ns > kHeldNs ? 1 : 0;
        held_ += held;
        call();
        lock.unlock();
        run_one(*job, first, scratch);
        lock.lock();
        held_ -= held;
    }
    if (std::unique_ptr<Job> ended = finish(job, taken)) {
        lock.unlock();
        on_end_(std::move(ended));
        lock.lock();
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
