// The way back: ended jobs are handed to JavaScript's thread, many with one wake-up.
#pragma once
#include "pool.h"

#include <functional>
#include <memory>
#include <mutex>
#include <napi.h>
#include <vector>

namespace vdb {

class Completions {
public:
    // On JavaScript's thread: handles the jobs that have ended since the last call.
    using Deliver = std::function<void(Napi::Env, std::vector<std::unique_ptr<Job>>)>;

    Completions(Napi::Env env, Deliver deliver);
    ~Completions() { close(); }

    // On JavaScript's thread, for each job before it is submitted: while one is under way the event loop stays alive.
    void expect();
    // Takes back an expect().
    void expect_not();
    // On any thread.
    void push(std::unique_ptr<Job> job);
    // On JavaScript's thread: delivers without waiting for the wake-up.
    void deliver_now(Napi::Env env);
    // On JavaScript's thread, after the last push. Undelivered jobs are dropped.
    void close();

private:
    static void wake_up(Napi::Env env, Napi::Function, Completions* self, void*);
    using Wake = Napi::TypedThreadSafeFunction<Completions, void, wake_up>;

    napi_env env_;
    Deliver deliver_;
    Wake wake_;
    size_t expected_ = 0;
    bool is_closed_ = false;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Job>> ended_;
};

} // namespace vdb
