// What JavaScript gets from require(): each feature defines its own part.
#include "build-binding.h"
#include "engine-binding.h"
#include "float-list.h"
#include "growing-binding.h"
#include "kernels.h"
#include "mapped-files.h"

namespace {

Napi::Object define(Napi::Env env, Napi::Object exports) {
    exports.Set("kernels", vdb::kernels().name);
    vdb::define_mapped_files(env, exports);
    vdb::EngineBinding::define(env, exports);
    vdb::define_build(env, exports);
    vdb::define_float_list(env, exports);
    vdb::GrowingBinding::define(env, exports);
    return exports;
}

} // namespace

NODE_API_MODULE(vdb_native, define)
