// Exact search: every allowed row of a block of vectors against one or many queries.
#pragma once
#include "search.h"

namespace vdb {

// Contiguous rows; `allow` and `norms` cover them all.
struct Block {
    Vectors vectors;
    // The inner product is divided by the row's length.
    bool is_cosine = false;
    // Euclidean length of each row. Absent: it is computed.
    const float* norms = nullptr;
    Allow allow;
    // Added to row numbers.
    uint32_t first_row = 0;
};

// Offers rows [from, to) of a block to the top-k of each query. `from` is a multiple of 32.
// queries[i]: padded to the block's stride.
void scan_block(const KeyFn& key, const Block& block, size_t from, size_t to, const float* const* queries, size_t nq,
                const Range& range, TopK* tops);

} // namespace vdb
