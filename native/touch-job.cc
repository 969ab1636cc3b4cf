#include "touch-job.h"

#include "disk-reads.h"

namespace vdb {
namespace {

constexpr size_t kPage = 4096;

} // namespace

void TouchJob::run(size_t task, Scratch&) {
    const TouchedRows& part = parts_[task];
    // The disk reads them at the same time, instead of one after the other as they are touched.
    for (size_t i = 0; part.count > 1 && i < part.count; i++) fetch_soon(part.base + part.rows[i] * part.row_bytes, part.row_bytes);
    for (size_t i = 0; i < part.count; i++) {
        const uint8_t* row = part.base + part.rows[i] * part.row_bytes;
        // One byte per page, and the last byte: a row may begin and end in the middle of a page.
        for (size_t at = 0; at < part.row_bytes; at += kPage) (void)*static_cast<const volatile uint8_t*>(row + at);
        (void)*static_cast<const volatile uint8_t*>(row + part.row_bytes - 1);
    }
}

} // namespace vdb
