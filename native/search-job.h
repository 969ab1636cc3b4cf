// One call of JavaScript's search or scan: one or many queries, cut into tasks of bounded length.
#pragma once
#include "exact.h"
#include "index.h"
#include "numbered-job.h"

namespace vdb {

// What is searched: an index, or blocks of vectors that JavaScript holds. The arrays stay JavaScript's: it must keep them
// until the job has ended.
struct SearchCall {
    std::shared_ptr<const Index> index;
    std::vector<Block> blocks;
    // The files that blocks are in, if any.
    std::vector<std::shared_ptr<const MappedFile>> files;
    Metric metric{};
    Element element = Element::f32;
    // Cosine: queries are scaled to length 1 first.
    bool normalises = false;
    size_t dimension = 0;
    size_t effort = 0;
    Allow allow;
    // Row-major [nq, dimension]: float32, or bits.
    const uint8_t* queries = nullptr;
    size_t nq = 0;
    size_t k = 0;
    // Distances as users know them, NaN if there is none; see Range.
    float radius = NAN;
    float range_filter = NAN;
    // Row-major [nq, k] both; -1 where there are no more rows.
    int32_t* rows = nullptr;
    float* distances = nullptr;
};

class SearchJob : public NumberedJob {
public:
    // may_wait: the data is in mapped files.
    SearchJob(uint32_t id, SearchCall call, size_t threads, bool may_wait);

    size_t task_count() const override { return tasks_.size(); }
    void run(size_t task, Scratch& scratch) override;

private:
    // Rows [from, to) of a block.
    struct Piece {
        size_t block;
        size_t from;
        size_t to;
    };
    // Queries [first, first + count): the results of tasks are merged here, the last task writes them out.
    struct Group {
        size_t first;
        size_t count;
        std::mutex mutex;
        size_t unfinished = 0;
        std::vector<TopK> tops;
    };
    struct Task {
        Group* group;
        // Of pieces_; none if an index is searched.
        size_t pieces_from;
        size_t pieces_to;
    };

    // With the rows of an index that this search only scans as a block.
    static SearchCall with_blocks(SearchCall call);
    void plan_index(size_t threads);
    void plan_scan(size_t threads);
    void run_index(Group& group, Scratch& scratch);
    void run_scan(const Task& task, Scratch& scratch);
    // The group's queries, padded to `stride` elements, in scratch.numbers; the pointers are in scratch.queries.
    void prepare_queries(const Group& group, size_t stride, Scratch& scratch) const;
    static void copy_numbers(const uint8_t* from, size_t d, bool normalises, float* to);
    void write(size_t query, const std::vector<Hit>& sorted) const;
    static Query query_of(const SearchCall& call);

    const SearchCall call_;
    std::deque<Group> groups_;
    std::vector<Piece> pieces_;
    std::vector<Task> tasks_;
    double all_ns_ = 0;
};

} // namespace vdb
