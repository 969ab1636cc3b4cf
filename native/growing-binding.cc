#include "growing-binding.h"

#include "js-numbers.h"

namespace vdb {

void GrowingBinding::define(Napi::Env env, Napi::Object exports) {
    exports.Set("GrowingIndex", DefineClass(env, "GrowingIndex",
                                            {
                                                InstanceMethod<&GrowingBinding::add>("add"),
                                                InstanceMethod<&GrowingBinding::close>("close"),
                                                InstanceMethod<&GrowingBinding::rows>("rows"),
                                                InstanceMethod<&GrowingBinding::indexed_rows>("indexedRows"),
                                                InstanceMethod<&GrowingBinding::memory_bytes>("memoryBytes"),
                                            }));
}

GrowingBinding::GrowingBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GrowingBinding>(info) {
    const Napi::Object given = info[0].As<Napi::Object>();
    GrowingOptions options;
    options.metric = given.Get("metric").ToString().Utf8Value() == "L2" ? Metric::l2 : Metric::inner_product;
    options.normalises = given.Get("normalises").ToBoolean();
    options.dimension = count_in(given, "dimension", 1, kDimensionMax);
    options.capacity = count_in(given, "capacity", 1, kRowsMax);
    options.m = count_in(given, "M", 2, kLinksMax);
    options.ef_construction = count_in(given, "efConstruction", 1, kRowsMax);
    try {
        growing_ = std::make_shared<LinkedGrowing>(options);
    } catch (const std::bad_alloc&) {
        throw Napi::Error::New(info.Env(), "no address space for a growing index of that capacity");
    }
}

GrowingBinding::~GrowingBinding() { let_go(); }

void GrowingBinding::let_go() {
    if (growing_ != nullptr) growing_->is_closed.store(true, std::memory_order_relaxed);
    // Searches that are under way keep it.
    growing_.reset();
}

void GrowingBinding::close(const Napi::CallbackInfo&) { let_go(); }

Napi::Value GrowingBinding::add(const Napi::CallbackInfo& info) {
    const auto vectors = info[0].As<Napi::Float32Array>();
    if (growing_ == nullptr) throw Napi::Error::New(info.Env(), "growing index is closed");
    const size_t dimension = growing_->index.options().dimension;
    if (vectors.ElementLength() % dimension != 0) throw Napi::Error::New(info.Env(), "vectors are not whole rows");
    const size_t taken = growing_->index.store(vectors.Data(), vectors.ElementLength() / dimension);
    if (taken > 0) GrowingLinker::of_process().wake(growing_);
    return Napi::Number::New(info.Env(), static_cast<double>(taken));
}

Napi::Value GrowingBinding::rows(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), growing_ == nullptr ? 0 : static_cast<double>(growing_->index.stored_rows()));
}

Napi::Value GrowingBinding::indexed_rows(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), growing_ == nullptr ? 0 : static_cast<double>(growing_->index.linked_rows()));
}

Napi::Value GrowingBinding::memory_bytes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), growing_ == nullptr ? 0 : static_cast<double>(growing_->index.memory_bytes()));
}

} // namespace vdb
