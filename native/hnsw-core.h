// The insertion algorithm of HNSW (Malkov & Yashunin, "Efficient and robust approximate nearest neighbor search using
// Hierarchical Navigable Small World graphs", 2016), for any store of vectors and links: a whole segment at once
// (hnsw-build) and rows that keep coming (growing-hnsw).
//
// Concurrency. Links are always read without a lock. A list of links is written by one thread at a time (its row's lock) and
// element by element, so a reader may see some old and some new links: each names a row whose vector is there, and such a
// mixture does a search no harm. A row becomes reachable on a level only when its own links of that level and of all below are
// complete, so nobody gets stuck on it.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "index-file.h"
#include "search.h"

namespace vdb {

// An unused link: a list ends at the first one.
constexpr int32_t kNoLink = -1;

// The best candidates so far, nearest first, and which of them have been expanded. One sorted array in place of the paper's two
// heaps: at the usual sizes (10 to 500) moving a few hundred bytes is cheaper than sifting, and the result of a layer's search
// is already sorted.
class CandidatePool {
public:
    void begin(size_t capacity) {
        if (hits_.size() < capacity + 1) hits_.resize(capacity + 1);
        capacity_ = capacity;
        size_ = 0;
        cursor_ = 0;
    }

    void insert(const Hit& hit) {
        // Any of the first: what overflows has the worst key.
        if (size_ > 0 && !(hit.key < worst())) return;
        const size_t at = position_of(hit.key);
        const size_t moved = std::min(size_, capacity_ - 1) - at;
        std::memmove(&hits_[at + 1], &hits_[at], moved * sizeof(Hit));
        hits_[at] = hit;
        if (size_ < capacity_) size_++;
        if (at < cursor_) cursor_ = at;
    }

    // The nearest that has not been expanded, or kNone.
    uint32_t take_next() {
        while (cursor_ < size_ && (hits_[cursor_].row & kExpanded) != 0) cursor_++;
        if (cursor_ == size_) return kNone;
        const uint32_t row = hits_[cursor_].row;
        hits_[cursor_++].row |= kExpanded;
        return row;
    }

    // What take_next would return if nothing nearer came: for prefetching.
    uint32_t peek_next() const {
        for (size_t i = cursor_; i < size_; i++) {
            if ((hits_[i].row & kExpanded) == 0) return hits_[i].row;
        }
        return kNone;
    }

    size_t size() const { return size_; }
    Hit at(size_t i) const { return {hits_[i].key, hits_[i].row & ~kExpanded}; }

    static constexpr uint32_t kNone = UINT32_MAX;

private:
    // Rows stay below this.
    static constexpr uint32_t kExpanded = uint32_t{1} << 31;

    float worst() const { return size_ < capacity_ ? kWorstKey : hits_[size_ - 1].key; }

    // After equal ones, without a branch to mispredict.
    size_t position_of(float key) const {
        const Hit* base = hits_.data();
        size_t count = size_;
        while (count > 1) {
            const size_t half = count / 2;
            base += base[half - 1].key <= key ? half : 0;
            count -= half;
        }
        return static_cast<size_t>(base - hits_.data()) + (count == 1 && base->key <= key ? 1 : 0);
    }

    std::vector<Hit> hits_;
    size_t capacity_ = 0;
    size_t size_ = 0;
    size_t cursor_ = 0;
};

// Held for the few microseconds that it takes to rewrite a list of links.
class SpinLock {
public:
    void lock() {
        while (is_held_.exchange(true, std::memory_order_acquire)) {
            // The holder may have been preempted.
            while (is_held_.load(std::memory_order_relaxed)) std::this_thread::yield();
        }
    }
    void unlock() { is_held_.store(false, std::memory_order_release); }

private:
    std::atomic<bool> is_held_{false};
};

struct EntryPoint {
    uint32_t row;
    int level;
};

using Link = std::atomic<int32_t>;

// One thread's way through a graph, with the memory that it needs again and again.
//
// Store is where rows and links are:
//   size_t row_count() const                       a bound of the rows that may be met
//   const float* vector(uint32_t row) const
//   Link* links(uint32_t row, int level)           capacity(level) of them
//   size_t capacity(int level) const
//   lock(uint32_t row)                             what keeps two threads from writing the links of a row
template <class Store>
class HnswInserter {
public:
    // `dimension` is how many floats of each vector count.
    HnswInserter(Store& store, Metric metric, size_t dimension)
        : store_(store), key_(metric), dimension_(dimension) {}

    // Links a row whose vector is in the store and that nobody has linked yet. Where its level is higher than that of the
    // entry point, the caller makes it the new one afterwards.
    void insert(uint32_t row, int level, const EntryPoint& entry, size_t ef_construction) {
        const float* vector = store_.vector(row);
        const int top = std::min(level, entry.level);
        if (chosen_.size() <= static_cast<size_t>(top)) chosen_.resize(static_cast<size_t>(top) + 1);
        Hit nearest{key_.one(vector, store_.vector(entry.row), dimension_), entry.row};
        for (int at = entry.level; at > top; at--) nearest = walk_greedily(vector, nearest, at);
        for (int at = top; at >= 0; at--) {
            search_level(vector, nearest, at, ef_construction);
            nearest = pool_.at(0);
            candidates_.clear();
            for (size_t i = 0; i < pool_.size(); i++) candidates_.push_back(pool_.at(i));
            choose_diverse(candidates_, store_.capacity(at), chosen_[static_cast<size_t>(at)]);
        }
        for (int at = 0; at <= top; at++) write_links(row, at, chosen_[static_cast<size_t>(at)]);
        for (int at = 0; at <= top; at++) {
            for (const Hit& neighbour : chosen_[static_cast<size_t>(at)]) link_back(neighbour, row, at);
        }
    }

private:
    Hit walk_greedily(const float* query, Hit nearest, int level) {
        for (;;) {
            const uint32_t from = nearest.row;
            batch_.clear();
            for_each_link(from, level, [this](uint32_t row) { add_to_batch(row); });
            score_batch(query, [&nearest](const Hit& hit) {
                if (hit.key < nearest.key) nearest = hit;
            });
            if (nearest.row == from) return nearest;
        }
    }

