#include "engine-binding.h"

#include "growing-binding.h"
#include "mapped-files.h"
#include "open-job.h"
#include "touch-job.h"

namespace vdb {
namespace {

// Reads the packed numbers of a call in order.
class Header {
public:
    explicit Header(const Napi::Value& value) : numbers_(value.As<Napi::Float64Array>()) {
        data_ = numbers_.Data();
        count_ = numbers_.ElementLength();
    }
    double next() {
        if (at_ == count_) throw Napi::Error::New(numbers_.Env(), "header is too short");
        return data_[at_++];
    }
    size_t next_count() {
        const double number = next();
        if (!(number >= 0 && number <= 4294967295.0)) throw Napi::Error::New(numbers_.Env(), "impossible count in header");
        return static_cast<size_t>(number);
    }

private:
    Napi::Float64Array numbers_;
    const double* data_;
    size_t count_;
    size_t at_ = 0;
};

size_t count_bits(const uint32_t* words, size_t count) {
    size_t bits = 0;
    for (size_t i = 0; i < count; i++) bits += static_cast<size_t>(__builtin_popcount(words[i]));
    return bits;
}

// allowed_count: negative when JavaScript has not counted.
Allow read_allow(const Napi::Value& value, size_t rows, double allowed_count) {
    if (!value.IsTypedArray()) return {nullptr, rows};
    const auto words = value.As<Napi::Uint32Array>();
    const size_t needed = (rows + 31) / 32;
    if (words.ElementLength() < needed) throw Napi::Error::New(value.Env(), "bitset is shorter than the rows");
    const bool is_counted = allowed_count >= 0;
    return {words.Data(), is_counted ? static_cast<size_t>(allowed_count) : count_bits(words.Data(), needed)};
}

Clock::time_point deadline_in(double milliseconds) {
    // Also true of NaN; beyond a day it is no deadline.
    if (!(milliseconds < 86'400'000.0)) return Clock::time_point::max();
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(milliseconds));
}

// The beginning of every header: k, radius, rangeFilter, and the deadline, which is returned.
Clock::time_point read_limits(Header& header, SearchCall& call) {
    call.k = header.next_count();
    call.radius = static_cast<float>(header.next());
    call.range_filter = static_cast<float>(header.next());
    return deadline_in(header.next());
}

// Queries of `query_bytes` each, and the room for [nq, k] row numbers and as many distances.
void read_arrays(const Napi::Value& queries, const Napi::Value& out, size_t query_bytes, SearchCall& call) {
    const auto vectors = queries.As<Napi::TypedArray>();
    auto room = out.As<Napi::ArrayBuffer>();
    call.queries = bytes_of(vectors);
    call.nq = query_bytes == 0 ? 0 : vectors.ByteLength() / query_bytes;
    const size_t cells = call.nq * call.k;
    const bool fits = call.nq > 0 && call.nq * query_bytes == vectors.ByteLength() && call.k > 0 &&
                      room.ByteLength() == cells * 8;
    if (!fits) throw Napi::Error::New(queries.Env(), "queries, k and room for results do not fit each other");
    call.rows = static_cast<int32_t*>(room.Data());
    call.distances = reinterpret_cast<float*>(call.rows + cells);
}

} // namespace

void EngineBinding::define(Napi::Env env, Napi::Object exports) {
    exports.Set("Engine", DefineClass(env, "Engine",
                                      {
                                          InstanceMethod<&EngineBinding::open>("open"),
                                          InstanceMethod<&EngineBinding::search>("search"),
                                          InstanceMethod<&EngineBinding::scan>("scan"),
                                          InstanceMethod<&EngineBinding::search_growing>("searchGrowing"),
                                          InstanceMethod<&EngineBinding::touch>("touch"),
                                          InstanceMethod<&EngineBinding::forget>("forget"),
                                          InstanceMethod<&EngineBinding::close>("close"),
                                          InstanceMethod<&EngineBinding::waiting>("waiting"),
                                          InstanceMethod<&EngineBinding::take_error>("takeError"),
                                      }));
}

