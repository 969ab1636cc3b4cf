// The choice of kernels, and those that need nothing special of the CPU.
#include "kernels.h"

#include <cstdlib>
#include <cstring>

namespace vdb {
namespace {

// Four floats: one register of SSE2 or NEON. The compiler writes the instructions.
typedef float Lanes __attribute__((vector_size(16)));

inline Lanes load(const float* p) {
    Lanes v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// A mapped file's numbers have no alignment.
inline float load_one(const float* p) {
    float v;
    std::memcpy(&v, p, sizeof v);
    return v;
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

// kRows rows against one query. Two sums a row, so that additions do not wait for each other.
template <bool kIsL2, int kRows>
inline void distances(const float* x, const float* const* rows, size_t d, float* out) {
    Lanes even[kRows]{};
    Lanes odd[kRows]{};
    size_t i = 0;
    for (; i + 8 <= d; i += 8) {
        const Lanes a = load(x + i);
        const Lanes b = load(x + i + 4);
        for (int r = 0; r < kRows; r++) {
            even[r] += term<kIsL2>(a, load(rows[r] + i));
            odd[r] += term<kIsL2>(b, load(rows[r] + i + 4));
        }
    }
    for (int r = 0; r < kRows; r++) {
        float rest = 0;
        for (size_t j = i; j < d; j++) {
            const float y = load_one(rows[r] + j);
            const float difference = x[j] - y;
            rest += kIsL2 ? difference * difference : x[j] * y;
        }
        out[r] = sum(even[r] + odd[r]) + rest;
    }
}

template <bool kIsL2>
float one(const float* x, const float* y, size_t d) {
    float out;
    distances<kIsL2, 1>(x, &y, d, &out);
    return out;
}

template <bool kIsL2>
void four(const float* x, const float* const rows[4], size_t d, float out[4]) {
    distances<kIsL2, 4>(x, rows, d, out);
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
        const float y = load_one(column + i);
        table[i] += kIsL2 ? (x - y) * (x - y) : x * y;
    }
}

const Kernels baseline{"baseline",   one<false>, one<true>,    four<false>,  four<true>,
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

#if !defined(__x86_64__)
const Kernels* avx512_kernels() { return nullptr; }
const Kernels* avx2_kernels() { return nullptr; }
#endif

} // namespace vdb
