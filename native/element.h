// The type of a row's numbers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vdb {

// Little-endian at any alignment; bits: eight to a byte.
enum class Element : uint8_t { f32, f16, bf16, i8, bits };

constexpr size_t kNumberElements = 4;

// Bytes of one number; bits are counted by the byte.
constexpr size_t element_bytes(Element element) {
    return element == Element::f32 ? 4 : element == Element::f16 || element == Element::bf16 ? 2 : 1;
}

// Elements that a row of `dimension` has: numbers, or bytes of bits.
constexpr size_t elements_of(Element element, size_t dimension) {
    return element == Element::bits ? dimension / 8 : dimension;
}

inline float float_of_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// A multiplication shifts the exponent, which also handles subnormal numbers.
inline float float_of_half(uint16_t half) {
    const uint32_t magnitude = half & 0x7fffu;
    const float value = magnitude >= 0x7c00u ? float_of_bits(0x7f800000u | (magnitude & 0x3ffu) << 13)
                                             : float_of_bits(magnitude << 13) * 0x1p112f;
    return (half & 0x8000u) != 0 ? -value : value;
}

// Number i of a row.
template <Element kElement>
inline float number_at(const void* row, size_t i) {
    static_assert(kElement != Element::bits, "bits are no numbers");
    const uint8_t* at = static_cast<const uint8_t*>(row) + i * element_bytes(kElement);
    if constexpr (kElement == Element::f32) {
        float value;
        std::memcpy(&value, at, sizeof value);
        return value;
    } else if constexpr (kElement == Element::i8) {
        return static_cast<float>(static_cast<int8_t>(*at));
    } else {
        uint16_t half;
        std::memcpy(&half, at, sizeof half);
        return kElement == Element::f16 ? float_of_half(half) : float_of_bits(static_cast<uint32_t>(half) << 16);
    }
}

inline float number_at(Element element, const void* row, size_t i) {
    switch (element) {
        case Element::f16: return number_at<Element::f16>(row, i);
        case Element::bf16: return number_at<Element::bf16>(row, i);
        case Element::i8: return number_at<Element::i8>(row, i);
        default: return number_at<Element::f32>(row, i);
    }
}

} // namespace vdb
