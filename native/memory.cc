#include "memory.h"

#include <cerrno>
#include <fcntl.h>
#include <new>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace vdb {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Small blocks come from the same call, rounded to pages: an index has a handful of blocks.
constexpr size_t kPage = 4096;

size_t mapped_bytes(size_t size) {
    const size_t unit = size >= kHugePage ? kHugePage : kPage;
    return (size + unit - 1) / unit * unit;
}

} // namespace

Bytes::Bytes(size_t size) : size_(size) {
    if (size == 0) return;
    if (size > SIZE_MAX / 2) throw std::bad_alloc();
    const size_t bytes = mapped_bytes(size);
    // The kernel aligns to small pages only: allocate one huge page more and return what is before and after.
    const size_t slack = bytes >= kHugePage ? kHugePage : 0;
    void* found = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) throw std::bad_alloc();
    uint8_t* start = static_cast<uint8_t*>(found);
    if (slack != 0) {
        const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
        if (before != 0) munmap(start, before);
        if (before != slack) munmap(start + before + bytes, slack - before);
        start += before;
#if defined(MADV_HUGEPAGE)
        madvise(start, bytes, MADV_HUGEPAGE);
#endif
    }
    data_ = start;
}

Bytes::~Bytes() {
    if (data_ != nullptr) munmap(data_, mapped_bytes(size_));
}

MappedFile::MappedFile(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw std::runtime_error(std::string("cannot be opened: ") + std::strerror(errno));
    struct stat about {};
    void* found = MAP_FAILED;
    if (fstat(file, &about) == 0 && about.st_size > 0) {
        size_ = static_cast<size_t>(about.st_size);
        found = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    }
    close(file);
    if (found == MAP_FAILED) throw std::runtime_error(size_ == 0 ? "is empty" : "cannot be mapped");
    data_ = static_cast<const uint8_t*>(found);
}

void MappedFile::expect_random_access() const {
    madvise(const_cast<uint8_t*>(data_), size_, MADV_RANDOM);
}

MappedFile::~MappedFile() {
    munmap(const_cast<uint8_t*>(data_), size_);
}

} // namespace vdb
