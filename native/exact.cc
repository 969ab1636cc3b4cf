#include "exact.h"

namespace vdb {
namespace {

// Rows scored against all queries before the next ones are fetched: 128 rows of 768 dimensions fit the second level cache.
constexpr size_t kTileRows = 128;

// Rows being fetched from memory while others are scored.
constexpr size_t kRowsAhead = 8;

// Between these bounds a sum of squares in single precision is as good as one in double precision.
constexpr float kSquaresLeast = 1e-30f;
constexpr float kSquaresMost = 1e37f;

// Takes up to kTileRows allowed rows from `from` on (a multiple of 32), and moves `from` past them. Returns how many.
size_t take_rows(const Allow& allow, size_t& from, size_t to, uint32_t* rows) {
    size_t count = 0;
    if (allow.words == nullptr) {
        for (const size_t end = std::min(to, from + kTileRows); from < end; from++) rows[count++] = static_cast<uint32_t>(from);
        return count;
    }
    for (; from < to && count + 32 <= kTileRows; from += 32) {
        uint32_t word = allow.words[from >> 5];
        if (to - from < 32) word &= (1u << (to - from)) - 1;
        for (; word != 0; word &= word - 1) {
            rows[count++] = static_cast<uint32_t>(from) + static_cast<uint32_t>(__builtin_ctz(word));
        }
    }
    return count;
}

class Offer {
public:
    Offer(const Block& block, const Range& range, TopK& top) : block_(block), range_(range), top_(top) {}

    void operator()(float key, uint32_t row) {
        if (block_.is_cosine) {
            const float length = block_.norms != nullptr ? block_.norms[row] : length_of(row);
            key = length == 0 ? 0 : key / length;
            // For numbers beyond the range of a float.
            if (!(key == key)) key = kWorstKey;
        }
        if (key > top_.worst() || !range_.has(key)) return;
        top_.push({key, block_.first_row + row});
    }

private:
    float length_of(uint32_t row) const {
        const Vectors& vectors = block_.vectors;
        const void* numbers = vectors.row(row);
        const size_t d = vectors.stride;
        const float squares = row_kernels(vectors.element).squares(numbers, d);
        if (squares > kSquaresLeast && squares < kSquaresMost) return std::sqrt(squares);
        // Squares of small and of large numbers leave the range of a float.
        double sum = 0;
        for (size_t i = 0; i < d; i++) {
            const double number = number_at(vectors.element, numbers, i);
            sum += number * number;
        }
        return static_cast<float>(std::sqrt(sum));
    }

    const Block& block_;
    const Range& range_;
    TopK& top_;
};

} // namespace

void scan_block(const KeyFn& key, const Block& block, size_t from, size_t to, const float* const* queries, size_t nq,
                const Range& range, TopK* tops) {
    const Vectors& vectors = block.vectors;
    const size_t d = vectors.stride;
    const size_t bytes = vectors.row_bytes();
    uint32_t tile[kTileRows];
    const void* rows[4];
    float keys[4];
    while (from < to) {
        const size_t count = take_rows(block.allow, from, to, tile);
        for (size_t q = 0; q < nq; q++) {
            // Adjacent rows are prefetched by the hardware; for the queries after the first they are in the cache.
            const bool fetches = q == 0 && block.allow.words != nullptr;
            for (size_t i = 0; fetches && i < std::min(count, kRowsAhead); i++) prefetch_row(vectors.row(tile[i]), bytes);
            Offer offer(block, range, tops[q]);
            size_t i = 0;
            for (; i + 4 <= count; i += 4) {
                const size_t ahead = std::min(count, i + kRowsAhead + 4);
                for (size_t j = i + kRowsAhead; fetches && j < ahead; j++) prefetch_row(vectors.row(tile[j]), bytes);
                for (size_t r = 0; r < 4; r++) rows[r] = vectors.row(tile[i + r]);
                key.four(queries[q], rows, d, keys);
                for (size_t r = 0; r < 4; r++) offer(keys[r], tile[i + r]);
            }
            for (; i < count; i++) offer(key.one(queries[q], vectors.row(tile[i]), d), tile[i]);
        }
    }
}

} // namespace vdb
