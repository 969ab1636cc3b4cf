// An HNSW over rows that keep coming. Rows are stored by one thread, linked one after the other by another, and searched by
// any number at the same time, without a lock: see hnsw-core.h.
//
// Nothing ever moves: address space for all rows that may come is reserved at once, and takes memory only where rows are.
#pragma once
#include "graph-search.h"
#include "hnsw-core.h"
#include "hnsw-levels.h"
#include "index.h"

#include <atomic>
#include <memory>
#include <vector>

namespace vdb {

struct GrowingOptions {
    Metric metric{};
    // Cosine: rows are scaled to length 1 as they are stored. The metric is the inner product.
    bool normalises = false;
    size_t dimension = 0;
    // Capacity in rows.
    size_t capacity = 0;
    // At least 2.
    size_t m = 0;
    size_t ef_construction = 0;
};

// The memory of a growing index.
class GrowingStore {
public:
    // Throws std::bad_alloc.
    explicit GrowingStore(const GrowingOptions& options);

    size_t row_count() const { return stored.load(std::memory_order_acquire); }
    const float* vector(uint32_t row) const { return vectors.data() + row * dimension; }
    const Link* links(uint32_t row, int level) const {
        if (level == 0) return base.data() + row * levels.capacity(0);
        return upper.data() + (upper_start[row] + static_cast<size_t>(level) - 1) * levels.capacity(1);
    }
    Link* links(uint32_t row, int level) { return const_cast<Link*>(std::as_const(*this).links(row, level)); }
    size_t capacity(int level) const { return levels.capacity(level); }
    // Only one thread writes.
    struct NoLock {
        void lock() {}
        void unlock() {}
    };
    NoLock& lock(uint32_t) { return no_lock; }

    const size_t dimension;
    const HnswLevels levels;
    Array<float> vectors;
    // Level 0: 2 M of each row.
    Array<Link> base;
    // The levels above, in lists of M: those of a row are consecutive.
    Array<Link> upper;
    const size_t upper_lists_max;
    // The number of a row's first list.
    Array<uint32_t> upper_start;
    std::atomic<size_t> stored{0};
    std::atomic<size_t> upper_lists{0};
    NoLock no_lock;
};

class GrowingHnsw {
public:
    // Throws std::bad_alloc.
    explicit GrowingHnsw(const GrowingOptions& options);

    const GrowingOptions& options() const { return options_; }
    size_t stored_rows() const { return store_.row_count(); }
    // The number of rows in the graph: the first ones.
    size_t linked_rows() const { return linked_.load(std::memory_order_acquire); }
    // Memory of what is stored, without what is only reserved.
    size_t memory_bytes() const;

    // Copies row-major vectors [count, dimension] while there is room, and says how many. By one thread at a time.
    size_t store(const float* vectors, size_t count);
    // Links at most `count` of the rows that are stored, and says whether some are left. By one thread at a time.
    bool link(size_t count);

    // Searches the first `rows` rows, which must be linked: leaves the best in scratch.top. query.allow covers that many.
    void search(const Query& query, size_t rows, Scratch& scratch) const;
    double cost_ns(const Query& query, size_t rows) const;

private:
    EntryPoint entry_below(size_t rows) const;
    Vectors vectors(size_t rows) const;
    Outcome walk(const KeyFn& key, const Query& query, size_t rows, Scratch& scratch) const;
    // Walks over all linked rows; those from `rows` on are not found.
    Outcome walk_filtered(const KeyFn& key, const Query& query, size_t rows, size_t linked, Scratch& scratch) const;

    const GrowingOptions options_;
    GrowingStore store_;
    std::atomic<size_t> linked_{0};
    // Each is on a higher level than the one before: a search of the first rows starts at the last that is among them.
    std::vector<EntryPoint> entries_;
    std::atomic<size_t> entry_count_{0};
    // Used by the linking thread.
    SplitMix64 numbers_;
    HnswInserter<GrowingStore> inserter_;
};

// The first `rows` rows of a growing index, as something to search.
class GrowingView : public Index {
public:
    GrowingView(std::shared_ptr<const GrowingHnsw> growing, size_t rows)
        : Index(growing->options().metric, rows, growing->options().dimension, growing->options().dimension),
          growing_(std::move(growing)) {}

    const char* type() const override { return "HNSW"; }
    size_t memory_bytes() const override { return growing_->memory_bytes(); }
    void search(const Query& query, Scratch& scratch) const override { growing_->search(query, rows(), scratch); }
    double cost_ns(const Query& query) const override { return growing_->cost_ns(query, rows()); }

private:
    std::shared_ptr<const GrowingHnsw> growing_;
};

} // namespace vdb