EngineBinding::EngineBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineBinding>(info) {
    const Napi::Env env = info.Env();
    const size_t threads = info[0].As<Napi::Number>().Uint32Value();
    const size_t queue_max = info[1].As<Napi::Number>().Uint32Value();
    auto ends = info[2].As<Napi::Uint32Array>();
    ends_ = Napi::Reference<Napi::Uint32Array>::New(ends, 1);
    ends_data_ = ends.Data();
    ends_max_ = ends.ElementLength() / 2;
    on_ends_ = Napi::Persistent(info[3].As<Napi::Function>());
    may_wait_ = info[4].ToBoolean().Value();
    completions_ = std::make_unique<Completions>(
        env, [this](Napi::Env on, std::vector<std::unique_ptr<Job>> ended) { deliver(on, std::move(ended)); });
    pool_ = std::make_unique<Pool>(std::clamp<size_t>(threads, 1, 256), queue_max,
                                   [this](std::unique_ptr<Job> job) { completions_->push(std::move(job)); });
    // Registered after the wake-ups, so that it runs before they are torn down.
    napi_add_env_cleanup_hook(env, stop_with_environment, this);
}

EngineBinding::~EngineBinding() { stop(); }

void EngineBinding::stop_with_environment(void* self) { static_cast<EngineBinding*>(self)->stop(); }

void EngineBinding::stop() {
    if (is_stopped_) return;
    is_stopped_ = true;
    napi_remove_env_cleanup_hook(Env(), stop_with_environment, this);
    pool_->stop();
    completions_->close();
    indexes_.clear();
}

// Waiting jobs are canceled and delivered as canceled before it returns.
void EngineBinding::close(const Napi::CallbackInfo& info) {
    if (is_stopped_) return;
    pool_->stop();
    completions_->deliver_now(info.Env());
    stop();
}

bool EngineBinding::submit(std::unique_ptr<Job> job) {
    completions_->expect();
    if (pool_->submit(std::move(job))) return true;
    completions_->expect_not();
    return false;
}

// The first argument is the id by which JavaScript knows the search.
Napi::Value EngineBinding::submit_search(const Napi::CallbackInfo& info, SearchCall call, Clock::time_point deadline) {
    const uint32_t id = info[0].As<Napi::Number>().Uint32Value();
    auto job = std::make_unique<SearchJob>(id, std::move(call), pool_->threads(), may_wait_);
    job->deadline = deadline;
    return Napi::Boolean::New(info.Env(), submit(std::move(job)));
}

// open(path, isMapped, isCosine)
Napi::Value EngineBinding::open(const Napi::CallbackInfo& info) {
    auto job = std::make_unique<OpenJob>(info.Env(), info[0].As<Napi::String>().Utf8Value(),
                                         OpenOptions{info[1].ToBoolean().Value(), info[2].ToBoolean().Value()});
    const Napi::Promise promise = job->deferred.Promise();
    if (!submit(std::move(job))) throw Napi::Error::New(info.Env(), "queue is full or engine is closed");
    return promise;
}

void EngineBinding::forget(const Napi::CallbackInfo& info) { indexes_.erase(info[0].As<Napi::Number>().Uint32Value()); }

Napi::Value EngineBinding::waiting(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(pool_->waiting()));
}

Napi::Value EngineBinding::take_error(const Napi::CallbackInfo& info) {
    const uint32_t id = info[0].As<Napi::Number>().Uint32Value();
    const auto found = errors_.find(id);
    if (found == errors_.end()) return info.Env().Undefined();
    const Napi::String message = Napi::String::New(info.Env(), found->second);
    errors_.erase(found);
    return message;
}

