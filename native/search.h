// What a search is, and what every kind of index needs to do one.
//
// Inside the engine a distance is a key: the smaller, the better. For L2 it is the squared distance, for the inner product
// the negated product. NaN (an overflow) counts as the worst there is.
#pragma once
#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace vdb {

constexpr float kWorstKey = std::numeric_limits<float>::infinity();

struct Hit {
    float key;
    uint32_t row;
};

// Equal keys: the smaller row is better, so that a result does not depend on the order in which rows were seen.
inline bool is_better(const Hit& a, const Hit& b) { return a.key < b.key || (a.key == b.key && a.row < b.row); }

// The best k hits, as a heap with the worst on top: a hit that cannot enter costs one comparison.
class TopK {
public:
    void reset(size_t k) {
        k_ = k;
        hits_.clear();
    }
    float worst() const { return hits_.size() < k_ ? kWorstKey : hits_.front().key; }
    void push(Hit hit) {
        if (hits_.size() < k_) {
            hits_.push_back(hit);
            std::push_heap(hits_.begin(), hits_.end(), is_better);
        } else if (k_ > 0 && is_better(hit, hits_.front())) {
            std::pop_heap(hits_.begin(), hits_.end(), is_better);
            hits_.back() = hit;
            std::push_heap(hits_.begin(), hits_.end(), is_better);
        }
    }
    // Best first. Nothing may be pushed afterwards until reset.
    const std::vector<Hit>& sorted() {
        std::sort_heap(hits_.begin(), hits_.end(), is_better);
        return hits_;
    }
    const std::vector<Hit>& hits() const { return hits_; }

private:
    size_t k_ = 0;
    std::vector<Hit> hits_;
};

// Rows that may be found: row r is bit (r & 31) of word (r >> 5). Absent: all of them.
struct Allow {
    const uint32_t* words = nullptr;
    // How many of the rows are allowed.
    size_t count = 0;

    bool has(uint32_t row) const { return words == nullptr || ((words[row >> 5] >> (row & 31)) & 1) != 0; }
};

// Keys that may be found: from `least` on, up to but without `beyond`.
struct Range {
    float least = -kWorstKey;
    float beyond = kWorstKey;

    // Of a key that is good enough: whether it is not too good.
    bool has_least() const { return least > -kWorstKey; }
    bool has(float key) const { return key >= least && (key < beyond || beyond == kWorstKey); }
};

// One query on one index.
struct Query {
    // Of the index's stride (see Vectors), normalised where the index wants it.
    const float* vector = nullptr;
    size_t k = 0;
    // ef of a graph, lists of an inverted file.
    size_t effort = 0;
    Allow allow;
    Range range;
};

// Rows of float32 as they lie in memory. A row may be followed by zeros up to the stride; the query is padded likewise, and
// distances are taken over the whole stride.
struct Vectors {
    const uint8_t* base = nullptr;
    size_t rows = 0;
    size_t dimension = 0;
    // In floats.
    size_t stride = 0;

    const float* row(size_t i) const { return reinterpret_cast<const float*>(base + i * stride * sizeof(float)); }
};

// One metric's kernels, as keys.
class KeyFn {
public:
    explicit KeyFn(bool is_l2)
        : one_(is_l2 ? l2_kernel() : inner_product_kernel()),
          four_(is_l2 ? l2_4_kernel() : inner_product_4_kernel()),
          sign_(is_l2 ? 1.0f : -1.0f) {}

    float one(const float* query, const float* row, size_t d) const { return safe(sign_ * one_(query, row, d)); }
    void four(const float* query, const float* const rows[4], size_t d, float keys[4]) const {
        four_(query, rows, d, keys);
        for (int i = 0; i < 4; i++) keys[i] = safe(sign_ * keys[i]);
    }
    float sign() const { return sign_; }

private:
    static float safe(float key) { return key == key ? key : kWorstKey; }

    DistanceFn one_;
    Distance4Fn four_;
    float sign_;
};

// What one thread keeps between searches, so that a search allocates nothing.
struct Scratch {
    // visited[row] == epoch: seen by this search. One byte a row: that of a million rows fits the second level cache.
    std::vector<uint8_t> visited;
    uint8_t epoch = 0;
    std::vector<Hit> pool;
    std::vector<Hit> heap;
    std::vector<uint32_t> batch;
    std::vector<uint32_t> detours;
    std::vector<Hit> lists;
    std::vector<float> numbers;
    std::vector<float> table;
    std::vector<const float*> queries;
    TopK top;
    std::vector<TopK> tops;

    void forget_visited(size_t rows) {
        if (visited.size() < rows) visited.resize(rows, 0);
        if (++epoch == 0) {
            std::fill(visited.begin(), visited.end(), uint8_t{0});
            epoch = 1;
        }
    }
    bool is_visited(uint32_t row) const { return visited[row] == epoch; }
    // False: it had been visited.
    bool visit(uint32_t row) {
        if (visited[row] == epoch) return false;
        visited[row] = epoch;
        return true;
    }
};

} // namespace vdb
