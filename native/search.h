// The definition of a search, and what every kind of index needs for one.
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

// The last two: a row matches, with distance 0, or is not a hit.
enum class Metric { inner_product, l2, hamming, jaccard, substructure, superstructure };

constexpr bool is_matching(Metric metric) { return metric == Metric::substructure || metric == Metric::superstructure; }

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

// Keys that may be found: `least` <= key < `beyond`.
struct Range {
    float least = -kWorstKey;
    float beyond = kWorstKey;

    // For a key that is good enough: whether it is not too good.
    bool has_least() const { return least > -kWorstKey; }
    bool has(float key) const { return key >= least && (key < beyond || beyond == kWorstKey); }
};

// One query on one index.
struct Query {
    // With the index's stride (see Vectors), float32 unless the rows are bits; normalised if the index requires it.
    const float* vector = nullptr;
    size_t k = 0;
    // ef of a graph, lists of an inverted file.
    size_t effort = 0;
    Allow allow;
    Range range;
};

// Rows in memory. A row may be followed by zeros up to the stride; the query is padded likewise, and distances are computed
// over the whole stride.
struct Vectors {
    const uint8_t* base = nullptr;
    size_t rows = 0;
    size_t dimension = 0;
    // In elements: numbers, or bytes of bits.
    size_t stride = 0;
    Element element = Element::f32;
    // Whether each row's stride is followed by a float32 by which its inner product is multiplied (cosine of rows that keep
    // their length).
    bool has_scale = false;

    size_t numbers_bytes() const { return stride * element_bytes(element); }
    size_t row_bytes() const { return numbers_bytes() + (has_scale ? sizeof(float) : 0); }
    const void* row(size_t i) const { return base + i * row_bytes(); }
};

// Whether the distance itself is the key.
constexpr bool is_ascending(Metric metric) { return metric != Metric::inner_product; }

// One metric's kernels, as keys.
class KeyFn {
public:
    KeyFn(Metric metric, const Vectors& rows)
        : KeyFn(metric, rows.element, rows.has_scale ? rows.numbers_bytes() : 0) {}
    // For float32 rows.
    explicit KeyFn(Metric metric) : KeyFn(metric, Element::f32, 0) {}

    float one(const void* query, const void* row, size_t d) const { return key_of(one_(query, row, d), row); }
    void four(const void* query, const void* const rows[4], size_t d, float keys[4]) const {
        four_(query, rows, d, keys);
        for (int i = 0; i < 4; i++) keys[i] = key_of(keys[i], rows[i]);
    }

private:
    KeyFn(Metric metric, Element element, size_t scale_at)
        : sign_(is_ascending(metric) ? 1.0f : -1.0f), scale_at_(scale_at) {
        if (element == Element::bits) {
            const auto& [one, four] = bit_kernel(metric);
            one_ = one;
            four_ = four;
            return;
        }
        const RowKernels& numbers = row_kernels(element);
        one_ = metric == Metric::l2 ? numbers.l2 : numbers.inner_product;
        four_ = metric == Metric::l2 ? numbers.l2_4 : numbers.inner_product_4;
    }
    static const BitKernel& bit_kernel(Metric metric) {
        const BitKernels& bits = kernels().bits;
        switch (metric) {
        case Metric::substructure: return substructure_kernel();
        case Metric::superstructure: return superstructure_kernel();
        case Metric::jaccard: return bits.jaccard;
        default: return bits.hamming;
        }
    }
    // NaN is the worst there is.
    float key_of(float distance, const void* row) const {
        float key = sign_ * distance;
        if (scale_at_ != 0) key *= number_at<Element::f32>(static_cast<const uint8_t*>(row) + scale_at_, 0);
        return key == key ? key : kWorstKey;
    }

    DistanceFn one_;
    Distance4Fn four_;
    float sign_;
    size_t scale_at_;
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
    // The last search of mapped pages had to wait for the disk (see WaitWatch): the next one requests them beforehand.
    bool is_waiting = false;

    void forget_visited(size_t rows) {
        if (visited.size() < rows) visited.resize(rows, 0);
        if (++epoch == 0) {
            std::fill(visited.begin(), visited.end(), uint8_t{0});
            epoch = 1;
        }
    }
    bool is_visited(uint32_t row) const { return visited[row] == epoch; }
    // False: it had been visited before.
    bool visit(uint32_t row) {
        if (visited[row] == epoch) return false;
        visited[row] = epoch;
        return true;
    }
};

} // namespace vdb
