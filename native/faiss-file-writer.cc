// FAISS's index file format, written without FAISS. The layout is described in runtime/ann/index-file.ts.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "hnsw-build.h"

namespace vdb {
namespace {

class FileWriter {
public:
    explicit FileWriter(const std::string& path)
        : path_(path), fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
        if (fd_ < 0) fail();
    }
    ~FileWriter() {
        if (fd_ >= 0) ::close(fd_);
    }
    FileWriter(const FileWriter&) = delete;
    FileWriter& operator=(const FileWriter&) = delete;

    void bytes(const void* data, size_t count) {
        const char* at = static_cast<const char*>(data);
        while (count > 0) {
            // One call moves 2 GiB at most.
            const ssize_t written = ::write(fd_, at, std::min(count, size_t{1} << 30));
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) fail();
            at += written;
            count -= static_cast<size_t>(written);
        }
    }
    void fourcc(const char* name) { bytes(name, 4); }
    template <class T> void value(T value) { bytes(&value, sizeof value); }
    template <class T> void vector(const T* items, size_t count) {
        value<uint64_t>(count);
        bytes(items, count * sizeof(T));
    }

    // A full disk may only show here.
    void close() {
        const int fd = fd_;
        fd_ = -1;
        if (::close(fd) != 0) fail();
    }

private:
    [[noreturn]] void fail() {
        throw std::system_error(errno, std::generic_category(), "could not open or write " + path_);
    }

    std::string path_;
    int fd_;
};

void write_header(FileWriter& file, const char* fourcc, Metric metric, size_t rows, size_t dimension) {
    file.fourcc(fourcc);
    file.value(static_cast<int32_t>(dimension));
    file.value(static_cast<int64_t>(rows));
    // Unused since long ago; FAISS writes these.
    file.value(int64_t{1} << 20);
    file.value(int64_t{1} << 20);
    file.value(uint8_t{1}); // is_trained
    file.value(static_cast<int32_t>(metric == Metric::l2 ? 1 : 0));
}

// FAISS's scalar quantizers that keep numbers as they are.
int32_t quantizer_of(Element element) { return element == Element::f16 ? 4 : element == Element::bf16 ? 7 : 8; }

// FAISS stores int8 with 128 added, without a sign.
void write_shifted(FileWriter& file, const uint8_t* bytes, size_t count) {
    std::vector<uint8_t> block(std::min(count, size_t{1} << 16));
    for (size_t from = 0; from < count; from += block.size()) {
        const size_t size = std::min(block.size(), count - from);
        for (size_t i = 0; i < size; i++) block[i] = bytes[from + i] ^ 0x80;
        file.bytes(block.data(), size);
    }
}

void write_flat(FileWriter& file, const FileRows& rows) {
    const size_t numbers = rows.rows * rows.dimension;
    if (rows.element == Element::f32) {
        write_header(file, rows.metric == Metric::l2 ? "IxF2" : "IxFI", rows.metric, rows.rows, rows.dimension);
        file.vector(reinterpret_cast<const float*>(rows.at), numbers);
        return;
    }
    write_header(file, "IxSQ", rows.metric, rows.rows, rows.dimension);
    file.value(quantizer_of(rows.element));
    file.value(int32_t{0}); // rangestat
    file.value(0.0f);
    file.value(static_cast<uint64_t>(rows.dimension));
    file.value(static_cast<uint64_t>(rows.dimension * element_bytes(rows.element)));
    file.vector(static_cast<const float*>(nullptr), 0); // nothing is trained
    file.value(static_cast<uint64_t>(numbers * element_bytes(rows.element)));
    if (rows.element == Element::i8) write_shifted(file, rows.at, numbers);
    else file.bytes(rows.at, numbers * element_bytes(rows.element));
}

} // namespace

void write_flat_file(const std::string& path, const FileRows& rows) {
    FileWriter file(path);
    write_flat(file, rows);
    file.close();
}

void write_hnsw_file(const std::string& path, const HnswGraph& graph, const FileRows& rows, size_t ef_construction,
                     size_t ef_search) {
    static_assert(sizeof(Link) == sizeof(int32_t), "links are written as they stand in memory");
    FileWriter file(path);
    write_header(file, rows.element == Element::f32 ? "IHNf" : "IHNs", rows.metric, rows.rows, rows.dimension);
    file.vector(graph.shape.assign_probas.data(), graph.shape.assign_probas.size());
    file.vector(graph.shape.cum_nneighbor_per_level.data(), graph.shape.cum_nneighbor_per_level.size());
    file.vector(graph.levels.data(), graph.levels.size());
    file.vector(graph.offsets.data(), graph.offsets.size());
    file.vector(graph.neighbors.data(), graph.offsets.back());
    file.value(static_cast<int32_t>(graph.entry_point));
    file.value(graph.max_level);
    file.value(static_cast<int32_t>(ef_construction));
    file.value(static_cast<int32_t>(ef_search));
    file.value(int32_t{1}); // upper_beam
    write_flat(file, rows);
    file.close();
}

} // namespace vdb
