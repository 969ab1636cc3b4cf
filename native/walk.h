// Which way to search a graph of rows: the cost of each, and the choice.
#pragma once
#include "graph-search.h"

namespace vdb {

// The cost of the cheapest way of each kind, in nanoseconds.
struct WalkCosts {
    double exact;
    double walk;
    double filtered;

    // `d` numbers of each row count; `links` of each row on level 0.
    WalkCosts(const Query& query, size_t rows, size_t links, size_t d) {
        const double share = share_of(query.allow.count, rows);
        exact = exact_cost_ns(query.allow.count, rows, d);
        walk = graph_cost_ns(walk_list_size(query.k, query.effort, share), links, d);
        filtered = filtered_cost_ns(filtered_list_size(query.k, query.effort), links, d, share);
    }

    double least(const Query& query) const {
        return std::min(exact, query.allow.words == nullptr ? walk : std::min(walk, filtered));
    }
};

// Whether no walk is worth it for `queries` such searches. A range is always walked: how many rows it leaves is not known
// beforehand.
inline bool is_scan_cheaper(const Query& query, size_t rows, size_t links, size_t d, size_t queries) {
    if (query.range.has_least()) return false;
    return shared_cost_ns(query.allow.count, rows, d, queries) <= WalkCosts(query, rows, links, d).least(query);
}

// Gives up if an exact search is cheaper, or no walk finds enough.
template <class Graph>
Outcome walk_graph(const Graph& graph, const Vectors& vectors, const KeyFn& key, const Query& query, Scratch& scratch) {
    const WalkCosts cost(query, vectors.rows, graph.max_links(), vectors.stride);
    GraphSearch<Graph> search(graph, vectors, key, query, scratch);
    if (query.range.has_least()) return search.run_ranged();
    if (cost.exact <= cost.least(query)) return Outcome::gave_up;
    if (query.allow.words == nullptr) return search.run();
    if (cost.walk < cost.filtered && search.run() == Outcome::found) return Outcome::found;
    return search.run_filtered();
}

} // namespace vdb
