// Builds an HNSW graph over all rows of a segment, with several threads, and writes it as a FAISS file.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hnsw-core.h"
#include "hnsw-levels.h"
#include "index-file.h"
#include "memory.h"

namespace vdb {

struct HnswBuildOptions {
    Metric metric;
    size_t dimension;
    // Below 2^31.
    size_t rows;
    // At least 2.
    size_t m;
    size_t ef_construction;
    size_t threads;
    // Rows linked so far; from one thread, now and then.
    std::function<void(size_t)> on_progress;
};

// As FAISS holds it.
struct HnswGraph {
    explicit HnswGraph(size_t m) : shape(m) {}

    HnswLevels shape;
    // How many levels each row is on: at least 1.
    std::vector<int32_t> levels;
    // Where each row's links begin, and the end.
    std::vector<uint64_t> offsets;
    Array<Link> neighbors;
    uint32_t entry_point = 0;
    int32_t max_level = -1;
};

// Vectors are row-major [rows, dimension], for cosine of length 1 with the inner product. The levels depend on nothing but
// the number of rows and M; with one thread so does the whole graph.
// Throws std::bad_alloc.
HnswGraph build_hnsw(const float* vectors, const HnswBuildOptions& options);

// Rows as they go into a file: row-major [rows, dimension].
struct FileRows {
    const uint8_t* at;
    Element element;
    Metric metric;
    size_t rows;
    size_t dimension;
};

// Writes over the file. Throws std::system_error.
void write_hnsw_file(const std::string& path, const HnswGraph& graph, const FileRows& rows, size_t ef_construction,
                     size_t ef_search);

// A FAISS flat index. Throws std::system_error.
void write_flat_file(const std::string& path, const FileRows& rows);

} // namespace vdb
