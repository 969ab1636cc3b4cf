// Reads some rows of mapped files, so that the next reader finds them in memory: a thread of the pool waits for the disk, not
// JavaScript's.
#pragma once
#include "memory.h"
#include "numbered-job.h"

#include <memory>
#include <vector>

namespace vdb {

// Rows of row-major vectors that JavaScript holds.
struct TouchedRows {
    const uint8_t* base = nullptr;
    size_t row_bytes = 0;
    const uint32_t* rows = nullptr;
    size_t count = 0;
    // Where they are.
    std::shared_ptr<const MappedFile> file;
};

// The arrays stay JavaScript's: it must keep them until the job has ended.
class TouchJob : public NumberedJob {
public:
    TouchJob(uint32_t number, std::vector<TouchedRows> parts) : NumberedJob(number), parts_(std::move(parts)) {}

    // Each part separately, so that threads wait for the disk at the same time.
    size_t task_count() const override { return parts_.size(); }
    void run(size_t task, Scratch&) override;

private:
    const std::vector<TouchedRows> parts_;
};

} // namespace vdb
