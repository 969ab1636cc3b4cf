// Distances between float32 vectors, the innermost loops of every search and build.
//
// The best implementation that the CPU has is chosen once, at run time: AVX-512, AVX2 with FMA, or four-lane vectors that
// every x86-64 (SSE2) and arm64 (NEON) has. Vectors may have any length and any alignment; aligned to 64 bytes is fastest.
//
// Within one implementation a distance depends on the two vectors alone: a row scores the same, bit for bit, whether it is
// taken alone or with three others.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vdb {

// Of one row.
using DistanceFn = float (*)(const float* x, const float* y, size_t d);
// Of one query x against four rows: out[i] belongs to rows[i]. The query is loaded once, and four rows are on their way from
// memory at the same time.
using Distance4Fn = void (*)(const float* x, const float* const rows[4], size_t d, float out[4]);

using CodeFn = float (*)(const float* a, const float* b, const uint8_t* code, size_t d);
using ColumnFn = void (*)(float* table, float x, const float* column, size_t count);

struct Kernels {
    const char* name;
    DistanceFn inner_product;
    // Squared.
    DistanceFn l2;
    Distance4Fn inner_product_4;
    Distance4Fn l2_4;
    // Scalar-quantized rows: sum of (a[i] - b[i] * code[i])^2, and of b[i] * code[i]. The second ignores a.
    CodeFn code_l2;
    CodeFn code_product;
    // Product quantizers: table[i] += (x - column[i])^2, and x * column[i].
    ColumnFn column_l2;
    ColumnFn column_product;
};

// What this process uses. The environment variable VDB_KERNELS (avx512, avx2, baseline) asks for a lesser one, for tests.
const Kernels& kernels();

inline DistanceFn inner_product_kernel() { return kernels().inner_product; }
inline DistanceFn l2_kernel() { return kernels().l2; }
inline Distance4Fn inner_product_4_kernel() { return kernels().inner_product_4; }
inline Distance4Fn l2_4_kernel() { return kernels().l2_4; }

// x86-64 only; nothing where the CPU lacks what they need.
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();

// Brings the first bytes of a row into the cache; the hardware prefetcher follows with the rest of long rows.
inline void prefetch_row(const void* row, size_t bytes) {
    const char* line = static_cast<const char*>(row);
    const size_t end = bytes < 1024 ? bytes : 1024;
    for (size_t at = 0; at < end; at += 64) __builtin_prefetch(line + at);
}

} // namespace vdb
