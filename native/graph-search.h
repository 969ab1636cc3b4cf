// One search of an HNSW graph: down its upper levels to a row near the query, then along level 0 with a list of the `ef` best
// rows seen, until all of them have been expanded.
//
// A filter that leaves most rows changes only the list: it is longer, and rows that are not allowed are dropped at the end.
// With fewer rows left, only allowed rows are listed, and around each row the search looks through disallowed rows to the
// allowed ones behind them (as ACORN does). If no walk is cheap, an exact search over the allowed rows follows, which costs
// little exactly when they are few: `Outcome::gave_up` says so.
#pragma once
#include "cost.h"
#include "disk-reads.h"
#include "graph.h"
#include "search.h"

namespace vdb {

enum class Outcome { found, gave_up };

template <class Graph>
class GraphSearch {
public:
    GraphSearch(const Graph& graph, const Vectors& vectors, const KeyFn& key, const Query& query, Scratch& scratch)
        : graph_(graph), vectors_(vectors), key_(key), query_(query), scratch_(scratch) {
        scratch.batch.resize(3 * graph.max_links() + 4);
        room_ = scratch.batch.data() + 2 * graph.max_links();
    }

    // Walks over all rows and drops disallowed ones at the end: for filters that leave most rows. The list is longer by as many
    // rows as will be dropped.
    Outcome run() {
        start_pool(list_size());
        const Hit entry = descend();
        scratch_.visit(entry.row);
        insert(entry);
        while (const Hit* next = next_in_pool()) {
            const Links links = graph_.links(next->row & ~kDone, 0, room_);
            size_t count = 0;
            uint32_t* batch = scratch_.batch.data();
            for (size_t i = 0; i < links.count; i++) {
                const uint32_t row = links.rows[i];
                if (!scratch_.visit(row)) continue;
                batch[count++] = row;
                prefetch(row);
            }
            score(batch, count, [this](Hit hit) { insert(hit); });
        }
        return query_.allow.words == nullptr ? finish() : keep_allowed();
    }

    // Only rows of query.allow are listed.
    Outcome run_filtered() {
        start_pool(filtered_list_size(query_.k, query_.effort));
        budget_ = budget();
        if (!find_allowed(descend())) return Outcome::gave_up;
        while (const Hit* next = next_in_pool()) {
            const size_t count = gather_allowed(next->row & ~kDone);
            if (budget_ < 0) return Outcome::gave_up;
            score(scratch_.batch.data(), count, [this](Hit hit) { insert(hit); });
        }
        // The allowed rows fell apart into islands, and this one is smaller than the list.
        if (size_ < std::min(capacity_, query_.allow.count)) return Outcome::gave_up;
        return finish();
    }

    // Rows nearer than query.range.least are walked over but not listed: they lie between the entry and the results.
    Outcome run_ranged() {
        budget_ = budget();
        scratch_.forget_visited(vectors_.rows);
        scratch_.top.reset(std::max(query_.k, query_.effort));
        std::vector<Hit>& heap = scratch_.heap;
        heap.clear();
        const auto consider = [&](Hit hit) {
            if (hit.key >= scratch_.top.worst() && hit.key > query_.range.least) return;
            heap.push_back(hit);
            std::push_heap(heap.begin(), heap.end(), is_worse);
            if (query_.allow.has(hit.row) && query_.range.has(hit.key)) scratch_.top.push(hit);
        };
        const Hit entry = descend();
        scratch_.visit(entry.row);
        consider(entry);
        while (!heap.empty()) {
            const Hit next = pop(heap);
            if (next.key > std::max(scratch_.top.worst(), query_.range.least)) break;
            const size_t count = gather_all(next.row);
            if (budget_ < 0) return Outcome::gave_up;
            score(scratch_.batch.data(), count, consider);
        }
        const std::vector<Hit> hits = scratch_.top.sorted();
        // Fewer than requested may be all that are in range: only an exact search knows.
        if (hits.size() < std::min(query_.k, query_.allow.count)) return Outcome::gave_up;
        scratch_.top.reset(query_.k);
        for (size_t i = 0; i < std::min(query_.k, hits.size()); i++) scratch_.top.push(hits[i]);
        return Outcome::found;
    }

private:
    // In the pool: this row has been expanded.
    static constexpr uint32_t kDone = uint32_t{1} << 31;
    static constexpr size_t kSeeds = 8;

