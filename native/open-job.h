// Opens an index file on a thread of the pool and settles a promise.
#pragma once
#include "index.h"
#include "pool.h"

#include <functional>
#include <napi.h>

namespace vdb {

class OpenJob : public Job {
public:
    OpenJob(Napi::Env env, std::string path, OpenOptions options)
        : deferred(Napi::Promise::Deferred::New(env)), path_(std::move(path)), options_(options) {}

    size_t task_count() const override { return 1; }
    void run(size_t, Scratch&) override { opened = open_index(path_, options_); }

    Napi::Promise::Deferred deferred;
    std::shared_ptr<const Index> opened;

private:
    std::string path_;
    OpenOptions options_;
};

} // namespace vdb