// search(id, header, queries, allow, out): header is [k, radius, rangeFilter, deadlineMs, handle, effort,
// normalises, allowedCount]; allow is a bitset of the index's rows, or null.
Napi::Value EngineBinding::search(const Napi::CallbackInfo& info) {
    Header header(info[1]);
    SearchCall call;
    const Clock::time_point deadline = read_limits(header, call);
    const auto found = indexes_.find(static_cast<uint32_t>(header.next_count()));
    if (found == indexes_.end()) throw Napi::Error::New(info.Env(), "index is not open");
    call.index = found->second;
    call.metric = call.index->metric();
    call.dimension = call.index->dimension();
    call.effort = header.next_count();
    call.normalises = header.next() != 0;
    call.allow = read_allow(info[3], call.index->rows(), header.next());
    read_arrays(info[2], info[4], call.dimension * sizeof(float), call);
    return submit_search(info, std::move(call), deadline);
}

// scan(id, header, queries, arrays, out): header is [k, radius, rangeFilter, deadlineMs, metric (0 IP, 1 L2, 2 COSINE,
// 3 HAMMING, 4 JACCARD, 5 SUBSTRUCTURE, 6 SUPERSTRUCTURE) + 16 * element, dimension, blocks, then for each block firstRow, allowedCount]; arrays has for each
// block its vectors, norms or null, and bitset or null.
Napi::Value EngineBinding::scan(const Napi::CallbackInfo& info) {
    Header header(info[1]);
    SearchCall call;
    const Clock::time_point deadline = read_limits(header, call);
    const size_t code = header.next_count();
    const size_t metric = code % 16;
    constexpr Metric kMetrics[]{Metric::inner_product, Metric::l2,           Metric::inner_product, Metric::hamming,
                                Metric::jaccard,       Metric::substructure, Metric::superstructure};
    if (metric >= std::size(kMetrics) || code / 16 > 4 || (metric > 2) != (code / 16 == 4)) {
        throw Napi::Error::New(info.Env(), "no such metric of such rows");
    }
    call.metric = kMetrics[metric];
    call.element = static_cast<Element>(code / 16);
    call.normalises = metric == 2;
    call.dimension = header.next_count();
    const size_t stride = elements_of(call.element, call.dimension);
    const size_t row_bytes = stride * element_bytes(call.element);
    const size_t blocks = header.next_count();
    const auto arrays = info[3].As<Napi::Array>();
    call.blocks.reserve(blocks);
    for (uint32_t i = 0; i < blocks; i++) {
        const Napi::Value given = arrays.Get(3 * i);
        if (!given.IsTypedArray()) throw Napi::Error::New(info.Env(), "a block has no vectors");
        const auto vectors = given.As<Napi::TypedArray>();
        const size_t rows = row_bytes == 0 ? 0 : vectors.ByteLength() / row_bytes;
        Block block;
        block.vectors = {bytes_of(vectors), rows, call.dimension, stride, call.element, false};
        if (auto file = mapped_file_of(block.vectors.base)) call.files.push_back(std::move(file));
        block.first_row = static_cast<uint32_t>(header.next_count());
        block.allow = read_allow(arrays.Get(3 * i + 2), rows, header.next());
        const Napi::Value norms = arrays.Get(3 * i + 1);
        block.is_cosine = call.normalises;
        if (norms.IsTypedArray()) {
            const auto lengths = norms.As<Napi::Float32Array>();
            if (lengths.ElementLength() < rows) throw Napi::Error::New(info.Env(), "norms are fewer than rows");
            block.norms = lengths.Data();
        }
        call.blocks.push_back(block);
    }
    const size_t query_bytes = call.element == Element::bits ? row_bytes : stride * sizeof(float);
    read_arrays(info[2], info[4], query_bytes, call);
    return submit_search(info, std::move(call), deadline);
}

