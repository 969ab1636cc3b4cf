// A job that JavaScript knows by a number, with which its end is reported.
#pragma once
#include "pool.h"

#include <cstdint>

namespace vdb {

class NumberedJob : public Job {
public:
    explicit NumberedJob(uint32_t number) : id(number) {}

    const uint32_t id;
};

} // namespace vdb
