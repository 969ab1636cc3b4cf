// Threads that do the searching, and the jobs they do. Knows nothing of JavaScript.
//
// There is a thread for each core, and JavaScript needs one of the cores too. Waking a thread for work that another one would
// have done meanwhile takes JavaScript's core and gains nothing: a further thread is called only for work that would wait long.
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
    // Runs on a thread of the pool. An exception fails the job.
    virtual void run(size_t task, Scratch& scratch) = 0;

    // The approximate time of one task; jobs that may wait for a disk leave it at this.
    double task_ns = 1e9;
    // Tasks that have not started by then never start.
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
    // Cancels waiting jobs and waits for running tasks. Afterwards no job is accepted.
    void stop();

    size_t threads() const { return sleepers_.size(); }
    // Jobs with a task that has not started.
    size_t waiting();

private:
    struct Sleeper {
        std::condition_variable called;
        bool is_called = false;
    };

    void work(Sleeper& self);
    // With the lock held, which it releases meanwhile: runs one task, or cleans up after a failed job.
    void work_once(std::unique_lock<std::mutex>& lock, Scratch& scratch);
    void run_one(Job& job, size_t task, Scratch& scratch);
    // With the lock held. Wakes as many more threads as the waiting work is worth.
    void call();
    // With the lock held. Returns the job when that was its last task.
    std::unique_ptr<Job> finish(Job* job, size_t tasks);

    const size_t queue_max_;
    const std::function<void(std::unique_ptr<Job>)> on_end_;
    std::mutex mutex_;
    std::deque<Job*> queue_;
    // The cost of the tasks that have not started.
    double waiting_ns_ = 0;
    // One per thread. The sleeping ones are in the order of falling asleep; the last is called first, so that as few threads as
    // possible take turns.
    std::deque<Sleeper> sleepers_;
    std::vector<Sleeper*> asleep_;
    // Threads that were called and are not awake yet, and those in a task that may take long. While something waits, some
    // thread that is not held is awake.
    size_t called_ = 0;
    size_t held_ = 0;
    bool is_stopping_ = false;
    std::vector<std::thread> threads_;
};

} // namespace vdb
