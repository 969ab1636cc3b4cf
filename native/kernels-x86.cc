// Kernels for x86-64 CPUs with AVX2 and FMA, or with AVX-512. Each function names its requirements in a target attribute, so
// that the file compiles without special flags and the rest of the program runs everywhere.
#if defined(__x86_64__)
#include "kernels.h"

#include <cstring>
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c,popcnt")))
#define VPOPCNT __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512vpopcntdq")))
#define INLINE __attribute__((always_inline)) inline

namespace vdb {
namespace {

// ---- AVX2: eight lanes

template <bool kIsL2>
AVX2 INLINE __m256 add_term(__m256 sum, __m256 x, __m256 y) {
    if constexpr (kIsL2) {
        const __m256 difference = _mm256_sub_ps(x, y);
        return _mm256_fmadd_ps(difference, difference, sum);
    }
    return _mm256_fmadd_ps(x, y, sum);
}

AVX2 INLINE __m128 halves(__m256 v) { return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); }

// The lanes of -1 are those of the last 1 to 7 numbers of a vector.
AVX2 INLINE __m256i tail_mask(size_t count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}

// Eight numbers from the i-th on.
template <Element kElement>
AVX2 INLINE __m256 load_avx2(const void* row, size_t i) {
    const uint8_t* at = static_cast<const uint8_t*>(row) + i * element_bytes(kElement);
    if constexpr (kElement == Element::f32) return _mm256_loadu_ps(reinterpret_cast<const float*>(at));
    if constexpr (kElement == Element::i8) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    }
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    if constexpr (kElement == Element::f16) return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

// The last 1 to 7 numbers of a row, then zeros.
template <Element kElement>
AVX2 INLINE __m256 load_tail_avx2(const void* row, size_t i, size_t count) {
    const uint8_t* at = static_cast<const uint8_t*>(row) + i * element_bytes(kElement);
    if constexpr (kElement == Element::f32) {
        return _mm256_maskload_ps(reinterpret_cast<const float*>(at), tail_mask(count));
    }
    uint8_t numbers[16] = {};
    std::memcpy(numbers, at, count * element_bytes(kElement));
    return load_avx2<kElement>(numbers, 0);
}

template <bool kIsL2, Element kElement, int kRows>
AVX2 INLINE void sums_avx2(const void* x, const void* const* rows, size_t d, __m128* out) {
    __m256 even[kRows];
    __m256 odd[kRows];
    for (int r = 0; r < kRows; r++) even[r] = odd[r] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= d; i += 16) {
        const __m256 a = load_avx2<Element::f32>(x, i);
        const __m256 b = load_avx2<Element::f32>(x, i + 8);
        for (int r = 0; r < kRows; r++) {
            even[r] = add_term<kIsL2>(even[r], a, load_avx2<kElement>(rows[r], i));
            odd[r] = add_term<kIsL2>(odd[r], b, load_avx2<kElement>(rows[r], i + 8));
        }
    }
    if (i + 8 <= d) {
        const __m256 a = load_avx2<Element::f32>(x, i);
        for (int r = 0; r < kRows; r++) even[r] = add_term<kIsL2>(even[r], a, load_avx2<kElement>(rows[r], i));
        i += 8;
    }
    if (i < d) {
        const __m256 a = load_tail_avx2<Element::f32>(x, i, d - i);
        for (int r = 0; r < kRows; r++) {
            odd[r] = add_term<kIsL2>(odd[r], a, load_tail_avx2<kElement>(rows[r], i, d - i));
        }
    }
    for (int r = 0; r < kRows; r++) out[r] = halves(_mm256_add_ps(even[r], odd[r]));
}

template <bool kIsL2, Element kElement>
AVX2 float one_avx2(const void* x, const void* y, size_t d) {
    __m128 sum;
    sums_avx2<kIsL2, kElement, 1>(x, &y, d, &sum);
    sum = _mm_hadd_ps(sum, sum);
    return _mm_cvtss_f32(_mm_hadd_ps(sum, sum));
}

template <bool kIsL2, Element kElement>
AVX2 void four_avx2(const void* x, const void* const rows[4], size_t d, float out[4]) {
    __m128 sums[4];
    sums_avx2<kIsL2, kElement, 4>(x, rows, d, sums);
    _mm_storeu_ps(out, _mm_hadd_ps(_mm_hadd_ps(sums[0], sums[1]), _mm_hadd_ps(sums[2], sums[3])));
}

