// Reads of mapped files that wait for the disk: detecting them, and requesting many pages at the same time.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vdb {

// About how many pages have been read from a disk for this thread since it began, by the system's count. Only differences
// matter.
uint64_t pages_read();

// Requests bytes of a mapped file without waiting for them. If they are in memory already, it costs about a microsecond.
void fetch_soon(const void* from, size_t bytes);

// Records in `is_waiting` whether the thread had to wait for the disk more than occasionally during this object's life.
class WaitWatch {
public:
    explicit WaitWatch(bool& is_waiting) : is_waiting_(is_waiting), before_(pages_read()) {}
    WaitWatch(const WaitWatch&) = delete;
    WaitWatch& operator=(const WaitWatch&) = delete;
    ~WaitWatch() { is_waiting_ = pages_read() - before_ > kNowAndThen; }

private:
    // With fewer waits, requesting each row beforehand does not pay.
    static constexpr uint64_t kNowAndThen = 8;

    bool& is_waiting_;
    const uint64_t before_;
};

} // namespace vdb
