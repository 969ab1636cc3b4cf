// FLAT: every row is looked at.
#include "cost.h"
#include "exact.h"
#include "stored-vectors.h"

namespace vdb {
namespace {

class FlatIndex : public Index {
public:
    FlatIndex(const File& file, const FlatFile& parsed, StoredVectors vectors)
        : Index(parsed.metric, parsed.rows, parsed.dimension, vectors.view().stride), vectors_(std::move(vectors)) {
        (void)file;
    }

    const char* type() const override { return "FLAT"; }
    size_t memory_bytes() const override { return vectors_.memory_bytes(); }
    const Vectors* scanned(const Query&, size_t) const override { return &vectors_.view(); }
    double cost_ns(const Query& query) const override { return exact_cost_ns(query.allow.count, rows(), stride()); }

    void search(const Query& query, Scratch& scratch) const override {
        scratch.top.reset(query.k);
        const Block block{vectors_.view(), false, nullptr, query.allow, 0};
        scan_block(KeyFn(metric(), vectors_.view()), block, 0, rows(), &query.vector, 1, query.range, &scratch.top);
    }

private:
    StoredVectors vectors_;
};

} // namespace

std::unique_ptr<Index> open_flat(const File& file, const FlatFile& parsed, const OpenOptions& options) {
    return std::make_unique<FlatIndex>(file, parsed, StoredVectors(file, parsed, options));
}

} // namespace vdb
