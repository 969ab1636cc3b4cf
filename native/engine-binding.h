// The class Engine as JavaScript sees it: a pool of threads and its open indexes. runtime/ann/native-addon.ts has its types and
// describes the packed arguments.
#pragma once
#include "completions.h"
#include "index.h"
#include "search-job.h"

#include <napi.h>
#include <unordered_map>

namespace vdb {

class EngineBinding : public Napi::ObjectWrap<EngineBinding> {
public:
    static void define(Napi::Env env, Napi::Object exports);
    explicit EngineBinding(const Napi::CallbackInfo& info);
    ~EngineBinding() override;

private:
    Napi::Value open(const Napi::CallbackInfo& info);
    Napi::Value search(const Napi::CallbackInfo& info);
    Napi::Value scan(const Napi::CallbackInfo& info);
    Napi::Value search_growing(const Napi::CallbackInfo& info);
    Napi::Value touch(const Napi::CallbackInfo& info);
    void forget(const Napi::CallbackInfo& info);
    void close(const Napi::CallbackInfo& info);
    Napi::Value waiting(const Napi::CallbackInfo& info);
    Napi::Value take_error(const Napi::CallbackInfo& info);

    void deliver(Napi::Env env, std::vector<std::unique_ptr<Job>> ended);
    bool submit(std::unique_ptr<Job> job);
    Napi::Value submit_search(const Napi::CallbackInfo& info, SearchCall call, Clock::time_point deadline);
    void stop();
    static void stop_with_environment(void* self);

    std::unique_ptr<Pool> pool_;
    std::unique_ptr<Completions> completions_;
    // Where JavaScript reads which searches have ended, and how: pairs of id and JobEnd.
    Napi::Reference<Napi::Uint32Array> ends_;
    uint32_t* ends_data_;
    size_t ends_max_;
    Napi::FunctionReference on_ends_;
    std::unordered_map<uint32_t, std::string> errors_;
    std::unordered_map<uint32_t, std::shared_ptr<const Index>> indexes_;
    uint32_t next_handle_ = 1;
    // Searches read mapped files, whose pages may be on the disk.
    bool may_wait_ = false;
    bool is_stopped_ = false;
};

} // namespace vdb
