// The threads that link the rows of all growing indexes of this process, a little of each in turn.
#pragma once
#include "growing-hnsw.h"

#include <condition_variable>
#include <deque>
#include <mutex>

namespace vdb {

// A growing index with what the linker needs to know of it.
struct LinkedGrowing {
    explicit LinkedGrowing(const GrowingOptions& options) : index(options) {}

    GrowingHnsw index;
    // Nobody will search it any more.
    std::atomic<bool> is_closed{false};

private:
    friend class GrowingLinker;
    // Waiting for a thread, or being linked.
    bool is_queued_ = false;
};

class GrowingLinker {
public:
    // Never destroyed: its threads end with the process.
    static GrowingLinker& of_process();

    // Some rows have been stored.
    void wake(std::shared_ptr<LinkedGrowing> growing);

private:
    GrowingLinker();
    void work();

    std::mutex mutex_;
    std::condition_variable has_work_;
    std::deque<std::shared_ptr<LinkedGrowing>> queue_;
};

} // namespace vdb