AVX2 INLINE float total(__m256 v) {
    __m128 sum = halves(v);
    sum = _mm_hadd_ps(sum, sum);
    return _mm_cvtss_f32(_mm_hadd_ps(sum, sum));
}

template <Element kElement>
AVX2 float squares_avx2(const void* row, size_t d) {
    __m256 sum = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= d; i += 8) {
        const __m256 v = load_avx2<kElement>(row, i);
        sum = _mm256_fmadd_ps(v, v, sum);
    }
    if (i < d) {
        const __m256 v = load_tail_avx2<kElement>(row, i, d - i);
        sum = _mm256_fmadd_ps(v, v, sum);
    }
    return total(sum);
}

// One instruction counts the bits of eight bytes.
template <bool kIsJaccard>
AVX2 float bits_popcnt(const void* x, const void* y, size_t d) {
    const auto* a = static_cast<const uint8_t*>(x);
    const auto* b = static_cast<const uint8_t*>(y);
    uint64_t differing = 0;
    uint64_t either = 0;
    const auto add = [&](uint64_t u, uint64_t v) __attribute__((always_inline, target("avx2,fma,f16c,popcnt"))) {
        differing += static_cast<uint64_t>(__builtin_popcountll(u ^ v));
        if constexpr (kIsJaccard) either += static_cast<uint64_t>(__builtin_popcountll(u | v));
    };
    size_t i = 0;
    uint64_t u;
    uint64_t v;
    for (; i + 8 <= d; i += 8) {
        std::memcpy(&u, a + i, 8);
        std::memcpy(&v, b + i, 8);
        add(u, v);
    }
    if (i < d) {
        u = v = 0;
        std::memcpy(&u, a + i, d - i);
        std::memcpy(&v, b + i, d - i);
        add(u, v);
    }
    if constexpr (!kIsJaccard) return static_cast<float>(differing);
    return either == 0 ? 1 : static_cast<float>(differing) / static_cast<float>(either);
}

template <bool kIsJaccard>
AVX2 void bits_four_popcnt(const void* x, const void* const rows[4], size_t d, float out[4]) {
    for (int r = 0; r < 4; r++) out[r] = bits_popcnt<kIsJaccard>(x, rows[r], d);
}

template <bool kIsL2>
AVX2 float code_avx2(const float* a, const float* b, const uint8_t* code, size_t d) {
    __m256 sum = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= d; i += 8) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(code + i));
        const __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        const __m256 scale = _mm256_loadu_ps(b + i);
        if constexpr (kIsL2) {
            const __m256 difference = _mm256_fnmadd_ps(scale, value, _mm256_loadu_ps(a + i));
            sum = _mm256_fmadd_ps(difference, difference, sum);
        } else {
            sum = _mm256_fmadd_ps(scale, value, sum);
        }
    }
    float rest = 0;
    for (; i < d; i++) {
        const float product = b[i] * static_cast<float>(code[i]);
        const float difference = kIsL2 ? a[i] - product : 0;
        rest += kIsL2 ? difference * difference : product;
    }
    return total(sum) + rest;
}

template <bool kIsL2>
AVX2 void column_avx2(float* table, float x, const float* column, size_t count) {
    const __m256 all = _mm256_set1_ps(x);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        _mm256_storeu_ps(table + i, add_term<kIsL2>(_mm256_loadu_ps(table + i), all, _mm256_loadu_ps(column + i)));
    }
    if (i == count) return;
    const __m256i mask = tail_mask(count - i);
    const __m256 sum = add_term<kIsL2>(_mm256_maskload_ps(table + i, mask), all, _mm256_maskload_ps(column + i, mask));
    _mm256_maskstore_ps(table + i, mask, sum);
}

// ---- AVX-512: sixteen lanes

template <bool kIsL2>
AVX512 INLINE __m512 add_term(__m512 sum, __m512 x, __m512 y) {
    if constexpr (kIsL2) {
        const __m512 difference = _mm512_sub_ps(x, y);
        return _mm512_fmadd_ps(difference, difference, sum);
    }
    return _mm512_fmadd_ps(x, y, sum);
}

AVX512 INLINE __mmask16 first_lanes(size_t count) {
    return static_cast<__mmask16>(count >= 16 ? 0xffff : (1u << count) - 1);
}