    // Leaves the `ef` nearest rows found on a level in the pool.
    void search_level(const float* query, const Hit& start, int level, size_t ef) {
        pool_.begin(ef);
        scratch_.forget_visited(store_.row_count());
        scratch_.visit(start.row);
        pool_.insert(start);
        for (uint32_t row; (row = pool_.take_next()) != CandidatePool::kNone;) {
            batch_.clear();
            for_each_link(row, level, [this](uint32_t found) {
                if (scratch_.visit(found)) add_to_batch(found);
            });
            const uint32_t next = pool_.peek_next();
            if (next != CandidatePool::kNone) __builtin_prefetch(store_.links(next, level));
            score_batch(query, [this](const Hit& hit) { pool_.insert(hit); });
        }
    }

    template <class Take>
    void for_each_link(uint32_t row, int level, const Take& take) {
        const Link* links = store_.links(row, level);
        for (size_t i = 0, count = store_.capacity(level); i < count; i++) {
            // Acquire: the vector and the links of a row that is found here are there.
            const int32_t link = links[i].load(std::memory_order_acquire);
            if (link == kNoLink) return;
            take(static_cast<uint32_t>(link));
        }
    }

    void add_to_batch(uint32_t row) {
        batch_.push_back(row);
        prefetch_row(store_.vector(row), dimension_ * sizeof(float));
    }

    template <class Take>
    void score_batch(const float* query, const Take& take) {
        size_t i = 0;
        for (; i + 4 <= batch_.size(); i += 4) {
            const void* rows[4];
            float keys[4];
            for (size_t j = 0; j < 4; j++) rows[j] = store_.vector(batch_[i + j]);
            key_.four(query, rows, dimension_, keys);
            for (size_t j = 0; j < 4; j++) take(Hit{keys[j], batch_[i + j]});
        }
        for (; i < batch_.size(); i++) take(Hit{key_.one(query, store_.vector(batch_[i]), dimension_), batch_[i]});
    }

    // Algorithm 4 of the paper without its two extensions, as FAISS and hnswlib have it: starting with the nearest, a row that
    // is nearer to a chosen one than to the base is left out, because the chosen one leads to it. `sorted` is nearest first.
    void choose_diverse(const std::vector<Hit>& sorted, size_t count, std::vector<Hit>& chosen) {
        chosen.clear();
        for (const Hit& hit : sorted) {
            if (chosen.size() == count) return;
            if (!is_dominated(hit, chosen)) chosen.push_back(hit);
        }
    }

    bool is_dominated(const Hit& hit, const std::vector<Hit>& chosen) {
        const float* vector = store_.vector(hit.row);
        size_t i = 0;
        for (; i + 4 <= chosen.size(); i += 4) {
            const void* rows[4];
            float keys[4];
            for (size_t j = 0; j < 4; j++) rows[j] = store_.vector(chosen[i + j].row);
            key_.four(vector, rows, dimension_, keys);
            for (const float key : keys) {
                if (key < hit.key) return true;
            }
        }
        for (; i < chosen.size(); i++) {
            if (key_.one(vector, store_.vector(chosen[i].row), dimension_) < hit.key) return true;
        }
        return false;
    }

    void write_links(uint32_t row, int level, const std::vector<Hit>& chosen) {
        Link* links = store_.links(row, level);
        for (size_t i = 0, capacity = store_.capacity(level); i < capacity; i++) {
            const int32_t link = i < chosen.size() ? static_cast<int32_t>(chosen[i].row) : kNoLink;
            links[i].store(link, std::memory_order_release);
        }
    }

    // A link from a chosen neighbour to the new row. Where there is no room left, all of its links compete.
    void link_back(const Hit& neighbour, uint32_t row, int level) {
        Link* links = store_.links(neighbour.row, level);
        const size_t capacity = store_.capacity(level);
        const std::lock_guard guard(store_.lock(neighbour.row));
        size_t count = capacity;
        while (count > 0 && links[count - 1].load(std::memory_order_relaxed) == kNoLink) count--;
        if (count < capacity) {
            links[count].store(static_cast<int32_t>(row), std::memory_order_release);
            return;
        }
        batch_.clear();
        for (size_t i = 0; i < capacity; i++) {
            add_to_batch(static_cast<uint32_t>(links[i].load(std::memory_order_relaxed)));
        }
        rivals_.clear();
        rivals_.push_back({neighbour.key, row});
        score_batch(store_.vector(neighbour.row), [this](const Hit& hit) { rivals_.push_back(hit); });
        std::sort(rivals_.begin(), rivals_.end(), is_better);
        choose_diverse(rivals_, capacity, survivors_);
        write_links(neighbour.row, level, survivors_);
    }

    Store& store_;
    const KeyFn key_;
    const size_t dimension_;
    Scratch scratch_;
    CandidatePool pool_;
    std::vector<uint32_t> batch_;
    std::vector<Hit> candidates_;
    std::vector<Hit> rivals_;
    std::vector<Hit> survivors_;
    // By level: the rows that the new row links to.
    std::vector<std::vector<Hit>> chosen_;
};

} // namespace vdb
