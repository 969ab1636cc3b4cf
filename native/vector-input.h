// The vectors that an index is built from, read from where they lie in files.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "element.h"
#include "memory.h"

namespace vdb {

struct FilePart {
    uint64_t offset;
    uint64_t bytes;
};

// The parts of a file, one after the other: row-major, `bytes` in all. Throws std::runtime_error when the file cannot be read
// or the parts hold another number of bytes; std::bad_alloc.
Bytes read_vectors(const std::string& path, const std::vector<FilePart>& parts, size_t bytes);

// The numbers of packed rows. Throws std::bad_alloc.
Array<float> as_floats(const uint8_t* rows, size_t numbers, Element element);

// Scales every row to length 1; a zero row stays zero. To the last bit what runtime/ann/normalise.ts does.
void normalise_rows(float* vectors, size_t rows, size_t dimension);

} // namespace vdb
