#include "index.h"

namespace vdb {

std::unique_ptr<Index> open_index(const std::string& path, const OpenOptions& options) {
    const File file = std::make_shared<MappedFile>(path);
    const IndexFile parsed = read_index_file(file->data(), file->size());
    if (options.is_mapped) file->expect_random_access();
    if (const auto* hnsw = std::get_if<HnswFile>(&parsed)) return open_hnsw(file, *hnsw, options);
    if (const auto* ivf = std::get_if<IvfFile>(&parsed)) return open_ivf(file, *ivf, options);
    return open_flat(file, std::get<FlatFile>(parsed), options);
}

} // namespace vdb
