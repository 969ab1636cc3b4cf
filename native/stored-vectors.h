// The rows of an index: copied to aligned memory, or in the pages of the file.
#pragma once
#include "index-file.h"
#include "index.h"

namespace vdb {

class StoredVectors {
public:
    StoredVectors(const File& file, const FlatFile& parsed, const OpenOptions& options);

    const Vectors& view() const { return view_; }
    size_t memory_bytes() const { return copy_.size(); }

private:
    File file_;
    Bytes copy_;
    Vectors view_;
};

} // namespace vdb
