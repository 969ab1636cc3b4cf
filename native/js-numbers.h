// Numbers in the objects that JavaScript gives.
#pragma once
#include <cmath>
#include <napi.h>
#include <string>

namespace vdb {

constexpr double kRowsMax = 2147483647;
constexpr double kDimensionMax = 1 << 20;
constexpr double kLinksMax = 1 << 16;

// Throws a TypeError.
inline size_t count_in(const Napi::Object& given, const char* name, double least, double most) {
    const double value = given.Get(name).ToNumber().DoubleValue();
    if (!(value >= least && value <= most && value == std::floor(value))) {
        throw Napi::TypeError::New(given.Env(), std::string(name) + " is not a whole number in its range");
    }
    return static_cast<size_t>(value);
}

} // namespace vdb
