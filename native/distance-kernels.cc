// Distribution builds of FAISS run on every x86-64, so their two innermost functions are scalar loops (about 200 ns for 256
// dimensions). These replace them at link time (-z muldefs: the first definition wins) and use AVX2 if available.
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#define CLONES __attribute__((target_clones("arch=haswell", "default")))
#else
#define CLONES
#endif

namespace {
typedef float Lanes __attribute__((vector_size(32)));

__attribute__((always_inline)) inline Lanes load(const float* p) {
    Lanes v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

__attribute__((always_inline)) inline float sum(Lanes v) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
} // namespace

namespace faiss {
CLONES float fvec_inner_product(const float* x, const float* y, size_t d) {
    Lanes a{}, b{}, c{}, e{};
    size_t i = 0;
    for (; i + 32 <= d; i += 32) {
        a += load(x + i) * load(y + i);
        b += load(x + i + 8) * load(y + i + 8);
        c += load(x + i + 16) * load(y + i + 16);
        e += load(x + i + 24) * load(y + i + 24);
    }
    for (; i + 8 <= d; i += 8) a += load(x + i) * load(y + i);
    float rest = 0;
    for (; i < d; i++) rest += x[i] * y[i];
    return sum((a + b) + (c + e)) + rest;
}

CLONES float fvec_L2sqr(const float* x, const float* y, size_t d) {
    Lanes a{}, b{}, c{}, e{};
    size_t i = 0;
    for (; i + 32 <= d; i += 32) {
        const Lanes p = load(x + i) - load(y + i);
        const Lanes q = load(x + i + 8) - load(y + i + 8);
        const Lanes r = load(x + i + 16) - load(y + i + 16);
        const Lanes s = load(x + i + 24) - load(y + i + 24);
        a += p * p;
        b += q * q;
        c += r * r;
        e += s * s;
    }
    for (; i + 8 <= d; i += 8) {
        const Lanes p = load(x + i) - load(y + i);
        a += p * p;
    }
    float rest = 0;
    for (; i < d; i++) {
        const float p = x[i] - y[i];
        rest += p * p;
    }
    return sum((a + b) + (c + e)) + rest;
}
} // namespace faiss
