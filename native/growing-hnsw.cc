#include "growing-hnsw.h"

#include "exact.h"
#include "vector-input.h"
#include "walk.h"

#include <cstring>

namespace vdb {
namespace {

constexpr uint64_t kSeed = 0x67726f77; // any will do

// Lists of links above level 0: a row has 1 / (M - 1) of them on average. More than twice that and a reserve are never needed
// in practice; if they are, a row stays on level 0.
size_t upper_lists_for(size_t rows, size_t m) { return 1024 + 2 * rows / (m - 1); }

// A search of only the first rows walks over later rows without listing them, as long as those are at most this share: then the
// links that they have displaced are not missed (measured: no recall lost at a tenth, a twentieth at a quarter, a third at a
// half).
constexpr double kPassedOverMax = 0.1;

// The links among the first `rows` rows, as GraphSearch reads them.
class Graph {
public:
    static constexpr bool kIsMapped = false;

    Graph(const GrowingStore& store, EntryPoint entry, size_t rows) : store_(store), entry_(entry), rows_(rows) {}

    size_t max_links() const { return store_.capacity(0); }
    uint32_t entry_point() const { return entry_.row; }
    size_t max_level() const { return static_cast<size_t>(entry_.level); }

    Links links(uint32_t row, size_t level, uint32_t* room) const {
        const Link* links = store_.links(row, static_cast<int>(level));
        size_t count = 0;
        for (size_t i = 0, capacity = store_.capacity(static_cast<int>(level)); i < capacity; i++) {
            // Acquire: the vector and the links of a row found here are visible.
            const int32_t link = links[i].load(std::memory_order_acquire);
            if (link == kNoLink) break;
            if (static_cast<size_t>(link) < rows_) room[count++] = static_cast<uint32_t>(link);
        }
        return {room, count};
    }
    void prefetch_links(uint32_t row) const { __builtin_prefetch(store_.links(row, 0)); }

private:
    const GrowingStore& store_;
    const EntryPoint entry_;
    const size_t rows_;
};

} // namespace

GrowingStore::GrowingStore(const GrowingOptions& options)
    : dimension(options.dimension),
      levels(options.m),
      vectors(options.capacity * options.dimension),
      base(options.capacity * levels.capacity(0)),
      upper(upper_lists_for(options.capacity, options.m) * levels.capacity(1)),
      upper_lists_max(upper_lists_for(options.capacity, options.m)),
      upper_start(options.capacity) {}

GrowingHnsw::GrowingHnsw(const GrowingOptions& options)
    : options_(options),
      store_(options),
      entries_(store_.levels.assign_probas.size()),
      numbers_(kSeed),
      inserter_(store_, options.metric, options.dimension) {}

size_t GrowingHnsw::memory_bytes() const {
    const size_t row_bytes = options_.dimension * sizeof(float) + store_.capacity(0) * sizeof(Link) + sizeof(uint32_t);
    const size_t upper_lists = store_.upper_lists.load(std::memory_order_relaxed);
    return stored_rows() * row_bytes + upper_lists * store_.capacity(1) * sizeof(Link);
}

size_t GrowingHnsw::store(const float* vectors, size_t count) {
    const size_t before = store_.stored.load(std::memory_order_relaxed);
    const size_t taken = std::min(count, options_.capacity - before);
    float* to = store_.vectors.data() + before * options_.dimension;
    std::memcpy(to, vectors, taken * options_.dimension * sizeof(float));
    if (options_.normalises) normalise_rows(to, taken, options_.dimension);
    store_.stored.store(before + taken, std::memory_order_release);
    return taken;
}

bool GrowingHnsw::link(size_t count) {
    size_t row = linked_.load(std::memory_order_relaxed);
    const size_t stored = stored_rows();
    const size_t end = std::min(stored, row + count);
    // More would only waste memory.
    const size_t ef_construction = std::min(options_.ef_construction, options_.capacity);
    for (; row < end; row++) {
        int level = store_.levels.draw(numbers_);
        const size_t lists = store_.upper_lists.load(std::memory_order_relaxed);
        if (lists + static_cast<size_t>(level) > store_.upper_lists_max) level = 0;
        store_.upper_start[row] = static_cast<uint32_t>(lists);
        store_.upper_lists.store(lists + static_cast<size_t>(level), std::memory_order_relaxed);

        const uint32_t id = static_cast<uint32_t>(row);
        for (int at = 0; at <= level; at++) {
            Link* links = store_.links(id, at);
            for (size_t i = 0; i < store_.capacity(at); i++) links[i].store(kNoLink, std::memory_order_relaxed);
        }
        const size_t entries = entry_count_.load(std::memory_order_relaxed);
        if (entries > 0) inserter_.insert(id, level, entries_[entries - 1], ef_construction);
        if (entries == 0 || level > entries_[entries - 1].level) {
            entries_[entries] = {id, level};
            entry_count_.store(entries + 1, std::memory_order_release);
        }
        linked_.store(row + 1, std::memory_order_release);
    }
    return row < stored;
}

EntryPoint GrowingHnsw::entry_below(size_t rows) const {
    size_t last = entry_count_.load(std::memory_order_acquire) - 1;
    // The first is row 0.
    while (entries_[last].row >= rows) last--;
    return entries_[last];
}

double GrowingHnsw::cost_ns(const Query& query, size_t rows) const {
    return WalkCosts(query, rows, store_.capacity(0), options_.dimension).least(query);
}

void GrowingHnsw::search(const Query& query, size_t rows, Scratch& scratch) const {
    scratch.top.reset(query.k);
    if (rows == 0) return;
    const KeyFn key(options_.metric);
    const size_t linked = linked_rows();
    const bool is_old = static_cast<double>(linked - rows) > kPassedOverMax * static_cast<double>(linked);
    const Outcome outcome = is_old ? walk_filtered(key, query, rows, linked, scratch) : walk(key, query, rows, scratch);
    if (outcome == Outcome::found) return;
    scratch.top.reset(query.k);
    const Block block{vectors(rows), false, nullptr, query.allow, 0};
    scan_block(key, block, 0, rows, &query.vector, 1, query.range, &scratch.top);
}

Outcome GrowingHnsw::walk(const KeyFn& key, const Query& query, size_t rows, Scratch& scratch) const {
    return walk_graph(Graph(store_, entry_below(rows), rows), vectors(rows), key, query, scratch);
}

Outcome GrowingHnsw::walk_filtered(const KeyFn& key, const Query& query, size_t rows, size_t linked, Scratch& scratch) const {
    // The allowed rows, as a bitset over all rows walked.
    thread_local std::vector<uint32_t> words;
    words.assign((linked + 31) / 32, 0);
    const size_t whole = rows / 32;
    if (query.allow.words == nullptr) std::fill_n(words.begin(), whole, ~uint32_t{0});
    else std::copy_n(query.allow.words, whole, words.begin());
    for (size_t row = whole * 32; row < rows; row++) {
        if (query.allow.has(static_cast<uint32_t>(row))) words[whole] |= uint32_t{1} << (row & 31);
    }
    Query all = query;
    all.allow.words = words.data();
    return walk(key, all, linked, scratch);
}

Vectors GrowingHnsw::vectors(size_t rows) const {
    const size_t d = options_.dimension;
    return {reinterpret_cast<const uint8_t*>(store_.vectors.data()), rows, d, d, Element::f32, false};
}

} // namespace vdb
