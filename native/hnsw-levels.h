// Which level each row of an HNSW graph reaches, and how many links it has on each: as FAISS has them.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

namespace vdb {

// splitmix64 (Steele, Lea & Flood 2014): a whole generator in four lines, the same on every machine.
class SplitMix64 {
public:
    explicit SplitMix64(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    // In [0, 1).
    double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

private:
    uint64_t state_;
};

// FAISS's tables for M links a level, twice as many on the lowest (HNSW::set_default_probas).
class HnswLevels {
public:
    // Chance of reaching level i and no higher.
    std::vector<double> assign_probas;
    // Links of all levels below i.
    std::vector<int32_t> cum_nneighbor_per_level{0};

    explicit HnswLevels(size_t m) : m_(m) {
        const double scale = 1.0 / std::log(static_cast<double>(m));
        for (int level = 0;; level++) {
            const double chance = std::exp(-level / scale) * (1 - std::exp(-1 / scale));
            if (chance < 1e-9) break;
            assign_probas.push_back(chance);
            cum_nneighbor_per_level.push_back(cum_nneighbor_per_level.back() + static_cast<int32_t>(capacity(level)));
        }
    }

    size_t capacity(int level) const { return level == 0 ? 2 * m_ : m_; }

    int draw(SplitMix64& numbers) const {
        double at = numbers.uniform();
        for (size_t level = 0; level < assign_probas.size(); level++) {
            if (at < assign_probas[level]) return static_cast<int>(level);
            at -= assign_probas[level];
        }
        return static_cast<int>(assign_probas.size()) - 1;
    }

private:
    size_t m_;
};

} // namespace vdb
