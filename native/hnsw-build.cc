#include "hnsw-build.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

namespace vdb {
namespace {

// Linked in parallel, the first rows would find hardly anything to link to and not see each other.
constexpr size_t kRowsAlone = 512;

constexpr size_t kProgressEvery = 2048;

constexpr uint64_t kSeed = 0x766462616374; // any will do

struct SegmentStore {
    const float* vectors;
    size_t dimension;
    HnswGraph& graph;
    std::unique_ptr<SpinLock[]> locks;

    size_t row_count() const { return graph.levels.size(); }
    const float* vector(uint32_t row) const { return vectors + row * dimension; }
    Link* links(uint32_t row, int level) {
        const int32_t before = graph.shape.cum_nneighbor_per_level[static_cast<size_t>(level)];
        return graph.neighbors.data() + graph.offsets[row] + before;
    }
    size_t capacity(int level) const { return graph.shape.capacity(level); }
    SpinLock& lock(uint32_t row) { return locks[row]; }
};

// Every row with its level, no links yet.
HnswGraph unlinked_graph(size_t rows, size_t m) {
    HnswGraph graph(m);
    SplitMix64 numbers(kSeed);
    graph.levels.resize(rows);
    graph.offsets.resize(rows + 1);
    for (uint32_t row = 0; row < rows; row++) {
        const int level = graph.shape.draw(numbers);
        const int32_t links = graph.shape.cum_nneighbor_per_level[static_cast<size_t>(level) + 1];
        graph.levels[row] = level + 1;
        graph.offsets[row + 1] = graph.offsets[row] + static_cast<uint64_t>(links);
        if (level > graph.max_level) {
            graph.max_level = level;
            graph.entry_point = row;
        }
    }
    graph.neighbors = Array<Link>(graph.offsets[rows]);
    for (size_t i = 0; i < graph.offsets[rows]; i++) graph.neighbors[i].store(kNoLink, std::memory_order_relaxed);
    return graph;
}

// Highest level first, as FAISS does: so the entry point never changes, and the upper levels, an even sample of the rows, lead
// everywhere before the bulk comes, in whatever order the rows stand.
// The first of the highest is the entry point.
std::vector<uint32_t> insertion_order(const HnswGraph& graph) {
    std::vector<uint32_t> order(graph.levels.size());
    std::iota(order.begin(), order.end(), uint32_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&graph](uint32_t a, uint32_t b) { return graph.levels[a] > graph.levels[b]; });
    return order;
}

} // namespace

HnswGraph build_hnsw(const float* vectors, const HnswBuildOptions& options) {
    HnswGraph graph = unlinked_graph(options.rows, options.m);
    const std::vector<uint32_t> order = insertion_order(graph);
    SegmentStore store{vectors, options.dimension, graph, std::make_unique<SpinLock[]>(options.rows)};
    // More would only take memory.
    const size_t ef_construction = std::min(options.ef_construction, options.rows);
    const EntryPoint entry{graph.entry_point, graph.max_level};

    std::atomic<size_t> next{1};
    std::atomic<bool> has_failed{false};
    std::exception_ptr failure;
    std::mutex failing;
    const auto insert_until = [&](size_t end, bool reports) {
        try {
            HnswInserter<SegmentStore> inserter(store, options.metric, options.dimension);
            for (size_t reported = 0;;) {
                const size_t at = next.fetch_add(1, std::memory_order_relaxed);
                if (at >= end || has_failed.load(std::memory_order_relaxed)) return;
                inserter.insert(order[at], graph.levels[order[at]] - 1, entry, ef_construction);
                if (reports && options.on_progress && at >= reported + kProgressEvery) options.on_progress(reported = at);
            }
        } catch (...) {
            const std::lock_guard<std::mutex> guard(failing);
            if (!has_failed.exchange(true)) failure = std::current_exception();
        }
    };

    insert_until(std::min(options.rows, kRowsAlone), false);
    next.store(std::min(options.rows, kRowsAlone));
    std::vector<std::thread> helpers;
    for (size_t i = 1; i < options.threads && options.rows > kRowsAlone; i++) {
        helpers.emplace_back(insert_until, options.rows, false);
    }
    insert_until(options.rows, true);
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
    return graph;
}

} // namespace vdb
