// Reads of mapped files that wait for the disk: noticing them, and asking for many pages at the same time.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vdb {

// How many pages (about) this thread has had read from a disk since it began, by the system's count. Only differences mean something.
uint64_t pages_read();

// Asks for bytes of a mapped file without waiting for them. Of what is in memory already it costs about a microsecond.
void fetch_soon(const void* from, size_t bytes);

// Notes in `is_waiting` whether what a thread does until its end had to wait for the disk more than now and then.
class WaitWatch {
public:
    explicit WaitWatch(bool& is_waiting) : is_waiting_(is_waiting), before_(pages_read()) {}
    WaitWatch(const WaitWatch&) = delete;
    WaitWatch& operator=(const WaitWatch&) = delete;
    ~WaitWatch() { is_waiting_ = pages_read() - before_ > kNowAndThen; }

private:
    // Less is not worth asking for each row beforehand.
    static constexpr uint64_t kNowAndThen = 8;

    bool& is_waiting_;
    const uint64_t before_;
};

} // namespace vdb
