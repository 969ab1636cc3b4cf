#include "stored-vectors.h"

namespace vdb {
namespace {

// Rows that fill whole cache lines need no read of a further line and no masked tail: worth up to an eighth more memory.
size_t stride_of(size_t dimension, Element element) {
    const size_t line = 64 / element_bytes(element);
    const size_t whole = (dimension + line - 1) / line * line;
    return whole - dimension <= dimension / 8 ? whole : dimension;
}

float inverse_length(const Vectors& vectors, const void* row) {
    double squares = 0;
    for (size_t i = 0; i < vectors.dimension; i++) {
        const double number = number_at(vectors.element, row, i);
        squares += number * number;
    }
    return squares == 0 ? 0 : static_cast<float>(1 / std::sqrt(squares));
}

} // namespace

StoredVectors::StoredVectors(const File& file, const FlatFile& parsed, const OpenOptions& options) {
    const size_t d = parsed.dimension;
    const bool has_scale = options.is_cosine && parsed.element != Element::f32;
    if (options.is_mapped && !has_scale && !parsed.is_shifted) {
        file_ = file;
        view_ = {parsed.vectors, parsed.rows, d, d, parsed.element, false};
        return;
    }
    view_ = {nullptr, parsed.rows, d, stride_of(d, parsed.element), parsed.element, has_scale};
    copy_ = Bytes(parsed.rows * view_.row_bytes());
    view_.base = copy_.data();
    for (size_t row = 0; row < parsed.rows; row++) {
        uint8_t* to = copy_.data() + row * view_.row_bytes();
        const uint8_t* from = parsed.vectors + row * parsed.row_bytes();
        if (parsed.is_shifted) {
            for (size_t i = 0; i < d; i++) to[i] = from[i] ^ 0x80;
        } else {
            std::memcpy(to, from, parsed.row_bytes());
        }
        if (!has_scale) continue;
        const float scale = inverse_length(view_, to);
        std::memcpy(to + view_.numbers_bytes(), &scale, sizeof scale);
    }
}

} // namespace vdb
