// Builds a graph with several threads, and searches a growing index from several threads while others store and link its rows;
// what is found is compared with exact search. For a run under sanitizers:
//
//   sources=$(ls native/*.cc | grep -v -e binding -e addon -e completions -e distance-kernels)
//   g++ -std=c++17 -O1 -g -fsanitize=thread -I native native/test/stress.cc $sources -o stress && ./stress
//
// and once more with -fsanitize=address,undefined.
#include "exact.h"
#include "growing-hnsw.h"
#include "hnsw-build.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>

using namespace vdb;

namespace {

constexpr size_t kRows = 4000;
constexpr size_t kDimension = 64;
constexpr size_t kQueries = 50;
constexpr size_t kK = 10;
constexpr size_t kM = 8;

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "FAILED: %s\n", what);
    std::exit(1);
}

// Points near a sheet of a few dimensions, as embeddings are.
std::vector<float> points(size_t count, uint64_t seed) {
    constexpr size_t kInner = 8;
    SplitMix64 directions(1);
    std::vector<double> sheet(kInner * kDimension);
    for (double& x : sheet) x = directions.uniform() - 0.5;
    SplitMix64 numbers(seed);
    std::vector<float> found(count * kDimension);
    for (size_t i = 0; i < count; i++) {
        double at[kInner];
        for (double& x : at) x = numbers.uniform() - 0.5;
        for (size_t j = 0; j < kDimension; j++) {
            double sum = 0.05 * numbers.uniform();
            for (size_t t = 0; t < kInner; t++) sum += at[t] * sheet[t * kDimension + j];
            found[i * kDimension + j] = static_cast<float>(sum);
        }
    }
    return found;
}

struct Recall {
    std::atomic<size_t> hits{0};
    std::atomic<size_t> wanted{0};

    void add(const std::vector<float>& rows, const Query& query, size_t count, TopK& found) {
        std::set<uint32_t> got;
        for (const Hit& hit : found.sorted()) got.insert(hit.row);
        TopK exact;
        exact.reset(query.k);
        const Vectors vectors{reinterpret_cast<const uint8_t*>(rows.data()), count, kDimension, kDimension, Element::f32, false};
        const Block block{vectors, false, nullptr, query.allow, 0};
        scan_block(KeyFn(Metric::l2), block, 0, count, &query.vector, 1, query.range, &exact);
        for (const Hit& hit : exact.sorted()) hits += got.count(hit.row);
        wanted += exact.hits().size();
        require(got.size() == exact.hits().size(), "as many rows are found as there are");
    }
    double share() const { return static_cast<double>(hits) / static_cast<double>(wanted); }
};

void stress_build(const std::vector<float>& rows, const std::vector<float>& queries) {
    HnswBuildOptions options{Metric::l2, kDimension, kRows, kM, 60, 4, {}};
    const HnswGraph graph = build_hnsw(rows.data(), options);
    const std::string path = "/tmp/vdb-stress-" + std::to_string(getpid()) + ".faiss";
    const FileRows file_rows{reinterpret_cast<const uint8_t*>(rows.data()), Element::f32, options.metric, options.rows,
                             options.dimension};
    write_hnsw_file(path, graph, file_rows, options.ef_construction, 16);
    const std::unique_ptr<Index> index = open_index(path, {});
    unlink(path.c_str());
    Recall recall;
    Scratch scratch;
    for (size_t i = 0; i < kQueries; i++) {
        Query query;
        query.vector = queries.data() + i * kDimension;
        query.k = kK;
        query.effort = 48;
        query.allow.count = kRows;
        index->search(query, scratch);
        recall.add(rows, query, kRows, scratch.top);
    }
    std::printf("built by 4 threads: recall %.4f\n", recall.share());
    require(recall.share() > 0.95, "a graph built by 4 threads has recall");
}

// What a reader may ask: all that is linked, less of it, some of it.
void search_once(const GrowingHnsw& growing, const std::vector<float>& rows, const std::vector<float>& queries,
                 SplitMix64& numbers, Scratch& scratch, Recall& recall) {
    size_t count = growing.linked_rows();
    if (count == 0) return;
    if (numbers.next() % 3 == 0) count = 1 + numbers.next() % count;
    Query query;
    query.vector = queries.data() + numbers.next() % kQueries * kDimension;
    query.k = kK;
    query.effort = 32 + numbers.next() % 32;
    query.allow.count = count;
    std::vector<uint32_t> words;
    if (numbers.next() % 3 == 0) {
        words.resize((count + 31) / 32);
        query.allow.count = 0;
        for (size_t row = 0; row < count; row++) {
            if (numbers.next() % 4 != 0) continue;
            words[row / 32] |= uint32_t{1} << (row % 32);
            query.allow.count++;
        }
        query.allow.words = words.data();
    }
    growing.search(query, count, scratch);
    recall.add(rows, query, count, scratch.top);
}

void stress_growing(const std::vector<float>& rows, const std::vector<float>& queries) {
    GrowingOptions options;
    options.metric = Metric::l2;
    options.dimension = kDimension;
    options.capacity = kRows;
    options.m = kM;
    options.ef_construction = 60;
    GrowingHnsw growing(options);
    std::thread storing([&] {
        for (size_t row = 0; row < kRows; row += 100) growing.store(rows.data() + row * kDimension, 100);
    });
    std::thread linking([&] {
        while (growing.linked_rows() < kRows) growing.link(32);
    });
    Recall recall;
    std::vector<std::thread> readers;
    for (uint64_t seed = 0; seed < 3; seed++) {
        readers.emplace_back([&, seed] {
            SplitMix64 numbers(seed);
            Scratch scratch;
            while (growing.linked_rows() < kRows) search_once(growing, rows, queries, numbers, scratch, recall);
        });
    }
    storing.join();
    linking.join();
    for (std::thread& reader : readers) reader.join();
    std::printf("searched while it grew: recall %.4f of %zu\n", recall.share(), recall.wanted.load());
    require(recall.share() > 0.95, "a growing index has recall");
}

} // namespace

int main() {
    const std::vector<float> rows = points(kRows, 2);
    const std::vector<float> queries = points(kQueries, 3);
    stress_build(rows, queries);
    stress_growing(rows, queries);
}
