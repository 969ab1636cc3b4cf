#include "stored-vectors.h"

namespace vdb {
namespace {

// Rows that fill whole cache lines need no look at a line more and no masked tail: worth up to an eighth more memory.
size_t stride_of(size_t dimension) {
    constexpr size_t kLine = 16;
    const size_t whole = (dimension + kLine - 1) / kLine * kLine;
    return whole - dimension <= dimension / 8 ? whole : dimension;
}

} // namespace

StoredVectors::StoredVectors(const File& file, const FlatFile& parsed, const OpenOptions& options) {
    const size_t d = parsed.dimension;
    if (options.is_mapped) {
        file_ = file;
        view_ = {parsed.vectors.at, parsed.rows, d, d};
        return;
    }
    const size_t stride = stride_of(d);
    copy_ = Bytes(parsed.rows * stride * sizeof(float));
    for (size_t row = 0; row < parsed.rows; row++) {
        std::memcpy(copy_.data() + row * stride * sizeof(float), parsed.vectors.at + row * d * sizeof(float), d * sizeof(float));
    }
    view_ = {copy_.data(), parsed.rows, d, stride};
}

} // namespace vdb
