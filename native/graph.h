// The links of an HNSW graph, in two forms with the same interface: copied for speed, and in the pages of the file.
#pragma once
#include "index-file.h"
#include "memory.h"

#include <cstdint>

namespace vdb {

// Links of one row on one level: rows, each below the row count.
struct Links {
    const uint32_t* rows;
    size_t count;
};

// Links in arrays of their own: on level 0 each row's start on a cache line (for an even M of at least 8).
class CompactGraph {
public:
    static constexpr bool kIsMapped = false;

    // Throws Damaged.
    explicit CompactGraph(const HnswFile& file);

    size_t max_links() const { return base_width_; }
    uint32_t entry_point() const { return entry_point_; }
    size_t max_level() const { return max_level_; }
    size_t memory_bytes() const { return base_.bytes() + upper_start_.bytes() + upper_.bytes(); }

    // `room` is not used: the links are in memory.
    Links links(uint32_t row, size_t level, uint32_t* room) const {
        (void)room;
        return level == 0 ? count(&base_[row * base_width_], base_width_)
                          : count(&upper_[upper_start_[row] + (level - 1) * upper_width_], upper_width_);
    }
    void prefetch_links(uint32_t row) const {
        const uint32_t* at = &base_[row * base_width_];
        __builtin_prefetch(at);
        __builtin_prefetch(at + 16);
    }

private:
    static Links count(const uint32_t* rows, size_t width) {
        size_t n = 0;
        while (n < width && rows[n] != kNone) n++;
        return {rows, n};
    }

    static constexpr uint32_t kNone = UINT32_MAX;

    size_t base_width_;
    size_t upper_width_ = 0;
    uint32_t entry_point_;
    size_t max_level_;
    Array<uint32_t> base_;
    Array<uint32_t> upper_start_;
    Array<uint32_t> upper_;
};

// Links as the file has them. They are checked at each use: checking all of them at once would read the whole file.
class MappedGraph {
public:
    static constexpr bool kIsMapped = true;

    explicit MappedGraph(const HnswFile& file) : file_(file) {
        for (size_t level = 0; level + 1 < file.cum_links.size(); level++) {
            max_links_ = std::max(max_links_, file.cum_links[level + 1] - file.cum_links[level]);
        }
    }

    size_t max_links() const { return max_links_; }
    uint32_t entry_point() const { return static_cast<uint32_t>(file_.entry_point); }
    size_t max_level() const { return static_cast<size_t>(file_.max_level); }
    size_t memory_bytes() const { return 0; }

    // `room` takes max_links().
    Links links(uint32_t row, size_t level, uint32_t* room) const {
        const size_t rows = file_.storage.rows;
        const uint64_t start = file_.offsets[row];
        const size_t from = file_.cum_links[level];
        const size_t width = file_.cum_links[level + 1] - from;
        const bool is_on_level = file_.levels[row] > static_cast<int64_t>(level);
        if (!is_on_level || start > file_.links.count || from + width > file_.links.count - start) return {room, 0};
        size_t n = 0;
        for (size_t i = 0; i < width; i++) {
            const int32_t link = file_.links[start + from + i];
            if (link < 0) break;
            if (static_cast<size_t>(link) < rows) room[n++] = static_cast<uint32_t>(link);
        }
        return {room, n};
    }
    void prefetch_links(uint32_t row) const {
        const uint64_t start = file_.offsets[row];
        if (start < file_.links.count) __builtin_prefetch(file_.links.at + start * sizeof(int32_t));
    }

private:
    HnswFile file_;
    size_t max_links_ = 0;
};

} // namespace vdb
