// Files that JavaScript has mapped, as array buffers: what a search reads of one stays mapped until it has ended.
#pragma once
#include "memory.h"

#include <memory>
#include <napi.h>

namespace vdb {

// mapFile(path), unmapFile(buffer): see runtime/ann/native-addon.ts.
void define_mapped_files(Napi::Env env, Napi::Object exports);

// The bytes of a typed array that JavaScript keeps. Throws a Napi::Error where they were in a file that is mapped no more.
const uint8_t* bytes_of(const Napi::TypedArray& array);

// The file that has such bytes, to be kept while they are read; nothing where they are in no mapped file.
std::shared_ptr<const MappedFile> mapped_file_of(const uint8_t* bytes);

} // namespace vdb
