// buildIndexFile as JavaScript sees it; runtime/ann/native-addon.ts has its types.
#pragma once
#include <napi.h>

namespace vdb {

void define_build(Napi::Env env, Napi::Object exports);

} // namespace vdb
