// Scoring the rows of an inverted list: float32, 8 bits per dimension, or product quantizers. A scorer is made once per query
// and prepared for each scanned list.
#pragma once
#include "index-file.h"
#include "search.h"

namespace vdb {

// A scorer's information about a list: its centroid, and the key of the query to the centroid.
struct ListHead {
    const float* centroid;
    float key;
};

// float32 rows, not aligned.
class FlatScorer {
public:
    FlatScorer(const IvfFile& file, const float* query, Scratch&)
        : key_(file.metric), query_(query), dimension_(file.dimension) {}

    void prepare(const ListHead&) {}
    float operator()(const uint8_t* code) const {
        return key_.one(query_, code, dimension_);
    }

private:
    KeyFn key_;
    const float* query_;
    size_t dimension_;
};

// A row's value in dimension i is least[i] + (code + 0.5) / 255 * width[i], maybe of the difference to the centroid.
class Sq8Scorer {
public:
    Sq8Scorer(const IvfFile& file, const float* query, Scratch& scratch)
        : file_(file), query_(query), is_l2_(file.metric == Metric::l2),
          fn_(is_l2_ ? kernels().code_l2 : kernels().code_product) {
        const size_t d = file.dimension;
        scratch.table.resize(2 * d);
        from_ = scratch.table.data();
        scale_ = from_ + d;
        for (size_t i = 0; i < d; i++) {
            const float step = file.ranges[d + i] / 255.0f;
            scale_[i] = is_l2_ ? step : step * query[i];
        }
    }

    void prepare(const ListHead& list) {
        const size_t d = file_.dimension;
        float product = 0;
        for (size_t i = 0; i < d; i++) {
            const float least = file_.ranges[i] + 0.5f / 255.0f * file_.ranges[d + i];
            if (is_l2_) from_[i] = query_[i] - least - (file_.by_residual ? list.centroid[i] : 0);
            product += query_[i] * least;
        }
        base_ = is_l2_ ? 0 : -product + (file_.by_residual ? -centroid_product(list) : 0);
    }
    float operator()(const uint8_t* code) const {
        const float value = fn_(from_, scale_, code, file_.dimension);
        return is_l2_ ? value : base_ - value;
    }

private:
    float centroid_product(const ListHead& list) const {
        return inner_product(query_, list.centroid, file_.dimension);
    }

    const IvfFile& file_;
    const float* query_;
    bool is_l2_;
    CodeFn fn_;
    float* from_;
    float* scale_;
    float base_ = 0;
};

// The transposed codebook, [sub-quantizers, dimension / sub-quantizers, 2^bits]: a table is then made column by column.
class PqColumns {
public:
    explicit PqColumns(const IvfFile& file)
        : entries_(size_t{1} << file.bits), columns_(file.code == IvfCode::pq ? file.codebook.count : 0) {
        if (file.code != IvfCode::pq) return;
        const size_t width = file.dimension / file.sub_quantizers;
        for (size_t m = 0; m < file.sub_quantizers; m++) {
            for (size_t entry = 0; entry < entries_; entry++) {
                for (size_t i = 0; i < width; i++) {
                    columns_[(m * width + i) * entries_ + entry] = file.codebook[(m * entries_ + entry) * width + i];
                }
            }
        }
    }
    const float* column(size_t i) const { return &columns_[i * entries_]; }
    size_t entries() const { return entries_; }
    size_t memory_bytes() const { return columns_.bytes(); }

private:
    size_t entries_;
    Array<float> columns_;
};

// A row's key is the sum of one table entry per sub-quantizer.
class PqScorer {
public:
    PqScorer(const IvfFile& file, const PqColumns& columns, const float* query, Scratch& scratch)
        : file_(file), columns_(columns), query_(query), is_l2_(file.metric == Metric::l2) {
        scratch.table.resize(file.sub_quantizers * columns.entries());
        table_ = scratch.table.data();
        // The product does not depend on the list, except for the centroid's part.
        if (!is_l2_) fill_table(nullptr);
    }

    void prepare(const ListHead& list) {
        if (is_l2_) fill_table(file_.by_residual ? list.centroid : nullptr);
        base_ = !is_l2_ && file_.by_residual ? inner_product(query_, list.centroid, file_.dimension) : 0;
    }

    float operator()(const uint8_t* code) const {
        float sum = base_;
        const float* table = table_;
        if (file_.bits == 8) {
            for (size_t m = 0; m < file_.sub_quantizers; m++, table += 256) sum += table[code[m]];
        } else {
            for (size_t m = 0; m < file_.sub_quantizers; m++, table += columns_.entries()) {
                sum += table[entry_at(code, m * file_.bits)];
            }
        }
        return is_l2_ ? sum : -sum;
    }

private:
    void fill_table(const float* centroid) {
        const size_t width = file_.dimension / file_.sub_quantizers;
        const size_t entries = columns_.entries();
        const ColumnFn add = is_l2_ ? kernels().column_l2 : kernels().column_product;
        std::fill(table_, table_ + file_.sub_quantizers * entries, 0.0f);
        for (size_t i = 0; i < file_.dimension; i++) {
            const float x = centroid == nullptr ? query_[i] : query_[i] - centroid[i];
            add(table_ + i / width * entries, x, columns_.column(i), entries);
        }
    }

    // Entries of fewer than 8 bits are packed, the lowest bits first; one may span two bytes.
    size_t entry_at(const uint8_t* code, size_t bit) const {
        const size_t byte = bit / 8;
        unsigned both = code[byte];
        if (byte + 1 < file_.code_bytes) both |= static_cast<unsigned>(code[byte + 1]) << 8;
        return (both >> (bit % 8)) & ((1u << file_.bits) - 1);
    }

    const IvfFile& file_;
    const PqColumns& columns_;
    const float* query_;
    bool is_l2_;
    float* table_;
    float base_ = 0;
};

} // namespace vdb
