// Threads that do the searching, and the jobs they do. Knows nothing of JavaScript.
#pragma once
#include "search.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace vdb {

using Clock = std::chrono::steady_clock;

enum class JobEnd : uint32_t { done = 0, deadline_exceeded = 1, canceled = 2, failed = 3 };

// Work in one or more tasks, which may run at the same time. A pool owns it from submit() until it is handed back.
class Job {
public:
    virtual ~Job() = default;
    // Fixed once submitted; at least 1.
    virtual size_t task_count() const = 0;
    // On a thread of the pool. What it throws fails the job.
    virtual void run(size_t task, Scratch& scratch) = 0;

    // Tasks that have not started by then never do.
    Clock::time_point deadline = Clock::time_point::max();
    // After the last task.
    JobEnd end = JobEnd::done;
    std::string error;

private:
    friend class Pool;
    size_t next_task_ = 0;
    size_t unfinished_ = 0;
};

class Pool {
public:
    // At most queue_max jobs wait. on_end is called on a thread of the pool, or on that which calls stop().
    Pool(size_t threads, size_t queue_max, std::function<void(std::unique_ptr<Job>)> on_end);
    ~Pool() { stop(); }

    // Returns whether there was room; a job that is refused is gone.
    bool submit(std::unique_ptr<Job> job);
    // Cancels what waits, waits for the tasks that run. Afterwards nothing is taken any more.
    void stop();

    size_t threads() const { return threads_.size(); }
    // Jobs of which some task has not started.
    size_t waiting();

private:
    void work();
    void run_one(Job& job, size_t task, Scratch& scratch);
    // With the lock held. Returns the job when that was its last task.
    std::unique_ptr<Job> finish(Job* job, size_t tasks);

    const size_t queue_max_;
    const std::function<void(std::unique_ptr<Job>)> on_end_;
    std::mutex mutex_;
    std::condition_variable has_work_;
    std::deque<Job*> queue_;
    bool is_stopping_ = false;
    std::vector<std::thread> threads_;
};

} // namespace vdb
