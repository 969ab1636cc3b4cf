// Lists of numbers in JSON text, as bulk imports read them.
#pragma once
#include <cstddef>
#include <cstdint>

#include <napi.h>

namespace vdb {

// The list of exactly `count` numbers that begins at text[at], after white space: the numbers that JSON.parse would give,
// rounded to 32 bits. Returns the position after its bracket; 0 when it is anything else, or has a number that is hard to
// round: the caller then reads it in another way.
size_t read_floats(const uint8_t* text, size_t size, size_t at, size_t count, float* out);

// readFloats(text: Uint8Array, at, out: Float32Array, from, count): into out[from...]; returns as read_floats.
void define_float_list(Napi::Env env, Napi::Object exports);

} // namespace vdb
