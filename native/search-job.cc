#include "search-job.h"

#include "cost.h"

#include <algorithm>

namespace vdb {
namespace {

// Of a task: others get in between after at most about this long.
constexpr double kTaskMaxNs = 1e6;
// What another thread has to be worth: waking it costs some microseconds.
constexpr double kTaskMinNs = 1e5;
// Queries that share one pass over the rows.
constexpr size_t kGroupQueriesMax = 64;

double task_size_ns(double total_ns, size_t threads) {
    return std::clamp(total_ns / static_cast<double>(threads), kTaskMinNs, kTaskMaxNs);
}

} // namespace

SearchJob::SearchJob(uint32_t id, SearchCall call, size_t threads, bool may_wait)
    : NumberedJob(id), call_(with_blocks(std::move(call))) {
    for (size_t part = 0; part < call_.parts.size(); part++) {
        if (call_.parts[part].blocks.empty() && call_.parts[part].index != nullptr) plan_index(part, threads);
        else plan_scan(part, threads);
    }
    if (!may_wait) task_ns = all_ns_ / static_cast<double>(tasks_.size());
}

SearchCall SearchJob::with_blocks(SearchCall call) {
    for (Part& part : call.parts) {
        if (part.index == nullptr) continue;
        const Vectors* const rows = part.index->scanned(query_of(call, part), std::min(call.nq, kGroupQueriesMax));
        if (rows != nullptr) part.blocks.push_back(Block{*rows, false, nullptr, part.allow, 0});
    }
    return call;
}

void SearchJob::plan_index(size_t part, size_t threads) {
    const Part& about = call_.parts[part];
    const double query_ns = about.index->cost_ns(query_of(about));
    const double all_ns = query_ns * static_cast<double>(call_.nq);
    all_ns_ += all_ns;
    const size_t queries = std::clamp<size_t>(static_cast<size_t>(task_size_ns(all_ns, threads) / query_ns), 1, call_.nq);
    for (size_t first = 0; first < call_.nq; first += queries) {
        Group& group = groups_.emplace_back();
        group.part = part;
        group.first = first;
        group.count = std::min(queries, call_.nq - first);
        tasks_.push_back({&group, 0, 0});
    }
}

void SearchJob::plan_scan(size_t part, size_t threads) {
    const Part& about = call_.parts[part];
    for (size_t first = 0; first < call_.nq; first += kGroupQueriesMax) {
        Group& group = groups_.emplace_back();
        group.part = part;
        group.first = first;
        group.count = std::min(kGroupQueriesMax, call_.nq - first);
        group.tops.resize(group.count);
        for (TopK& top : group.tops) top.reset(call_.k);

        const auto block_ns = [&group](const Block& block) {
            const Vectors& vectors = block.vectors;
            // Of bits, four bytes cost about what a number does.
            const size_t d = vectors.element == Element::bits ? vectors.stride / 4 : vectors.stride;
            return shared_cost_ns(block.allow.count, vectors.rows, d, group.count) * static_cast<double>(group.count);
        };
        double total_ns = 0;
        for (const Block& block : about.blocks) total_ns += block_ns(block);
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
        for (size_t b = 0; b < about.blocks.size(); b++) {
            const Block& block = about.blocks[b];
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
    const Part& part = call_.parts[group.part];
    prepare_queries(group, part.index->stride(), scratch);
    Query query = query_of(part);
    for (size_t i = 0; i < group.count; i++) {
        query.vector = scratch.queries[i];
        part.index->search(query, scratch);
        write(part, group.part, group.first + i, scratch.top.sorted());
    }
}

void SearchJob::run_scan(const Task& task, Scratch& scratch) {
    Group& group = *task.group;
    const Part& part = call_.parts[group.part];
    const size_t stride = part.blocks.empty() ? part.dimension : part.blocks.front().vectors.stride;
    prepare_queries(group, stride, scratch);
    scratch.tops.resize(std::max(scratch.tops.size(), group.count));
    for (size_t i = 0; i < group.count; i++) scratch.tops[i].reset(call_.k);
    const KeyFn key = part.blocks.empty() ? KeyFn(part.metric) : KeyFn(part.metric, part.blocks.front().vectors);
    const Range range = query_of(part).range;
    for (size_t i = task.pieces_from; i < task.pieces_to; i++) {
        const Piece& piece = pieces_[i];
        scan_block(key, part.blocks[piece.block], piece.from, piece.to, scratch.queries.data(), group.count, range,
                   scratch.tops.data());
    }
    const std::lock_guard lock(group.mutex);
    for (size_t i = 0; i < group.count; i++) {
        for (const Hit& hit : scratch.tops[i].hits()) group.tops[i].push(hit);
    }
    if (--group.unfinished > 0) return;
    for (size_t i = 0; i < group.count; i++) write(part, group.part, group.first + i, group.tops[i].sorted());
}

void SearchJob::prepare_queries(const Group& group, size_t stride, Scratch& scratch) const {
    const Part& part = call_.parts[group.part];
    const bool is_bits = part.element == Element::bits;
    const size_t d = elements_of(part.element, part.dimension);
    const size_t query_bytes = d * (is_bits ? 1 : sizeof(float));
    // Each query on a cache line of its own, as the rows are.
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
        else copy_numbers(from, d, part.normalises, to);
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

void SearchJob::write(const Part& part, size_t part_number, size_t query, const std::vector<Hit>& sorted) const {
    const size_t at = (part_number * call_.nq + query) * call_.k;
    int32_t* rows = call_.rows + at;
    float* distances = call_.distances + at;
    for (size_t i = 0; i < call_.k; i++) {
        const bool is_there = i < sorted.size();
        rows[i] = is_there ? static_cast<int32_t>(sorted[i].row) : -1;
        // Subtraction rather than negation: a distance of zero is 0, never -0.
        distances[i] = !is_there ? 0 : is_ascending(part.metric) ? sorted[i].key : 0 - sorted[i].key;
    }
}

Query SearchJob::query_of(const SearchCall& call, const Part& part) {
    Query query;
    query.k = call.k;
    query.effort = part.effort;
    query.allow = part.allow;
    const float sign = is_ascending(part.metric) ? 1.0f : -1.0f;
    if (!std::isnan(call.range_filter)) query.range.least = sign * call.range_filter;
    if (!std::isnan(call.radius)) query.range.beyond = sign * call.radius;
    // What does not match is infinitely far.
    else if (is_matching(part.metric)) query.range.beyond = 1;
    return query;
}

} // namespace vdb
