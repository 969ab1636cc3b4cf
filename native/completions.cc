#include "completions.h"

namespace vdb {

Completions::Completions(Napi::Env env, Deliver deliver)
    : env_(env), deliver_(std::move(deliver)), wake_(Wake::New(env, "vdb-native", 0, 1, this)) {
    wake_.Unref(env);
}

void Completions::expect() {
    if (expected_++ == 0) wake_.Ref(env_);
}

void Completions::expect_not() {
    if (--expected_ == 0) wake_.Unref(env_);
}

void Completions::push(std::unique_ptr<Job> job) {
    bool is_first;
    {
        const std::lock_guard lock(mutex_);
        is_first = ended_.empty();
        ended_.push_back(std::move(job));
    }
    if (is_first) wake_.NonBlockingCall();
}

void Completions::wake_up(Napi::Env env, Napi::Function, Completions* self, void*) {
    // Null while the environment is being torn down.
    if (static_cast<napi_env>(env) == nullptr || self->is_closed_) return;
    try {
        self->deliver_now(env);
    } catch (const Napi::Error& error) {
        // What JavaScript throws becomes an uncaught exception; a worker that is being terminated cannot run the call and takes
        // no error.
        error.ThrowAsJavaScriptException();
    }
}

void Completions::deliver_now(Napi::Env env) {
    std::vector<std::unique_ptr<Job>> ended;
    {
        const std::lock_guard lock(mutex_);
        ended.swap(ended_);
    }
    for (size_t i = 0; i < ended.size(); i++) expect_not();
    deliver_(env, std::move(ended));
}

void Completions::close() {
    if (is_closed_) return;
    is_closed_ = true;
    wake_.Abort();
    ended_.clear();
}

} // namespace vdb