// Sixteen numbers from the i-th on.
template <Element kElement>
AVX512 INLINE __m512 load_avx512(const void* row, size_t i) {
    const uint8_t* at = static_cast<const uint8_t*>(row) + i * element_bytes(kElement);
    if constexpr (kElement == Element::f32) return _mm512_loadu_ps(at);
    if constexpr (kElement == Element::i8) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))));
    }
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    if constexpr (kElement == Element::f16) return _mm512_cvtph_ps(halves);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// The last 1 to 15 numbers of a row, then zeros.
template <Element kElement>
AVX512 INLINE __m512 load_tail_avx512(const void* row, size_t i, __mmask16 mask) {
    const uint8_t* at = static_cast<const uint8_t*>(row) + i * element_bytes(kElement);
    if constexpr (kElement == Element::f32) return _mm512_maskz_loadu_ps(mask, at);
    if constexpr (kElement == Element::i8) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, at)));
    }
    const __m256i halves = _mm256_maskz_loadu_epi16(mask, at);
    if constexpr (kElement == Element::f16) return _mm512_cvtph_ps(halves);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

AVX512 INLINE __m128 quarters(__m512 v) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

template <bool kIsL2, Element kElement, int kRows>
AVX512 INLINE void sums_avx512(const void* x, const void* const* rows, size_t d, __m128* out) {
    __m512 even[kRows];
    __m512 odd[kRows];
    for (int r = 0; r < kRows; r++) even[r] = odd[r] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 32 <= d; i += 32) {
        const __m512 a = load_avx512<Element::f32>(x, i);
        const __m512 b = load_avx512<Element::f32>(x, i + 16);
        for (int r = 0; r < kRows; r++) {
            even[r] = add_term<kIsL2>(even[r], a, load_avx512<kElement>(rows[r], i));
            odd[r] = add_term<kIsL2>(odd[r], b, load_avx512<kElement>(rows[r], i + 16));
        }
    }
    if (i + 16 <= d) {
        const __m512 a = load_avx512<Element::f32>(x, i);
        for (int r = 0; r < kRows; r++) even[r] = add_term<kIsL2>(even[r], a, load_avx512<kElement>(rows[r], i));
        i += 16;
    }
    if (i < d) {
        const __mmask16 mask = first_lanes(d - i);
        const __m512 a = load_tail_avx512<Element::f32>(x, i, mask);
        for (int r = 0; r < kRows; r++) {
            odd[r] = add_term<kIsL2>(odd[r], a, load_tail_avx512<kElement>(rows[r], i, mask));
        }
    }
    for (int r = 0; r < kRows; r++) out[r] = quarters(_mm512_add_ps(even[r], odd[r]));
}

template <bool kIsL2, Element kElement>
AVX512 float one_avx512(const void* x, const void* y, size_t d) {
    __m128 sum;
    sums_avx512<kIsL2, kElement, 1>(x, &y, d, &sum);
    sum = _mm_hadd_ps(sum, sum);
    return _mm_cvtss_f32(_mm_hadd_ps(sum, sum));
}

template <bool kIsL2, Element kElement>
AVX512 void four_avx512(const void* x, const void* const rows[4], size_t d, float out[4]) {
    __m128 sums[4];
    sums_avx512<kIsL2, kElement, 4>(x, rows, d, sums);
    _mm_storeu_ps(out, _mm_hadd_ps(_mm_hadd_ps(sums[0], sums[1]), _mm_hadd_ps(sums[2], sums[3])));
}

template <Element kElement>
AVX512 float squares_avx512(const void* row, size_t d) {
    __m512 sum = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= d; i += 16) {
        const __m512 v = load_avx512<kElement>(row, i);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    if (i < d) {
        const __m512 v = load_tail_avx512<kElement>(row, i, first_lanes(d - i));
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    __m128 quarter = quarters(sum);
    quarter = _mm_hadd_ps(quarter, quarter);
    return _mm_cvtss_f32(_mm_hadd_ps(quarter, quarter));
}

// For CPUs that count the bits of 64 bytes at once.
template <bool kIsJaccard>
VPOPCNT float bits_vpopcnt(const void* x, const void* y, size_t d) {
    const auto* a = static_cast<const uint8_t*>(x);
    const auto* b = static_cast<const uint8_t*>(y);
    __m512i differing = _mm512_setzero_si512();
    __m512i either = _mm512_setzero_si512();
    for (size_t i = 0; i < d; i += 64) {
        const __mmask64 mask = d - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (d - i)) - 1;
        const __m512i u = _mm512_maskz_loadu_epi8(mask, a + i);
        const __m512i v = _mm512_maskz_loadu_epi8(mask, b + i);
        differing = _mm512_add_epi64(differing, _mm512_popcnt_epi64(_mm512_xor_si512(u, v)));
        if constexpr (kIsJaccard) either = _mm512_add_epi64(either, _mm512_popcnt_epi64(_mm512_or_si512(u, v)));
    }
    const auto count = static_cast<float>(_mm512_reduce_add_epi64(differing));
    if constexpr (!kIsJaccard) return count;
    const auto all = static_cast<float>(_mm512_reduce_add_epi64(either));
    return all == 0 ? 1 : count / all;
}

