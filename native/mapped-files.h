// Files that JavaScript has mapped, as array buffers: a file stays mapped until the searches that read it have ended.
#pragma once
#include "memory.h"

#include <memory>
#include <napi.h>

namespace vdb {

// mapFile(path), unmapFile(buffer): see runtime/ann/native-addon.ts.
void define_mapped_files(Napi::Env env, Napi::Object exports);

// The bytes of a typed array that JavaScript keeps. Throws a Napi::Error if they were in a file that is no longer mapped.
const uint8_t* bytes_of(const Napi::TypedArray& array);

// The file of such bytes, to be kept while they are read; null if they are in no mapped file.
std::shared_ptr<const MappedFile> mapped_file_of(const uint8_t* bytes);

} // namespace vdb