    static bool is_worse(const Hit& a, const Hit& b) { return is_better(b, a); }

    static Hit pop(std::vector<Hit>& heap) {
        std::pop_heap(heap.begin(), heap.end(), is_worse);
        const Hit hit = heap.back();
        heap.pop_back();
        return hit;
    }

    void prefetch(uint32_t row) const { prefetch_row(vectors_.row(row), vectors_.row_bytes()); }

    // Most rows that a walk may look at: twice the cost of an exact search, so that in the worst case a search takes three
    // times as long as necessary.
    int64_t budget() const {
        const double exact = exact_cost_ns(query_.allow.count, vectors_.rows, vectors_.stride);
        return static_cast<int64_t>(2 * exact / graph_row_cost_ns(vectors_.stride));
    }

    // Calls accept(hit) for each of `count` rows.
    template <class Accept>
    void score(const uint32_t* rows, size_t count, const Accept& accept) {
        const size_t d = vectors_.stride;
        if constexpr (Graph::kIsMapped) {
            // The disk reads them at the same time, instead of one after the other as they are touched.
            if (scratch_.is_waiting && count > 1) {
                for (size_t i = 0; i < count; i++) fetch_soon(vectors_.row(rows[i]), vectors_.row_bytes());
            }
        }
        const void* four[4];
        float keys[4];
        size_t i = 0;
        for (; i + 4 <= count; i += 4) {
            for (size_t r = 0; r < 4; r++) four[r] = vectors_.row(rows[i + r]);
            key_.four(query_.vector, four, d, keys);
            for (size_t r = 0; r < 4; r++) accept(Hit{keys[r], rows[i + r]});
        }
        for (; i < count; i++) accept(Hit{key_.one(query_.vector, vectors_.row(rows[i]), d), rows[i]});
    }

    // The nearest row reached by greedy steps on the upper levels.
    Hit descend() {
        const uint32_t start = graph_.entry_point();
        Hit nearest{key_.one(query_.vector, vectors_.row(start), vectors_.stride), start};
        for (size_t level = graph_.max_level(); level > 0; level--) {
            for (uint32_t from = UINT32_MAX; from != nearest.row;) {
                from = nearest.row;
                const Links links = graph_.links(from, level, room_);
                for (size_t i = 0; i < links.count; i++) prefetch(links.rows[i]);
                score(links.rows, links.count, [&nearest](Hit hit) {
                    if (hit.key < nearest.key) nearest = hit;
                });
            }
        }
        return nearest;
    }

    // Puts some allowed rows near the entry into the pool, walking over rows of all kinds. False: none within the budget.
    bool find_allowed(Hit entry) {
        std::vector<Hit>& heap = scratch_.heap;
        heap.clear();
        const auto consider = [&](Hit hit) {
            heap.push_back(hit);
            std::push_heap(heap.begin(), heap.end(), is_worse);
            if (query_.allow.has(hit.row)) insert(hit);
        };
        scratch_.visit(entry.row);
        consider(entry);
        while (size_ < std::min(kSeeds, capacity_)) {
            if (heap.empty() || budget_ < 0) return false;
            const size_t count = gather_all(pop(heap).row);
            score(scratch_.batch.data(), count, consider);
        }
        // The rows walked over have not been expanded yet.
        scratch_.forget_visited(vectors_.rows);
        for (size_t i = 0; i < size_; i++) scratch_.visit(scratch_.pool[i].row & ~kDone);
        return true;
    }

    // Puts the unvisited neighbours of `row` into the batch.
    size_t gather_all(uint32_t row) {
        const Links links = graph_.links(row, 0, room_);
        size_t count = 0;
        for (size_t i = 0; i < links.count; i++) {
            if (!scratch_.visit(links.rows[i])) continue;
            scratch_.batch[count++] = links.rows[i];
            prefetch(links.rows[i]);
        }
        budget_ -= static_cast<int64_t>(count) + 1;
        return count;
    }

