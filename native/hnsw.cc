// HNSW over rows of numbers.
#include "exact.h"
#include "stored-vectors.h"
#include "walk.h"

#include <optional>

namespace vdb {
namespace {

template <class Graph>
class HnswIndex : public Index {
public:
    HnswIndex(const HnswFile& parsed, StoredVectors vectors, Graph graph)
        : Index(parsed.storage.metric, parsed.storage.rows, parsed.storage.dimension, vectors.view().stride),
          vectors_(std::move(vectors)),
          graph_(std::move(graph)) {}

    const char* type() const override { return "HNSW"; }
    size_t memory_bytes() const override { return vectors_.memory_bytes() + graph_.memory_bytes(); }
    double cost_ns(const Query& query) const override {
        return WalkCosts(query, rows(), graph_.max_links(), stride()).least(query);
    }
    const Vectors* scanned(const Query& query, size_t queries) const override {
        // In a mapped file each further row may be one more read from the disk.
        const size_t sharing = Graph::kIsMapped ? 1 : queries;
        return is_scan_cheaper(query, rows(), graph_.max_links(), stride(), sharing) ? &vectors_.view() : nullptr;
    }

    void search(const Query& query, Scratch& scratch) const override {
        std::optional<WaitWatch> watch;
        if constexpr (Graph::kIsMapped) watch.emplace(scratch.is_waiting);
        const KeyFn key(metric(), vectors_.view());
        if (walk_graph(graph_, vectors_.view(), key, query, scratch) == Outcome::found) return;
        scratch.top.reset(query.k);
        const Block block{vectors_.view(), false, nullptr, query.allow, 0};
        scan_block(key, block, 0, rows(), &query.vector, 1, query.range, &scratch.top);
    }

private:
    StoredVectors vectors_;
    Graph graph_;
};

} // namespace

std::unique_ptr<Index> open_hnsw(const File& file, const HnswFile& parsed, const OpenOptions& options) {
    StoredVectors vectors(file, parsed.storage, options);
    if (options.is_mapped) {
        return std::make_unique<HnswIndex<MappedGraph>>(parsed, std::move(vectors), MappedGraph(parsed));
    }
    return std::make_unique<HnswIndex<CompactGraph>>(parsed, std::move(vectors), CompactGraph(parsed));
}

} // namespace vdb