template <bool kIsJaccard>
VPOPCNT void bits_four_vpopcnt(const void* x, const void* const rows[4], size_t d, float out[4]) {
    for (int r = 0; r < 4; r++) out[r] = bits_vpopcnt<kIsJaccard>(x, rows[r], d);
}

template <bool kIsL2>
AVX512 INLINE __m512 add_code(__m512 sum, __m512 a, __m512 scale, __m128i bytes) {
    const __m512 value = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    if constexpr (!kIsL2) return _mm512_fmadd_ps(scale, value, sum);
    const __m512 difference = _mm512_fnmadd_ps(scale, value, a);
    return _mm512_fmadd_ps(difference, difference, sum);
}

template <bool kIsL2>
AVX512 float code_avx512(const float* a, const float* b, const uint8_t* code, size_t d) {
    __m512 sum = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= d; i += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(code + i));
        const __m512 from = kIsL2 ? _mm512_loadu_ps(a + i) : _mm512_setzero_ps();
        sum = add_code<kIsL2>(sum, from, _mm512_loadu_ps(b + i), bytes);
    }
    if (i < d) {
        const __mmask16 mask = static_cast<__mmask16>((1u << (d - i)) - 1);
        const __m512 from = kIsL2 ? _mm512_maskz_loadu_ps(mask, a + i) : _mm512_setzero_ps();
        sum = add_code<kIsL2>(sum, from, _mm512_maskz_loadu_ps(mask, b + i), _mm_maskz_loadu_epi8(mask, code + i));
    }
    return total(_mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1)));
}

template <bool kIsL2>
AVX512 void column_avx512(float* table, float x, const float* column, size_t count) {
    const __m512 all = _mm512_set1_ps(x);
    for (size_t i = 0; i < count; i += 16) {
        const __mmask16 mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1u << (count - i)) - 1);
        const __m512 sum = _mm512_maskz_loadu_ps(mask, table + i);
        _mm512_mask_storeu_ps(table + i, mask, add_term<kIsL2>(sum, all, _mm512_maskz_loadu_ps(mask, column + i)));
    }
}

template <Element kElement>
constexpr RowKernels kRowAvx2{one_avx2<false, kElement>, one_avx2<true, kElement>, four_avx2<false, kElement>,
                              four_avx2<true, kElement>, squares_avx2<kElement>};
template <Element kElement>
constexpr RowKernels kRowAvx512{one_avx512<false, kElement>, one_avx512<true, kElement>, four_avx512<false, kElement>,
                                four_avx512<true, kElement>, squares_avx512<kElement>};
constexpr BitKernels kBitsPopcnt{{bits_popcnt<false>, bits_four_popcnt<false>}, {bits_popcnt<true>, bits_four_popcnt<true>}};
constexpr BitKernels kBitsVpopcnt{{bits_vpopcnt<false>, bits_four_vpopcnt<false>},
                                  {bits_vpopcnt<true>, bits_four_vpopcnt<true>}};

} // namespace

const Kernels* avx2_kernels() {
    static const Kernels set{
        "avx2",
        {kRowAvx2<Element::f32>, kRowAvx2<Element::f16>, kRowAvx2<Element::bf16>, kRowAvx2<Element::i8>},
        kBitsPopcnt,
        code_avx2<true>, code_avx2<false>, column_avx2<true>, column_avx2<false>};
    const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                     __builtin_cpu_supports("popcnt");
    return has ? &set : nullptr;
}

const Kernels* avx512_kernels() {
    static const Kernels set{
        "avx512",
        {kRowAvx512<Element::f32>, kRowAvx512<Element::f16>, kRowAvx512<Element::bf16>, kRowAvx512<Element::i8>},
        __builtin_cpu_supports("avx512vpopcntdq") ? kBitsVpopcnt : kBitsPopcnt,
        code_avx512<true>, code_avx512<false>, column_avx512<true>, column_avx512<false>};
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("popcnt");
    return has ? &set : nullptr;
}

} // namespace vdb
#endif
