// Kernels for x86-64 CPUs with AVX2 and FMA, or with AVX-512. Each function names what it needs in a target attribute, so
// that the file compiles without special flags and the rest of the program stays runnable everywhere.
#if defined(__x86_64__)
#include "kernels.h"

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma")))
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

template <bool kIsL2, int kRows>
AVX2 INLINE void sums_avx2(const float* x, const float* const* rows, size_t d, __m128* out) {
    __m256 even[kRows];
    __m256 odd[kRows];
    for (int r = 0; r < kRows; r++) even[r] = odd[r] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= d; i += 16) {
        const __m256 a = _mm256_loadu_ps(x + i);
        const __m256 b = _mm256_loadu_ps(x + i + 8);
        for (int r = 0; r < kRows; r++) {
            even[r] = add_term<kIsL2>(even[r], a, _mm256_loadu_ps(rows[r] + i));
            odd[r] = add_term<kIsL2>(odd[r], b, _mm256_loadu_ps(rows[r] + i + 8));
        }
    }
    if (i + 8 <= d) {
        const __m256 a = _mm256_loadu_ps(x + i);
        for (int r = 0; r < kRows; r++) even[r] = add_term<kIsL2>(even[r], a, _mm256_loadu_ps(rows[r] + i));
        i += 8;
    }
    if (i < d) {
        const __m256i mask = tail_mask(d - i);
        const __m256 a = _mm256_maskload_ps(x + i, mask);
        for (int r = 0; r < kRows; r++) odd[r] = add_term<kIsL2>(odd[r], a, _mm256_maskload_ps(rows[r] + i, mask));
    }
    for (int r = 0; r < kRows; r++) out[r] = halves(_mm256_add_ps(even[r], odd[r]));
}

template <bool kIsL2>
AVX2 float one_avx2(const float* x, const float* y, size_t d) {
    __m128 sum;
    sums_avx2<kIsL2, 1>(x, &y, d, &sum);
    sum = _mm_hadd_ps(sum, sum);
    return _mm_cvtss_f32(_mm_hadd_ps(sum, sum));
}

template <bool kIsL2>
AVX2 void four_avx2(const float* x, const float* const rows[4], size_t d, float out[4]) {
    __m128 sums[4];
    sums_avx2<kIsL2, 4>(x, rows, d, sums);
    _mm_storeu_ps(out, _mm_hadd_ps(_mm_hadd_ps(sums[0], sums[1]), _mm_hadd_ps(sums[2], sums[3])));
}

AVX2 INLINE float total(__m256 v) {
    __m128 sum = halves(v);
    sum = _mm_hadd_ps(sum, sum);
    return _mm_cvtss_f32(_mm_hadd_ps(sum, sum));
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

template <bool kIsL2, int kRows>
AVX512 INLINE void sums_avx512(const float* x, const float* const* rows, size_t d, __m128* out) {
    __m512 even[kRows];
    __m512 odd[kRows];
    for (int r = 0; r < kRows; r++) even[r] = odd[r] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 32 <= d; i += 32) {
        const __m512 a = _mm512_loadu_ps(x + i);
        const __m512 b = _mm512_loadu_ps(x + i + 16);
        for (int r = 0; r < kRows; r++) {
            even[r] = add_term<kIsL2>(even[r], a, _mm512_loadu_ps(rows[r] + i));
            odd[r] = add_term<kIsL2>(odd[r], b, _mm512_loadu_ps(rows[r] + i + 16));
        }
    }
    if (i + 16 <= d) {
        const __m512 a = _mm512_loadu_ps(x + i);
        for (int r = 0; r < kRows; r++) even[r] = add_term<kIsL2>(even[r], a, _mm512_loadu_ps(rows[r] + i));
        i += 16;
    }
    if (i < d) {
        const __mmask16 mask = static_cast<__mmask16>((1u << (d - i)) - 1);
        const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
        for (int r = 0; r < kRows; r++) odd[r] = add_term<kIsL2>(odd[r], a, _mm512_maskz_loadu_ps(mask, rows[r] + i));
    }
    for (int r = 0; r < kRows; r++) {
        const __m512 sum = _mm512_add_ps(even[r], odd[r]);
        const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
        out[r] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
}

template <bool kIsL2>
AVX512 float one_avx512(const float* x, const float* y, size_t d) {
    __m128 sum;
    sums_avx512<kIsL2, 1>(x, &y, d, &sum);
    sum = _mm_hadd_ps(sum, sum);
    return _mm_cvtss_f32(_mm_hadd_ps(sum, sum));
}

template <bool kIsL2>
AVX512 void four_avx512(const float* x, const float* const rows[4], size_t d, float out[4]) {
    __m128 sums[4];
    sums_avx512<kIsL2, 4>(x, rows, d, sums);
    _mm_storeu_ps(out, _mm_hadd_ps(_mm_hadd_ps(sums[0], sums[1]), _mm_hadd_ps(sums[2], sums[3])));
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

} // namespace

const Kernels* avx2_kernels() {
    static const Kernels set{"avx2",           one_avx2<false>,  one_avx2<true>,    four_avx2<false>,  four_avx2<true>,
                             code_avx2<true>, code_avx2<false>, column_avx2<true>, column_avx2<false>};
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &set : nullptr;
}

const Kernels* avx512_kernels() {
    static const Kernels set{"avx512",           one_avx512<false>,  one_avx512<true>,    four_avx512<false>,  four_avx512<true>,
                             code_avx512<true>, code_avx512<false>, column_avx512<true>, column_avx512<false>};
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    return has ? &set : nullptr;
}

} // namespace vdb
#endif
