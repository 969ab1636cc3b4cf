#include "growing-linker.h"

#include <dlfcn.h>

#include <thread>

namespace vdb {
namespace {

// Rows linked before another index gets its turn: a few milliseconds of work.
constexpr size_t kRowsPerTurn = 32;

// Most of a machine is for answering searches.
size_t thread_count() { return std::max(1u, std::thread::hardware_concurrency() / 4); }

} // namespace

GrowingLinker& GrowingLinker::of_process() {
    static GrowingLinker* const linker = new GrowingLinker();
    return *linker;
}

GrowingLinker::GrowingLinker() {
    // Node unloads an addon with the last worker thread that used it, and these threads run in it.
    Dl_info ours;
    if (dladdr(reinterpret_cast<void*>(&thread_count), &ours) != 0) dlopen(ours.dli_fname, RTLD_NOW | RTLD_NODELETE);
    for (size_t i = 0; i < thread_count(); i++) std::thread([this] { work(); }).detach();
}

void GrowingLinker::wake(std::shared_ptr<LinkedGrowing> growing) {
    const std::lock_guard lock(mutex_);
    if (growing->is_queued_) return;
    growing->is_queued_ = true;
    queue_.push_back(std::move(growing));
    has_work_.notify_one();
}

void GrowingLinker::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        has_work_.wait(lock, [this] { return !queue_.empty(); });
        std::shared_ptr<LinkedGrowing> growing = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        // Out of memory: the rows linked so far stay, exact search covers the rest.
        try {
            if (!growing->is_closed.load(std::memory_order_relaxed)) growing->index.link(kRowsPerTurn);
        } catch (const std::bad_alloc&) {
            growing->is_closed.store(true, std::memory_order_relaxed);
        }
        lock.lock();
        // Read with the lock held: rows stored after this wake it again.
        const GrowingHnsw& index = growing->index;
        growing->is_queued_ = !growing->is_closed.load(std::memory_order_relaxed) && index.linked_rows() < index.stored_rows();
        if (growing->is_queued_) {
            queue_.push_back(std::move(growing));
            continue;
        }
        // This may be the last reference: freeing takes a while.
        lock.unlock();
        growing.reset();
        lock.lock();
    }
}

} // namespace vdb