// searchGrowing(id, header, queries, growing, allow, out): header is [k, radius, rangeFilter, deadlineMs, rows, effort,
// allowedCount]; the first `rows` rows are searched, of which allow is a bitset, or null.
Napi::Value EngineBinding::search_growing(const Napi::CallbackInfo& info) {
    const auto& growing = GrowingBinding::Unwrap(info[3].As<Napi::Object>())->growing();
    if (growing == nullptr) throw Napi::Error::New(info.Env(), "growing index is closed");
    Header header(info[1]);
    SearchCall call;
    const Clock::time_point deadline = read_limits(header, call);
    const size_t rows = header.next_count();
    if (rows > growing->index.linked_rows()) throw Napi::Error::New(info.Env(), "rows are not in the growing index yet");
    const GrowingOptions& options = growing->index.options();
    call.index = std::make_shared<GrowingView>(std::shared_ptr<const GrowingHnsw>(growing, &growing->index), rows);
    call.metric = options.metric;
    call.dimension = options.dimension;
    call.effort = header.next_count();
    call.normalises = options.normalises;
    call.allow = read_allow(info[4], rows, header.next());
    read_arrays(info[2], info[5], call.dimension * sizeof(float), call);
    return submit_search(info, std::move(call), deadline);
}

// touch(id, header, arrays): header is [deadlineMs, then for each part its bytes a row]; arrays has for each part its vectors
// and the numbers of the rows that are to be read.
Napi::Value EngineBinding::touch(const Napi::CallbackInfo& info) {
    Header header(info[1]);
    const Clock::time_point deadline = deadline_in(header.next());
    const auto arrays = info[2].As<Napi::Array>();
    const uint32_t parts = arrays.Length() / 2;
    if (parts == 0) throw Napi::Error::New(info.Env(), "no rows to read");
    std::vector<TouchedRows> touched;
    for (uint32_t i = 0; i < parts; i++) {
        const auto vectors = Napi::Value(arrays.Get(2 * i)).As<Napi::TypedArray>();
        const auto numbers = Napi::Value(arrays.Get(2 * i + 1)).As<Napi::Uint32Array>();
        const uint8_t* bytes = bytes_of(vectors);
        TouchedRows part{bytes, header.next_count(), numbers.Data(), numbers.ElementLength(), mapped_file_of(bytes)};
        const size_t rows = part.row_bytes == 0 ? 0 : vectors.ByteLength() / part.row_bytes;
        for (size_t at = 0; at < part.count; at++) {
            if (part.rows[at] >= rows) throw Napi::Error::New(info.Env(), "no such row");
        }
        touched.push_back(std::move(part));
    }
    auto job = std::make_unique<TouchJob>(info[0].As<Napi::Number>().Uint32Value(), std::move(touched));
    job->deadline = deadline;
    return Napi::Boolean::New(info.Env(), submit(std::move(job)));
}

void EngineBinding::deliver(Napi::Env env, std::vector<std::unique_ptr<Job>> ended) {
    const Napi::HandleScope scope(env);
    size_t count = 0;
    const auto flush = [&] {
        if (count > 0) on_ends_.Call({Napi::Number::New(env, static_cast<double>(count))});
        count = 0;
    };
    for (std::unique_ptr<Job>& job : ended) {
        if (auto* numbered = dynamic_cast<NumberedJob*>(job.get())) {
            ends_data_[2 * count] = numbered->id;
            ends_data_[2 * count + 1] = static_cast<uint32_t>(job->end);
            if (job->end == JobEnd::failed) errors_[numbered->id] = job->error;
            if (++count == ends_max_) flush();
        } else if (auto* opening = dynamic_cast<OpenJob*>(job.get())) {
            if (opening->opened == nullptr) {
                opening->deferred.Reject(Napi::Error::New(env, job->error.empty() ? "engine is closed" : job->error).Value());
                continue;
            }
            const Index& index = *opening->opened;
            const uint32_t handle = next_handle_++;
            Napi::Object about = Napi::Object::New(env);
            about.Set("handle", handle);
            about.Set("type", index.type());
            about.Set("metric", index.metric() == Metric::l2 ? "L2" : "IP");
            about.Set("dimension", static_cast<double>(index.dimension()));
            about.Set("rows", static_cast<double>(index.rows()));
            about.Set("memoryBytes", static_cast<double>(index.memory_bytes()));
            indexes_[handle] = std::move(opening->opened);
            opening->deferred.Resolve(about);
        }
    }
    flush();
}

} // namespace vdb
