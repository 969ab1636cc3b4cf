// An index that is open: a FAISS file in memory (or mapped), and its search.
#pragma once
#include "index-file.h"
#include "search.h"

#include <memory>
#include <string>

namespace vdb {

struct OpenOptions {
    // Search in the file's pages as they are, instead of in a copy laid out for speed.
    bool is_mapped = false;
    // Rows that are not float32 keep their length in the file: inner products are divided by it.
    bool is_cosine = false;
};

class Index {
public:
    virtual ~Index() = default;

    // "FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8" or "IVF_PQ".
    virtual const char* type() const = 0;
    // Bytes that belong to this index alone; those of a mapped file belong to the page cache.
    virtual size_t memory_bytes() const = 0;
    // Leaves the best k hits in scratch.top, fewer only where fewer rows are allowed and in range.
    virtual void search(const Query& query, Scratch& scratch) const = 0;
    // The cost of one search, for sharing work among threads.
    virtual double cost_ns(const Query& query) const = 0;
    // The stored rows, if that many such searches are best done in one pass over the allowed ones.
    virtual const Vectors* scanned(const Query& query, size_t queries) const {
        (void)query;
        (void)queries;
        return nullptr;
    }

    Metric metric() const { return metric_; }
    size_t rows() const { return rows_; }
    size_t dimension() const { return dimension_; }
    // The stride of queries, in elements.
    size_t stride() const { return stride_; }

protected:
    Index(Metric metric, size_t rows, size_t dimension, size_t stride)
        : metric_(metric), rows_(rows), dimension_(dimension), stride_(stride) {}

private:
    Metric metric_;
    size_t rows_;
    size_t dimension_;
    size_t stride_;
};

// Throws Damaged; std::runtime_error where the file cannot be read; std::bad_alloc.
std::unique_ptr<Index> open_index(const std::string& path, const OpenOptions& options);

// The kinds of index; they take what they need from the mapped file.
using File = std::shared_ptr<const MappedFile>;
std::unique_ptr<Index> open_flat(const File& file, const FlatFile& parsed, const OpenOptions& options);
std::unique_ptr<Index> open_hnsw(const File& file, const HnswFile& parsed, const OpenOptions& options);
std::unique_ptr<Index> open_ivf(const File& file, const IvfFile& parsed, const OpenOptions& options);

} // namespace vdb
