#include "index.h"

namespace vdb {
namespace {

std::unique_ptr<Index> open_parsed(const File& file, const IndexFile& parsed, const OpenOptions& options) {
    if (const auto* hnsw = std::get_if<HnswFile>(&parsed)) {
        // A walk reads at random; the others read long runs of rows, which the system reads ahead.
        if (options.is_mapped) file->expect_random_access();
        return open_hnsw(file, *hnsw, options);
    }
    if (const auto* ivf = std::get_if<IvfFile>(&parsed)) return open_ivf(file, *ivf, options);
    return open_flat(file, std::get<FlatFile>(parsed), options);
}

} // namespace

std::unique_ptr<Index> open_index(const std::string& path, const OpenOptions& options) {
    const File file = std::make_shared<MappedFile>(path);
    return open_parsed(file, read_index_file(file->data(), file->size()), options);
}

} // namespace vdb
