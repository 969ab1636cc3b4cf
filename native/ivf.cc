// IVF: rows in lists by their nearest centroid; a search scans the lists whose centroids are nearest to the query.
//
// With a filter it scans further lists until it has scored as many allowed rows as it would have scored rows without the
// filter: the narrower the filter, the more lists hold the nearest allowed rows. With a range it scans on until it has found
// enough, or two lists in a row have no row that is near enough.
#include "cost.h"
#include "disk-reads.h"
#include "index.h"
#include "ivf-codes.h"
#include "stored-vectors.h"

#include <optional>

namespace vdb {
namespace {

// Milvus's max_empty_result_buckets.
constexpr size_t kEmptyListsMax = 2;

class IvfIndex : public Index {
public:
    IvfIndex(const File& file, const IvfFile& parsed, const OpenOptions& options)
        // The scorers read rows as they lie in the file: without padding.
        : Index(parsed.metric, parsed.rows, parsed.dimension, parsed.dimension),
          file_(file), parsed_(parsed), centroids_(file, parsed.quantizer, OpenOptions{}), columns_(parsed) {
        is_mapped_ = options.is_mapped;
        if (!is_mapped_) copy();
    }

    const char* type() const override {
        return parsed_.code == IvfCode::flat ? "IVF_FLAT" : parsed_.code == IvfCode::sq8 ? "IVF_SQ8" : "IVF_PQ";
    }
    size_t memory_bytes() const override { return memory_.size() + centroids_.memory_bytes() + columns_.memory_bytes(); }

    double cost_ns(const Query& query) const override {
        const double share = static_cast<double>(std::min(query.effort, nlist())) / static_cast<double>(nlist());
        return exact_cost_ns(nlist(), nlist(), dimension()) +
               exact_cost_ns(static_cast<size_t>(share * static_cast<double>(rows())), rows(), dimension());
    }

    void search(const Query& query, Scratch& scratch) const override {
        scratch.top.reset(query.k);
        std::optional<WaitWatch> watch;
        if (is_mapped_) watch.emplace(scratch.is_waiting);
        if (parsed_.code == IvfCode::flat) {
            scan_lists(query, scratch, FlatScorer(parsed_, query.vector, scratch));
        } else if (parsed_.code == IvfCode::sq8) {
            scan_lists(query, scratch, Sq8Scorer(parsed_, query.vector, scratch));
        } else {
            scan_lists(query, scratch, PqScorer(parsed_, columns_, query.vector, scratch));
        }
    }

private:
    size_t nlist() const { return parsed_.lists.size(); }

    template <class Scorer>
    void scan_lists(const Query& query, Scratch& scratch, Scorer scorer) const {
        rank_lists(query.vector, scratch.lists);
        std::vector<Hit>& ranked = scratch.lists;
        const size_t nprobe = std::clamp<size_t>(query.effort, 1, nlist());
        const bool is_ranged = query.range.has_least() || query.range.beyond < kWorstKey;
        // Rows in the first nprobe lists.
        size_t probed = 0;
        size_t scored = 0;
        size_t empty_in_a_row = 0;
        size_t sorted = 0;
        for (size_t i = 0; i < nlist(); i++) {
            if (i >= nprobe && scored >= std::min(std::max(query.k, probed), query.allow.count)) {
                const bool is_full = scratch.top.hits().size() == query.k;
                if (!is_ranged || is_full || empty_in_a_row >= kEmptyListsMax) break;
            }
            if (i == sorted) {
                sorted = std::min(nlist(), std::max(nprobe, 2 * sorted));
                std::partial_sort(ranked.begin() + static_cast<std::ptrdiff_t>(i),
                                  ranked.begin() + static_cast<std::ptrdiff_t>(sorted), ranked.end(), is_better);
                // The disk reads them at the same time, instead of one after the other as they are touched.
                for (size_t j = i; is_mapped_ && scratch.is_waiting && j < nprobe; j++) fetch_list(ranked[j].row);
            }
            const IvfList& list = parsed_.lists[ranked[i].row];
            if (i < nprobe) probed += list.rows.count;
            if (list.rows.count == 0) continue;
            scorer.prepare({static_cast<const float*>(centroids_.view().row(ranked[i].row)), ranked[i].key});
            const Scanned scanned = scan_list(query, list, scorer, scratch.top);
            scored += scanned.allowed;
            if (scanned.allowed > 0) empty_in_a_row = scanned.near == 0 ? empty_in_a_row + 1 : 0;
        }
    }

    void fetch_list(size_t number) const {
        const IvfList& list = parsed_.lists[number];
        fetch_soon(list.codes, list.rows.count * parsed_.code_bytes);
        fetch_soon(list.rows.at, list.rows.count * sizeof(int64_t));
    }

    struct Scanned {
        size_t allowed = 0;
        // Allowed, and on the near side of the range's far end.
        size_t near = 0;
    };

    template <class Scorer>
    Scanned scan_list(const Query& query, const IvfList& list, const Scorer& scorer, TopK& top) const {
        Scanned scanned;
        for (size_t i = 0; i < list.rows.count; i++) {
            const int64_t row = list.rows[i];
            // A damaged file may name any row; reading it fails because it is not there.
            if (row < 0 || static_cast<size_t>(row) >= rows() || !query.allow.has(static_cast<uint32_t>(row))) continue;
            scanned.allowed++;
            float key = scorer(list.codes + i * parsed_.code_bytes);
            if (!(key == key)) key = kWorstKey;
            if (key < query.range.beyond) scanned.near++;
            if (key <= top.worst() && query.range.has(key)) top.push({key, static_cast<uint32_t>(row)});
        }
        return scanned;
    }

    void rank_lists(const float* query, std::vector<Hit>& ranked) const {
        const Vectors& centroids = centroids_.view();
        const KeyFn key(parsed_.quantizer.metric);
        ranked.resize(nlist());
        for (size_t i = 0; i < nlist(); i++) {
            ranked[i] = {key.one(query, centroids.row(i), dimension()), static_cast<uint32_t>(i)};
        }
    }

    // Copies codes and row numbers into one block, list after list; the file is then released.
    void copy() {
        const size_t row_bytes = parsed_.code_bytes + sizeof(int64_t);
        const size_t fixed = parsed_.ranges.count * sizeof(float);
        memory_ = Bytes(fixed + parsed_.rows * row_bytes);
        uint8_t* to = memory_.data();
        const auto take = [&to](const uint8_t* from, size_t bytes) {
            uint8_t* start = to;
            if (bytes > 0) std::memcpy(start, from, bytes);
            to += bytes;
            return start;
        };
        parsed_.quantizer.vectors = nullptr;
        parsed_.ranges.at = take(parsed_.ranges.at, parsed_.ranges.count * sizeof(float));
        for (IvfList& list : parsed_.lists) {
            list.codes = take(list.codes, list.rows.count * parsed_.code_bytes);
            list.rows.at = take(list.rows.at, list.rows.count * sizeof(int64_t));
        }
        parsed_.codebook = {};
        file_ = nullptr;
    }

    File file_;
    IvfFile parsed_;
    StoredVectors centroids_;
    PqColumns columns_;
    Bytes memory_;
    bool is_mapped_ = false;
};

} // namespace

std::unique_ptr<Index> open_ivf(const File& file, const IvfFile& parsed, const OpenOptions& options) {
    return std::make_unique<IvfIndex>(file, parsed, options);
}

} // namespace vdb
