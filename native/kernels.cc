// The choice of kernels, and the portable ones.
#include "kernels.h"

#include <cstdlib>
#include <cstring>
#include <limits>

namespace vdb {
namespace {

// Four floats: one register of SSE2 or NEON. The compiler writes the instructions.
typedef float Lanes __attribute__((vector_size(16)));

template <Element kElement>
inline Lanes load(const void* row, size_t i) {
    if constexpr (kElement == Element::f32) {
        Lanes v;
        std::memcpy(&v, static_cast<const float*>(row) + i, sizeof v);
        return v;
    } else {
        return Lanes{number_at<kElement>(row, i), number_at<kElement>(row, i + 1), number_at<kElement>(row, i + 2),
                     number_at<kElement>(row, i + 3)};
    }
}

inline float sum(Lanes v) { return (v[0] + v[1]) + (v[2] + v[3]); }

template <bool kIsL2>
inline Lanes term(Lanes x, Lanes y) {
    if constexpr (kIsL2) {
        const Lanes difference = x - y;
        return difference * difference;
    }
    return x * y;
}

// kRows rows against one query. Two sums per row, so that additions do not wait for each other.
template <bool kIsL2, Element kElement, int kRows>
inline void distances(const void* x, const void* const* rows, size_t d, float* out) {
    Lanes even[kRows]{};
    Lanes odd[kRows]{};
    size_t i = 0;
    for (; i + 8 <= d; i += 8) {
        const Lanes a = load<Element::f32>(x, i);
        const Lanes b = load<Element::f32>(x, i + 4);
        for (int r = 0; r < kRows; r++) {
            even[r] += term<kIsL2>(a, load<kElement>(rows[r], i));
            odd[r] += term<kIsL2>(b, load<kElement>(rows[r], i + 4));
        }
    }
    for (int r = 0; r < kRows; r++) {
        float rest = 0;
        for (size_t j = i; j < d; j++) {
            const float a = number_at<Element::f32>(x, j);
            const float y = number_at<kElement>(rows[r], j);
            const float difference = a - y;
            rest += kIsL2 ? difference * difference : a * y;
        }
        out[r] = sum(even[r] + odd[r]) + rest;
    }
}

template <bool kIsL2, Element kElement>
float one(const void* x, const void* y, size_t d) {
    float out;
    distances<kIsL2, kElement, 1>(x, &y, d, &out);
    return out;
}

template <bool kIsL2, Element kElement>
void four(const void* x, const void* const rows[4], size_t d, float out[4]) {
    distances<kIsL2, kElement, 4>(x, rows, d, out);
}

template <Element kElement>
float squares(const void* row, size_t d) {
    Lanes sums{};
    size_t i = 0;
    for (; i + 4 <= d; i += 4) {
        const Lanes v = load<kElement>(row, i);
        sums += v * v;
    }
    float rest = 0;
    for (; i < d; i++) rest += number_at<kElement>(row, i) * number_at<kElement>(row, i);
    return sum(sums) + rest;
}

// Eight bytes from `at` on, or what is left of d.
inline uint64_t word_at(const uint8_t* bits, size_t at, size_t d) {
    uint64_t word = 0;
    std::memcpy(&word, bits + at, d - at < 8 ? d - at : 8);
    return word;
}

// Bits that differ, and bits in either.
template <bool kIsJaccard>
float bits(const void* x, const void* y, size_t d) {
    const auto* a = static_cast<const uint8_t*>(x);
    const auto* b = static_cast<const uint8_t*>(y);
    uint64_t differing = 0;
    uint64_t either = 0;
    for (size_t i = 0; i < d; i += 8) {
        const uint64_t u = word_at(a, i, d);
        const uint64_t v = word_at(b, i, d);
        differing += static_cast<uint64_t>(__builtin_popcountll(u ^ v));
        if constexpr (kIsJaccard) either += static_cast<uint64_t>(__builtin_popcountll(u | v));
    }
    if constexpr (!kIsJaccard) return static_cast<float>(differing);
    return either == 0 ? 1 : static_cast<float>(differing) / static_cast<float>(either);
}

template <bool kIsJaccard>
void bits_four(const void* x, const void* const rows[4], size_t d, float out[4]) {
    for (int r = 0; r < 4; r++) out[r] = bits<kIsJaccard>(x, rows[r], d);
}

// Whether every bit of one vector is in the other: of the query in the row, or the other way round.
template <bool kIsQueryInRow>
float subset(const void* x, const void* y, size_t d) {
    const auto* inner = static_cast<const uint8_t*>(kIsQueryInRow ? x : y);
    const auto* outer = static_cast<const uint8_t*>(kIsQueryInRow ? y : x);
    for (size_t i = 0; i < d; i += 8) {
        if ((word_at(inner, i, d) & ~word_at(outer, i, d)) != 0) return std::numeric_limits<float>::infinity();
    }
    return 0;
}

template <bool kIsQueryInRow>
void subset_four(const void* x, const void* const rows[4], size_t d, float out[4]) {
    for (int r = 0; r < 4; r++) out[r] = subset<kIsQueryInRow>(x, rows[r], d);
}

template <bool kIsL2>
float code(const float* a, const float* b, const uint8_t* code, size_t d) {
    float sum = 0;
    for (size_t i = 0; i < d; i++) {
        const float product = b[i] * static_cast<float>(code[i]);
        const float difference = kIsL2 ? a[i] - product : 0;
        sum += kIsL2 ? difference * difference : product;
    }
    return sum;
}

template <bool kIsL2>
void column(float* table, float x, const float* column, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const float y = number_at<Element::f32>(column, i);
        table[i] += kIsL2 ? (x - y) * (x - y) : x * y;
    }
}

template <Element kElement>
constexpr RowKernels kRow{one<false, kElement>, one<true, kElement>, four<false, kElement>, four<true, kElement>,
                          squares<kElement>};

const Kernels baseline{"baseline",
                       {kRow<Element::f32>, kRow<Element::f16>, kRow<Element::bf16>, kRow<Element::i8>},
                       {{bits<false>, bits_four<false>}, {bits<true>, bits_four<true>}},
                       code<true>, code<false>, column<true>, column<false>};

const Kernels& choose() {
    const char* wish = std::getenv("VDB_KERNELS");
    const auto may_use = [wish](const Kernels* set) {
        return set != nullptr && (wish == nullptr || std::strcmp(wish, set->name) == 0);
    };
    if (may_use(avx512_kernels())) return *avx512_kernels();
    if (may_use(avx2_kernels())) return *avx2_kernels();
    return baseline;
}

} // namespace

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

const BitKernel& substructure_kernel() {
    static constexpr BitKernel kernel{subset<true>, subset_four<true>};
    return kernel;
}

const BitKernel& superstructure_kernel() {
    static constexpr BitKernel kernel{subset<false>, subset_four<false>};
    return kernel;
}

#if !defined(__x86_64__)
const Kernels* avx512_kernels() { return nullptr; }
const Kernels* avx2_kernels() { return nullptr; }
#endif

} // namespace vdb
