#include "search-job.h"

#include "cost.h"

#include <algorithm>

namespace vdb {
namespace {

// Longest task, approximately: then others get in between.
constexpr double kTaskMaxNs = 1e6;
// The work that justifies another thread: waking it costs some microseconds.
constexpr double kTaskMinNs = 1e5;
// Queries that share one pass over the rows.
constexpr size_t kGroupQueriesMax = 64;

double task_size_ns(double total_ns, size_t threads) {
    return std::clamp(total_ns / static_cast<double>(threads), kTaskMinNs, kTaskMaxNs);
}

} // namespace

SearchJob::SearchJob(uint32_t id, SearchCall call, size_t threads, bool may_wait)
    : NumberedJob(id), call_(with_blocks(std::move(call))) {
    if (call_.blocks.empty() && call_.index != nullptr) plan_index(threads);
    else plan_scan(threads);
    if (!may_wait) task_ns = all_ns_ / static_cast<double>(tasks_.size());
}

SearchCall SearchJob::with_blocks(SearchCall call) {
    if (call.index == nullptr) return call;
    const Vectors* const rows = call.index->scanned(query_of(call), std::min(call.nq, kGroupQueriesMax));
    if (rows != nullptr) call.blocks.push_back(Block{*rows, false, nullptr, call.allow, 0});
    return call;
}

void SearchJob::plan_index(size_t threads) {
    const double query_ns = call_.index->cost_ns(query_of(call_));
    all_ns_ = query_ns * static_cast<double>(call_.nq);
    const size_t queries = std::clamp<size_t>(static_cast<size_t>(task_size_ns(all_ns_, threads) / query_ns), 1, call_.nq);
    for (size_t first = 0; first < call_.nq; first += queries) {
        Group& group = groups_.emplace_back();
        group.first = first;
        group.count = std::min(queries, call_.nq - first);
        tasks_.push_back({&group, 0, 0});
    }
}

void SearchJob::plan_scan(size_t threads) {
    for (size_t first = 0; first < call_.nq; first += kGroupQueriesMax) {
        Group& group = groups_.emplace_back();
        group.first = first;
        group.count = std::min(kGroupQueriesMax, call_.nq - first);
        group.tops.resize(group.count);
        for (TopK& top : group.tops) top.reset(call_.k);

        const auto block_ns = [&group](const Block& block) {
            const Vectors& vectors = block.vectors;
            // For bits, four bytes cost about as much as a number.
            const size_t d = vectors.element == Element::bits ? vectors.stride / 4 : vectors.stride;
            return shared_cost_ns(block.allow.count, vectors.rows, d, group.count) * static_cast<double>(group.count);
        };
        double total_ns = 0;
        for (const Block& block : call_.blocks) total_ns += block_ns(block);
        all_ns_ += total_ns;
        const double limit_ns = task_size_ns(total_ns, threads);

        Task task{&group, pieces_.size(), pieces_.size()};
        double filled_ns = 0;
        const auto end_task = [&] {
            task.pieces_to = pieces_.size();
            tasks_.push_back(task);
            group.unfinished++;
            task.pieces_from = pieces_.size();
            filled_ns = 0;
        };
        for (size_t b = 0; b < call_.blocks.size(); b++) {
            const Block& block = call_.blocks[b];
            const size_t rows = block.vectors.rows;
            const double row_ns = block_ns(block) / static_cast<double>(std::max<size_t>(rows, 1));
            for (size_t from = 0; from < rows;) {
                // Whole words of the bitset.
                const size_t fitting = static_cast<size_t>((limit_ns - filled_ns) / row_ns) / 32 * 32;
                const size_t to = std::min(rows, from + std::max<size_t>(32, fitting));
                pieces_.push_back({b, from, to});
                filled_ns += row_ns * static_cast<double>(to - from);
                if (filled_ns + row_ns * 32 > limit_ns) end_task();
                from = to;
            }
        }
        if (task.pieces_from < pieces_.size() || group.unfinished == 0) end_task();
    }
}

void SearchJob::run(size_t task, Scratch& scratch) {
    const Task& what = tasks_[task];
    if (what.group->tops.empty()) run_index(*what.group, scratch);
    else run_scan(what, scratch);
}

void SearchJob::run_index(Group& group, Scratch& scratch) {
    prepare_queries(group, call_.index->stride(), scratch);
    Query query = query_of(call_);
    for (size_t i = 0; i < group.count; i++) {
        query.vector = scratch.queries[i];
        call_.index->search(query, scratch);
        write(group.first + i, scratch.top.sorted());
    }
}

void SearchJob::run_scan(const Task& task, Scratch& scratch) {
    Group& group = *task.group;
    const size_t stride = call_.blocks.empty() ? call_.dimension : call_.blocks.front().vectors.stride;
    prepare_queries(group, stride, scratch);
    scratch.tops.resize(std::max(scratch.tops.size(), group.count));
    for (size_t i = 0; i < group.count; i++) scratch.tops[i].reset(call_.k);
    const KeyFn key = call_.blocks.empty() ? KeyFn(call_.metric) : KeyFn(call_.metric, call_.blocks.front().vectors);
    const Range range = query_of(call_).range;
    for (size_t i = task.pieces_from; i < task.pieces_to; i++) {
        const Piece& piece = pieces_[i];
        scan_block(key, call_.blocks[piece.block], piece.from, piece.to, scratch.queries.data(), group.count, range,
                   scratch.tops.data());
    }
    const std::lock_guard lock(group.mutex);
    for (size_t i = 0; i < group.count; i++) {
        for (const Hit& hit : scratch.tops[i].hits()) group.tops[i].push(hit);
    }
    if (--group.unfinished > 0) return;
    for (size_t i = 0; i < group.count; i++) write(group.first + i, group.tops[i].sorted());
}

void SearchJob::prepare_queries(const Group& group, size_t stride, Scratch& scratch) const {
    const bool is_bits = call_.element == Element::bits;
    const size_t d = elements_of(call_.element, call_.dimension);
    const size_t query_bytes = d * (is_bits ? 1 : sizeof(float));
    // Each query starts on a cache line, like the rows.
    constexpr size_t kLine = 16;
    const size_t needed = is_bits ? (stride + sizeof(float) - 1) / sizeof(float) : stride;
    const size_t step = (needed + kLine - 1) / kLine * kLine;
    scratch.numbers.resize(group.count * step + kLine);
    const uintptr_t start = reinterpret_cast<uintptr_t>(scratch.numbers.data());
    float* to = scratch.numbers.data() + (kLine - start / sizeof(float) % kLine) % kLine;
    scratch.queries.clear();
    for (size_t i = 0; i < group.count; i++, to += step) {
        const uint8_t* from = call_.queries + (group.first + i) * query_bytes;
        std::fill(to, to + step, 0.0f);
        if (is_bits) std::memcpy(to, from, query_bytes);
        else copy_numbers(from, d, call_.normalises, to);
        scratch.queries.push_back(to);
    }
}

void SearchJob::copy_numbers(const uint8_t* from, size_t d, bool normalises, float* to) {
    std::memcpy(to, from, d * sizeof(float));
    if (!normalises) return;
    double sum = 0;
    for (size_t j = 0; j < d; j++) sum += static_cast<double>(to[j]) * to[j];
    const float scale = sum == 0 ? 0.0f : static_cast<float>(1 / std::sqrt(sum));
    for (size_t j = 0; j < d; j++) to[j] *= scale;
}

void SearchJob::write(size_t query, const std::vector<Hit>& sorted) const {
    const size_t at = query * call_.k;
    int32_t* rows = call_.rows + at;
    float* distances = call_.distances + at;
    for (size_t i = 0; i < call_.k; i++) {
        const bool is_there = i < sorted.size();
        rows[i] = is_there ? static_cast<int32_t>(sorted[i].row) : -1;
        // Subtraction rather than negation: a distance of zero is 0, never -0.
        distances[i] = !is_there ? 0 : is_ascending(call_.metric) ? sorted[i].key : 0 - sorted[i].key;
    }
}

Query SearchJob::query_of(const SearchCall& call) {
    Query query;
    query.k = call.k;
    query.effort = call.effort;
    query.allow = call.allow;
    const float sign = is_ascending(call.metric) ? 1.0f : -1.0f;
    if (!std::isnan(call.range_filter)) query.range.least = sign * call.range_filter;
    if (!std::isnan(call.radius)) query.range.beyond = sign * call.radius;
    // Rows that do not match are infinitely far.
    else if (is_matching(call.metric)) query.range.beyond = 1;
    return query;
}

} // namespace vdb
