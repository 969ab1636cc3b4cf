#include "disk-reads.h"

#include <sys/mman.h>
#include <sys/resource.h>

namespace vdb {
namespace {

constexpr uintptr_t kPage = 4096;
// The system counts in blocks of 512 bytes.
constexpr uint64_t kBlocksAPage = kPage / 512;

} // namespace

uint64_t pages_read() {
#if defined(RUSAGE_THREAD)
    rusage usage{};
    if (getrusage(RUSAGE_THREAD, &usage) != 0) return 0;
    // Every system counts faults; blocks also count pages that were requested beforehand.
    return static_cast<uint64_t>(usage.ru_majflt) + static_cast<uint64_t>(usage.ru_inblock) / kBlocksAPage;
#else
    return 0;
#endif
}

void fetch_soon(const void* from, size_t bytes) {
    const uintptr_t start = reinterpret_cast<uintptr_t>(from) / kPage * kPage;
    const uintptr_t end = reinterpret_cast<uintptr_t>(from) + bytes;
    // A hint: if it fails, the pages are read when they are touched.
    (void)madvise(reinterpret_cast<void*>(start), end - start, MADV_WILLNEED);
}

} // namespace vdb
