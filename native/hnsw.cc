// HNSW over float32 rows.
#include "exact.h"
#include "graph-search.h"
#include "stored-vectors.h"

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
        const Costs cost = costs(query);
        return std::min(cost.exact, std::min(cost.walk, query.allow.words == nullptr ? cost.walk : cost.filtered));
    }

    void search(const Query& query, Scratch& scratch) const override {
        const KeyFn key(metric() == Metric::l2);
        if (walk(key, query, scratch) == Outcome::found) return;
        scratch.top.reset(query.k);
        const Block block{vectors_.view(), false, nullptr, query.allow, 0};
        scan_block(key, block, 0, rows(), &query.vector, 1, query.range, &scratch.top);
    }

private:
    // What the cheapest way of each kind would cost.
    struct Costs {
        double exact;
        double walk;
        double filtered;
    };

    Costs costs(const Query& query) const {
        const double share = share_of(query.allow.count, rows());
        const size_t links = graph_.max_links();
        const size_t filtered_list = filtered_list_size(query.k, query.effort);
        return {exact_cost_ns(query.allow.count, rows(), stride()),
                graph_cost_ns(walk_list_size(query.k, query.effort, share), links, stride()),
                filtered_cost_ns(filtered_list, links, stride(), share)};
    }

    Outcome walk(const KeyFn& key, const Query& query, Scratch& scratch) const {
        const Costs cost = costs(query);
        GraphSearch<Graph> search(graph_, vectors_.view(), key, query, scratch);
        if (query.range.has_least()) return search.run_ranged();
        const bool is_filtered = query.allow.words != nullptr;
        if (cost.exact < cost.walk && (!is_filtered || cost.exact < cost.filtered)) return Outcome::gave_up;
        if (!is_filtered) return search.run();
        if (cost.walk < cost.filtered && search.run() == Outcome::found) return Outcome::found;
        return search.run_filtered();
    }

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
