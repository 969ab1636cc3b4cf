// The cost of searches in nanoseconds of one thread, and the lengths of their lists. Measured on a server CPU with AVX-512 with
// 100,000 rows of 128 dimensions, which no cache holds; only the ratios matter.
#pragma once
#include <algorithm>
#include <cstddef>

namespace vdb {

// Exact search over `allowed` of `rows` rows: the bitset is read whole, then row after row comes from memory.
inline double exact_cost_ns(size_t allowed, size_t rows, size_t d) {
    const double row = 8 + 0.13 * static_cast<double>(d);
    return 500 + 0.02 * static_cast<double>(rows) + row * static_cast<double>(allowed);
}

// One of several exact searches in one pass: a row comes from memory once, which is most of its cost.
inline double shared_cost_ns(size_t allowed, size_t rows, size_t d, size_t queries) {
    return exact_cost_ns(allowed, rows, d) * (0.4 + 0.6 / static_cast<double>(std::max<size_t>(queries, 1)));
}

inline double share_of(size_t allowed, size_t rows) {
    return rows == 0 ? 1 : static_cast<double>(allowed) / static_cast<double>(rows);
}

// The list size of a walk over all rows when only a share is allowed, chosen so that the k best allowed rows are in it as
// surely as k rows are in a list of ef.
inline size_t walk_list_size(size_t k, size_t ef, double share) {
    if (share >= 1) return std::max(k, ef);
    const double more = std::max(1 / std::max(share, 1e-6) - 1, 0.0);
    const double listed = static_cast<double>(std::max(k, ef)) * (1 + 0.4 * more);
    return static_cast<size_t>(std::max(listed, 1.5 * static_cast<double>(k) * (1 + more)));
}

// One row that a walk along a graph looks at: at a random address, with its share of the walk's book-keeping.
inline double graph_row_cost_ns(size_t d) { return 30 + 0.15 * static_cast<double>(d); }

// A walk along a graph with a list of `ef`: each row listed makes it look at more than half of the row's links.
inline double graph_cost_ns(size_t ef, size_t links, size_t d) {
    return 5000 + 0.6 * static_cast<double>(ef * links) * graph_row_cost_ns(d);
}

// A walk over allowed rows alone sees less of the graph, so it keeps a longer list for the same recall.
inline size_t filtered_list_size(size_t k, size_t ef) { return std::max(k, ef) * 5 / 4; }

// The cost of that walk: around each listed row it looks at about as many allowed rows as there are links, through more links
// the fewer are allowed.
inline double filtered_cost_ns(size_t list_size, size_t links, size_t d, double share) {
    const double per_row = 1 + 0.06 / std::max(share, 0.001);
    return 5000 + 1.25 * static_cast<double>(list_size * links) * graph_row_cost_ns(d) * per_row;
}

} // namespace vdb
