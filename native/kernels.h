// Distances between a float32 query and rows of numbers, and between rows of bits: the innermost loops of every search and
// build.
//
// The best implementation that the CPU has is chosen once, at run time: AVX-512, AVX2 with FMA, or four-lane vectors that
// every x86-64 (SSE2) and arm64 (NEON) has. Vectors may have any length and any alignment; aligned to 64 bytes is fastest.
//
// Within one implementation a distance depends only on the two vectors: a row scores the same, bit for bit, alone or with three
// others.
#pragma once
#include "element.h"

namespace vdb {

// One row: the query x is float32, or bits if the rows are bits.
using DistanceFn = float (*)(const void* x, const void* y, size_t d);
// One query x against four rows: out[i] belongs to rows[i]. The query is loaded once, and four rows are fetched from memory at
// the same time.
using Distance4Fn = void (*)(const void* x, const void* const rows[4], size_t d, float out[4]);
using SquaresFn = float (*)(const void* row, size_t d);

// For rows of one kind of number.
struct RowKernels {
    DistanceFn inner_product;
    // Squared.
    DistanceFn l2;
    Distance4Fn inner_product_4;
    Distance4Fn l2_4;
    // From a row's own numbers.
    SquaresFn squares;
};

// For rows of bits; d counts bytes.
struct BitKernel {
    DistanceFn one;
    Distance4Fn four;
};

struct BitKernels {
    // Bits that differ.
    BitKernel hamming;
    // 1 - bits in both / bits in either; 1 where both are empty.
    BitKernel jaccard;
};

using CodeFn = float (*)(const float* a, const float* b, const uint8_t* code, size_t d);
using ColumnFn = void (*)(float* table, float x, const float* column, size_t count);

struct Kernels {
    const char* name;
    // By Element.
    RowKernels rows[kNumberElements];
    BitKernels bits;
    // Scalar-quantized rows: sum of (a[i] - b[i] * code[i])^2, and of b[i] * code[i]. The second ignores a.
    CodeFn code_l2;
    CodeFn code_product;
    // Product quantizers: table[i] += (x - column[i])^2, and x * column[i].
    ColumnFn column_l2;
    ColumnFn column_product;
};

// The kernels of this process. The environment variable VDB_KERNELS (avx512, avx2, baseline) selects lesser ones, for tests.
const Kernels& kernels();

inline const RowKernels& row_kernels(Element element) { return kernels().rows[static_cast<size_t>(element)]; }
inline float inner_product(const float* x, const float* y, size_t d) {
    return row_kernels(Element::f32).inner_product(x, y, d);
}

// 0 if the row has every bit of the query (second: the query every bit of the row), else infinite. The same on every CPU: most
// rows fail in their first bytes.
const BitKernel& substructure_kernel();
const BitKernel& superstructure_kernel();

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
