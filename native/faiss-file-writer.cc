// FAISS's index file format, written without FAISS. The layout is described in runtime/ann/index-file.ts.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

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

    // What the disk has no room for may only come out here.
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

void write_flat(FileWriter& file, const float* vectors, Metric metric, size_t rows, size_t dimension) {
    write_header(file, metric == Metric::l2 ? "IxF2" : "IxFI", metric, rows, dimension);
    file.vector(vectors, rows * dimension);
}

} // namespace

void write_flat_file(const std::string& path, const float* vectors, Metric metric, size_t rows, size_t dimension) {
    FileWriter file(path);
    write_flat(file, vectors, metric, rows, dimension);
    file.close();
}

void write_hnsw_file(const std::string& path, const HnswGraph& graph, const float* vectors,
                     const HnswBuildOptions& options, size_t ef_search) {
    static_assert(sizeof(Link) == sizeof(int32_t), "links are written as they stand in memory");
    FileWriter file(path);
    write_header(file, "IHNf", options.metric, options.rows, options.dimension);
    file.vector(graph.shape.assign_probas.data(), graph.shape.assign_probas.size());
    file.vector(graph.shape.cum_nneighbor_per_level.data(), graph.shape.cum_nneighbor_per_level.size());
    file.vector(graph.levels.data(), graph.levels.size());
    file.vector(graph.offsets.data(), graph.offsets.size());
    file.vector(graph.neighbors.data(), graph.offsets.back());
    file.value(static_cast<int32_t>(graph.entry_point));
    file.value(graph.max_level);
    file.value(static_cast<int32_t>(options.ef_construction));
    file.value(static_cast<int32_t>(ef_search));
    file.value(int32_t{1}); // upper_beam
    write_flat(file, vectors, options.metric, options.rows, options.dimension);
    file.close();
}

} // namespace vdb
