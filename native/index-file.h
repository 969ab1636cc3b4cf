// FAISS index files, read without FAISS: the layout of the bytes, checked against the size of the file before anything is
// allocated. The layout is described in runtime/ann/index-file.ts.
#pragma once
#include "memory.h"
#include "search.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace vdb {

// The bytes are not an index that we know. The message says where and why.
struct Damaged : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct FlatFile {
    Metric metric{};
    size_t dimension = 0;
    size_t rows = 0;
    // Row-major [rows, dimension].
    Element element = Element::f32;
    const uint8_t* vectors = nullptr;
    // int8 as FAISS stores them: unsigned, with 128 added.
    bool is_shifted = false;

    size_t row_bytes() const { return dimension * element_bytes(element); }
};

struct HnswFile {
    FlatFile storage;
    // Links of a row with n levels: cum_links[n], of which level l has those from cum_links[l] to cum_links[l + 1].
    std::vector<size_t> cum_links;
    // For each row: how many levels it is on, at least 1.
    Packed<int32_t> levels;
    // For each row: where its links start in `links`; one more entry says where the last end.
    Packed<uint64_t> offsets;
    // Rows; -1: no more links of this row on this level.
    Packed<int32_t> links;
    int32_t entry_point = -1;
    int32_t max_level = -1;
};

struct IvfList {
    const uint8_t* codes = nullptr;
    Packed<int64_t> rows;
};

enum class IvfCode { flat, sq8, pq };

struct IvfFile {
    Metric metric{};
    size_t dimension = 0;
    size_t rows = 0;
    IvfCode code{};
    size_t code_bytes = 0;
    // The lists' centroids, with the metric by which lists are chosen.
    FlatFile quantizer;
    std::vector<IvfList> lists;
    // Codes encode the difference to the list's centroid.
    bool by_residual = false;
    // sq8: the least value of each dimension, then the width of its range.
    Packed<float> ranges;
    // pq: [sub-quantizers, 2^bits, dimension / sub-quantizers].
    size_t sub_quantizers = 0;
    size_t bits = 0;
    Packed<float> codebook;
};

using IndexFile = std::variant<FlatFile, HnswFile, IvfFile>;

// The result points into `bytes`. Throws Damaged.
IndexFile read_index_file(const uint8_t* bytes, size_t size);

} // namespace vdb
