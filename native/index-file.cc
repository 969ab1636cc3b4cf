#include "index-file.h"

namespace vdb {
namespace {

// A row number has to fit an int32, and one bit of it is used as a mark while searching.
constexpr uint64_t kRowsMax = uint64_t{1} << 30;
constexpr int32_t kDimensionMax = 1 << 20;

// Reads in order and never beyond the end.
class Cursor {
public:
    Cursor(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {}

    [[noreturn]] void fail(const std::string& why) const {
        throw Damaged("is damaged at byte " + std::to_string(at_) + ": " + why);
    }

    // Room for count elements is checked without overflow: count may be any number.
    const uint8_t* take(uint64_t count, size_t element_bytes) {
        if (element_bytes != 0 && count > (size_ - at_) / element_bytes) fail("it ends too early");
        const uint8_t* found = bytes_ + at_;
        at_ += count * element_bytes;
        return found;
    }

    template <class T>
    T number() {
        return Packed<T>{take(1, sizeof(T)), 1}[0];
    }

    template <class T>
    Packed<T> vector() {
        const uint64_t count = number<uint64_t>();
        return {take(count, sizeof(T)), count};
    }

    std::string fourcc() { return std::string(reinterpret_cast<const char*>(take(4, 1)), 4); }
    bool is_at_end() const { return at_ == size_; }

private:
    const uint8_t* bytes_;
    size_t size_;
    size_t at_ = 0;
};

struct Header {
    std::string fourcc;
    size_t dimension;
    size_t rows;
    Metric metric;
};

Header read_header(Cursor& in) {
    const std::string fourcc = in.fourcc();
    const int32_t dimension = in.number<int32_t>();
    const uint64_t rows = in.number<uint64_t>();
    in.take(16, 1);
    in.number<uint8_t>();
    const int32_t metric = in.number<int32_t>();
    if (dimension < 1 || dimension > kDimensionMax || rows > kRowsMax) in.fail("impossible header");
    if (metric != 0 && metric != 1) in.fail("unknown metric");
    return {fourcc, static_cast<size_t>(dimension), rows, metric == 0 ? Metric::inner_product : Metric::l2};
}

// FAISS's scalar quantizers that keep numbers as they are.
constexpr int32_t kHalves = 4;
constexpr int32_t kBfloats = 7;
constexpr int32_t kSignedBytes = 8;

void read_packed(Cursor& in, FlatFile& file) {
    const int32_t kind = in.number<int32_t>();
    in.take(8, 1);
    const uint64_t dimension = in.number<uint64_t>();
    const uint64_t code_bytes = in.number<uint64_t>();
    in.vector<float>();
    if (kind != kHalves && kind != kBfloats && kind != kSignedBytes) in.fail("vectors are stored in an unknown way");
    file.element = kind == kHalves ? Element::f16 : kind == kBfloats ? Element::bf16 : Element::i8;
    file.is_shifted = kind == kSignedBytes;
    if (dimension != file.dimension || code_bytes != file.row_bytes()) in.fail("impossible scalar quantizer");
    const auto codes = in.vector<uint8_t>();
    if (codes.count != file.rows * file.row_bytes()) in.fail("vectors do not match the row count");
    file.vectors = codes.at;
}

FlatFile read_flat(Cursor& in, const Header& header) {
    FlatFile file;
    file.metric = header.metric;
    file.dimension = header.dimension;
    file.rows = header.rows;
    if (header.fourcc == "IxSQ") {
        read_packed(in, file);
        return file;
    }
    if (header.fourcc != "IxFI" && header.fourcc != "IxF2") in.fail("vectors are stored in an unknown way");
    const auto numbers = in.vector<float>();
    if (numbers.count != header.rows * header.dimension) in.fail("vectors do not match the row count");
    file.vectors = numbers.at;
    return file;
}

// Only what is needed to stay inside the vectors while they are searched is checked here; links are checked when used.
HnswFile read_hnsw(Cursor& in, const Header& header) {
    HnswFile file;
    in.vector<double>();
    const auto cum_links = in.vector<int32_t>();
    file.levels = in.vector<int32_t>();
    file.offsets = in.vector<uint64_t>();
    file.links = in.vector<int32_t>();
    file.entry_point = in.number<int32_t>();
    file.max_level = in.number<int32_t>();
    in.take(12, 1);
    if (cum_links.count < 2 || cum_links.count > 1024) in.fail("impossible number of levels");
    for (size_t i = 0; i < cum_links.count; i++) {
        const int32_t links = cum_links[i];
        if (links < 0 || links > (1 << 24) || (i == 0 && links != 0) ||
            (i > 0 && static_cast<size_t>(links) < file.cum_links.back())) {
            in.fail("impossible number of links");
        }
        file.cum_links.push_back(static_cast<size_t>(links));
    }
    if (file.levels.count != header.rows || file.offsets.count != header.rows + 1) {
        in.fail("graph does not match the row count");
    }
    if (header.rows > 0) {
        const bool has_entry = file.entry_point >= 0 && static_cast<size_t>(file.entry_point) < header.rows;
        if (!has_entry || file.max_level < 0 || file.max_level + 2 > static_cast<int32_t>(cum_links.count)) {
            in.fail("impossible entry point");
        }
    }
    file.storage = read_flat(in, read_header(in));
    if (file.storage.rows != header.rows || file.storage.dimension != header.dimension ||
        file.storage.metric != header.metric) {
        in.fail("graph and vectors differ");
    }
    return file;
}

void read_lists(Cursor& in, size_t nlist, IvfFile& file) {
    if (in.fourcc() != "ilar") in.fail("inverted lists are missing");
    const uint64_t lists = in.number<uint64_t>();
    const uint64_t code_bytes = in.number<uint64_t>();
    const std::string form = in.fourcc();
    const auto sizes = in.vector<uint64_t>();
    const bool is_full = form == "full";
    if (lists != nlist || code_bytes != file.code_bytes || (!is_full && form != "sprs") ||
        (is_full ? sizes.count != nlist : sizes.count % 2 != 0)) {
        in.fail("impossible inverted lists");
    }
    file.lists.resize(nlist);
    uint64_t rows = 0;
    for (size_t i = 0; i < sizes.count; i += is_full ? 1 : 2) {
        const uint64_t list = is_full ? i : sizes[i];
        const uint64_t size = is_full ? sizes[i] : sizes[i + 1];
        if (list >= nlist || size > file.rows) in.fail("impossible inverted list");
        IvfList& into = file.lists[list];
        if (into.rows.count != 0) in.fail("an inverted list comes twice");
        into.codes = in.take(size, code_bytes);
        into.rows = {in.take(size, sizeof(int64_t)), size};
        rows += size;
    }
    if (rows != file.rows) in.fail("inverted lists do not match the row count");
}

void read_sq8(Cursor& in, IvfFile& file) {
    constexpr int32_t kEightBits = 0;
    const int32_t kind = in.number<int32_t>();
    in.take(8, 1);
    const uint64_t dimension = in.number<uint64_t>();
    const uint64_t code_bytes = in.number<uint64_t>();
    file.ranges = in.vector<float>();
    const uint64_t code_bytes_again = in.number<uint64_t>();
    file.by_residual = in.number<uint8_t>() != 0;
    if (kind != kEightBits || dimension != file.dimension || code_bytes != file.dimension ||
        code_bytes_again != file.dimension || file.ranges.count != 2 * file.dimension) {
        in.fail("impossible scalar quantizer");
    }
    file.code_bytes = file.dimension;
}

void read_pq(Cursor& in, IvfFile& file) {
    file.by_residual = in.number<uint8_t>() != 0;
    const uint64_t code_bytes = in.number<uint64_t>();
    const uint64_t dimension = in.number<uint64_t>();
    const uint64_t sub_quantizers = in.number<uint64_t>();
    const uint64_t bits = in.number<uint64_t>();
    file.codebook = in.vector<float>();
    if (dimension != file.dimension || sub_quantizers < 1 || sub_quantizers > dimension ||
        dimension % sub_quantizers != 0 || bits < 1 || bits > 8 || code_bytes != (sub_quantizers * bits + 7) / 8 ||
        file.codebook.count != (dimension << bits)) {
        in.fail("impossible product quantizer");
    }
    file.sub_quantizers = sub_quantizers;
    file.bits = bits;
    file.code_bytes = code_bytes;
}

IvfFile read_ivf(Cursor& in, const Header& header) {
    IvfFile file;
    file.metric = header.metric;
    file.dimension = header.dimension;
    file.rows = header.rows;
    const uint64_t nlist = in.number<uint64_t>();
    in.take(8, 1);
    file.quantizer = read_flat(in, read_header(in));
    if (file.quantizer.rows != nlist || file.quantizer.dimension != header.dimension || nlist < 1 ||
        file.quantizer.element != Element::f32) {
        in.fail("quantizer does not match the lists");
    }
    if (in.number<uint8_t>() != 0) in.fail("direct map is not known");
    in.vector<int64_t>();
    if (header.fourcc == "IwFl") {
        file.code = IvfCode::flat;
        file.code_bytes = header.dimension * sizeof(float);
    } else if (header.fourcc == "IwSq") {
        file.code = IvfCode::sq8;
        read_sq8(in, file);
    } else {
        file.code = IvfCode::pq;
        read_pq(in, file);
    }
    read_lists(in, nlist, file);
    return file;
}

} // namespace

IndexFile read_index_file(const uint8_t* bytes, size_t size) {
    Cursor in(bytes, size);
    const Header header = read_header(in);
    const auto read_body = [&]() -> IndexFile {
        if (header.fourcc == "IHNf" || header.fourcc == "IHNs") return read_hnsw(in, header);
        if (header.fourcc == "IwFl" || header.fourcc == "IwSq" || header.fourcc == "IwPQ") return read_ivf(in, header);
        return read_flat(in, header);
    };
    IndexFile file = read_body();
    if (!in.is_at_end()) in.fail("bytes too many");
    return file;
}

} // namespace vdb
