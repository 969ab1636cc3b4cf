// What JavaScript gets from require(): each feature defines its own part.
#include "build-binding.h"
#include "engine-binding.h"
#include "float-list.h"
#include "growing-binding.h"
#include "kernels.h"
#include "memory.h"

#include <memory>
#include <stdexcept>

namespace {

// mapFile(path): the file's bytes as an ArrayBuffer, mapped until nothing refers to it. They cannot be written.
Napi::Value map_file(const Napi::CallbackInfo& info) {
    try {
        auto file = std::make_unique<vdb::MappedFile>(info[0].As<Napi::String>().Utf8Value());
        auto* data = const_cast<uint8_t*>(file->data());
        const size_t size = file->size();
        const auto unmap = [](Napi::Env, void*, vdb::MappedFile* mapped) { delete mapped; };
        return Napi::ArrayBuffer::New(info.Env(), data, size, unmap, file.release());
    } catch (const std::runtime_error& error) {
        throw Napi::Error::New(info.Env(), error.what());
    }
}

Napi::Object define(Napi::Env env, Napi::Object exports) {
    exports.Set("kernels", vdb::kernels().name);
    exports.Set("mapFile", Napi::Function::New<map_file>(env, "mapFile"));
    vdb::EngineBinding::define(env, exports);
    vdb::define_build(env, exports);
    vdb::define_float_list(env, exports);
    vdb::GrowingBinding::define(env, exports);
    return exports;
}

} // namespace

NODE_API_MODULE(vdb_native, define)
