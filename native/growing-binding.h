// The class GrowingIndex as JavaScript sees it; runtime/ann/native-addon.ts has its types. It is searched through an Engine.
#pragma once
#include "growing-linker.h"

#include <napi.h>

namespace vdb {

class GrowingBinding : public Napi::ObjectWrap<GrowingBinding> {
public:
    static void define(Napi::Env env, Napi::Object exports);
    explicit GrowingBinding(const Napi::CallbackInfo& info);
    ~GrowingBinding() override;

    // Null once closed.
    const std::shared_ptr<LinkedGrowing>& growing() const { return growing_; }

private:
    Napi::Value add(const Napi::CallbackInfo& info);
    void close(const Napi::CallbackInfo& info);
    Napi::Value rows(const Napi::CallbackInfo& info);
    Napi::Value indexed_rows(const Napi::CallbackInfo& info);
    Napi::Value memory_bytes(const Napi::CallbackInfo& info);

    void let_go();

    std::shared_ptr<LinkedGrowing> growing_;
};

} // namespace vdb
