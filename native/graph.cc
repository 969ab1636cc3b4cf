#include "graph.h"

#include <string>

namespace vdb {

CompactGraph::CompactGraph(const HnswFile& file)
    : base_width_(file.cum_links[1]),
      entry_point_(static_cast<uint32_t>(file.entry_point)),
      max_level_(static_cast<size_t>(file.max_level)) {
    const size_t rows = file.storage.rows;
    const auto fail = [](size_t row, const char* why) {
        throw Damaged("has a damaged graph at row " + std::to_string(row) + ": " + why);
    };
    const size_t levels_max = file.cum_links.size() - 1;
    for (size_t level = 1; level < levels_max; level++) {
        const size_t width = file.cum_links[level + 1] - file.cum_links[level];
        if (level > 1 && width != upper_width_) fail(0, "levels differ in their number of links");
        upper_width_ = width;
    }
    // Sizes first: nothing is allocated by a number in the file before the data is known to be there.
    size_t upper_links = 0;
    for (size_t row = 0; row < rows; row++) {
        const int32_t levels = file.levels[row];
        if (levels < 1 || static_cast<size_t>(levels) > levels_max) fail(row, "impossible level");
        const uint64_t start = file.offsets[row];
        const uint64_t end = file.offsets[row + 1];
        if (end > file.links.count || start > end || end - start != file.cum_links[levels]) {
            fail(row, "links are not where they should be");
        }
        upper_links += (static_cast<size_t>(levels) - 1) * upper_width_;
    }
    if (rows > 0 && static_cast<size_t>(file.levels[entry_point_]) <= max_level_) fail(entry_point_, "entry point is too low");
    if (rows * base_width_ > file.links.count || upper_links > file.links.count) fail(rows, "links are missing");

    base_ = Array<uint32_t>(rows * base_width_);
    upper_start_ = Array<uint32_t>(rows);
    upper_ = Array<uint32_t>(upper_links);
    size_t upper_at = 0;
    for (size_t row = 0; row < rows; row++) {
        const size_t levels = static_cast<size_t>(file.levels[row]);
        const uint64_t start = file.offsets[row];
        upper_start_[row] = static_cast<uint32_t>(upper_at);
        for (size_t level = 0; level < levels; level++) {
            const size_t from = file.cum_links[level];
            const size_t width = file.cum_links[level + 1] - from;
            uint32_t* to = level == 0 ? &base_[row * base_width_] : &upper_[upper_at];
            if (level > 0) upper_at += width;
            bool has_ended = false;
            for (size_t i = 0; i < width; i++) {
                const int32_t link = file.links[start + from + i];
                has_ended = has_ended || link < 0;
                to[i] = has_ended ? kNone : static_cast<uint32_t>(link);
                if (has_ended) continue;
                if (static_cast<size_t>(link) >= rows || static_cast<size_t>(file.levels[link]) <= level) {
                    fail(row, "a link leads nowhere");
                }
            }
        }
    }
}

} // namespace vdb