    // Puts the allowed neighbours of `row`, and allowed rows behind disallowed neighbours, into the batch: at most as many as a
    // row has links, plus those of the last neighbour.
    size_t gather_allowed(uint32_t row) {
        const size_t wanted = graph_.max_links();
        uint32_t* batch = scratch_.batch.data();
        size_t count = 0;
        const Links links = graph_.links(row, 0, room_);
        scratch_.detours.clear();
        for (size_t i = 0; i < links.count; i++) {
            const uint32_t near = links.rows[i];
            if (scratch_.is_visited(near)) continue;
            if (!query_.allow.has(near)) {
                scratch_.detours.push_back(near);
                graph_.prefetch_links(near);
                continue;
            }
            scratch_.visit(near);
            batch[count++] = near;
            prefetch(near);
        }
        size_t looked_at = links.count;
        for (const uint32_t detour : scratch_.detours) {
            if (count >= wanted) break;
            scratch_.visit(detour);
            const Links behind = graph_.links(detour, 0, room_);
            looked_at += 2;
            for (size_t i = 0; i < behind.count; i++) {
                const uint32_t far = behind.rows[i];
                if (!query_.allow.has(far) || !scratch_.visit(far)) continue;
                batch[count++] = far;
                prefetch(far);
            }
        }
        budget_ -= static_cast<int64_t>(count + looked_at / 4) + 1;
        return count;
    }

    // ---- the list of the best rows seen, best first

    void start_pool(size_t capacity) {
        capacity_ = std::min(capacity, vectors_.rows);
        if (scratch_.pool.size() < capacity_ + 1) scratch_.pool.resize(capacity_ + 1);
        size_ = 0;
        next_ = 0;
        scratch_.forget_visited(vectors_.rows);
    }

    void insert(Hit hit) {
        Hit* pool = scratch_.pool.data();
        if (size_ == capacity_) {
            if (!(hit.key < pool[size_ - 1].key)) return;
            size_--;
        }
        Hit* const at = std::upper_bound(pool, pool + size_, hit.key, [](float key, const Hit& h) { return key < h.key; });
        std::memmove(at + 1, at, static_cast<size_t>(pool + size_ - at) * sizeof(Hit));
        *at = hit;
        size_++;
        next_ = std::min(next_, static_cast<size_t>(at - pool));
    }

    // The best row that has not been expanded, now marked as expanded; null when there is none.
    const Hit* next_in_pool() {
        Hit* pool = scratch_.pool.data();
        while (next_ < size_ && (pool[next_].row & kDone) != 0) next_++;
        if (next_ == size_) return nullptr;
        pool[next_].row |= kDone;
        return &pool[next_++];
    }

    size_t list_size() const {
        return walk_list_size(query_.k, query_.effort, share_of(query_.allow.count, vectors_.rows));
    }

    // Drops disallowed rows from the pool.
    Outcome keep_allowed() {
        const double expected = static_cast<double>(size_) * share_of(query_.allow.count, vectors_.rows);
        Hit* const pool = scratch_.pool.data();
        size_ = static_cast<size_t>(
            std::remove_if(pool, pool + size_, [this](const Hit& h) { return !query_.allow.has(h.row & ~kDone); }) - pool);
        // The far end of a list misses rows. If few of its rows are allowed (the filter's rows are far from the query), the
        // requested rows would reach that far.
        if (static_cast<double>(size_) < std::min(2.0 * static_cast<double>(query_.k), 0.7 * expected)) return Outcome::gave_up;
        return finish();
    }

    Outcome finish() {
        if (size_ < std::min(query_.k, query_.allow.count)) return Outcome::gave_up;
        scratch_.top.reset(query_.k);
        for (size_t i = 0; i < size_; i++) {
            const Hit hit{scratch_.pool[i].key, scratch_.pool[i].row & ~kDone};
            if (i >= query_.k && hit.key > scratch_.top.worst()) break;
            if (query_.range.has(hit.key)) scratch_.top.push(hit);
        }
        return Outcome::found;
    }

    const Graph& graph_;
    const Vectors& vectors_;
    const KeyFn& key_;
    const Query& query_;
    Scratch& scratch_;
    // Where a mapped graph puts the links that it reads: after the batch.
    uint32_t* room_;
    size_t capacity_ = 0;
    size_t size_ = 0;
    size_t next_ = 0;
    int64_t budget_ = 0;
};

} // namespace vdb
