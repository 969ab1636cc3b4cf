// Threads that do the searching, and the jobs they do. Knows nothing of JavaScript.
//
// There is a thread for each core, and JavaScript needs one of the cores too. A thread that is woken for what another one
// would have done in the meantime takes JavaScript's core from it and gains nothing: one more is called for what waits long.
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

    // About what one task takes of a thread. One that may wait for a disk says nothing.
    double task_ns = 1e9;
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

    size_t threads() const { return sleepers_.size(); }
    // Jobs of which some task has not started.
    size_t waiting();

private:
    struct Sleeper {
        std::condition_variable called;
        bool is_called = false;
    };

    void work(Sleeper& self);
    // With the lock held, which it lets go meanwhile: one task, or what is left of a job that has failed.
    void work_once(std::unique_lock<std::mutex>& lock, Scratch& scratch);
    void run_one(Job& job, size_t task, Scratch& scratch);
    // With the lock held. Wakes as many threads more as what waits is worth.
    void call();
    // With the lock held. Returns the job when that was its last task.
    std::unique_ptr<Job> finish(Job* job, size_t tasks);

    const size_t queue_max_;
    const std::function<void(std::unique_ptr<Job>)> on_end_;
    std::mutex mutex_;
    std::deque<Job*> queue_;
    // Of the tasks that have not started.
    double waiting_ns_ = 0;
    // One a thread; those that sleep, the last to fall asleep last: it is called first, so that as few as can take turns.
    std::deque<Sleeper> sleepers_;
    std::vector<Sleeper*> asleep_;
    // Threads that were called and are not up yet, and those at a task that may take long. While something waits, a thread that
    // is not held is awake.
    size_t called_ = 0;
    size_t held_ = 0;
    bool is_stopping_ = false;
    std::vector<std::thread> threads_;
};

} // namespace vdb
