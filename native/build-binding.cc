#include "build-binding.h"

#include "hnsw-build.h"
#include "js-numbers.h"
#include "vector-input.h"

namespace vdb {
namespace {

struct BuildCall {
    // Without it, a flat file is written.
    bool is_hnsw;
    // Cosine: float32 rows are scaled to length 1; others keep their length in the file.
    bool normalises;
    Element element;
    HnswBuildOptions options;
    size_t ef_search;
    std::string vectors_file;
    std::vector<FilePart> parts;
    std::string out_file;
};

// Reads, builds and writes on one of libuv's threads, which the builder's own threads help.
class BuildWorker : public Napi::AsyncProgressWorker<uint64_t> {
public:
    BuildWorker(Napi::Env env, BuildCall call, const Napi::Function& on_progress)
        : Napi::AsyncProgressWorker<uint64_t>(env),
          deferred_(Napi::Promise::Deferred::New(env)),
          on_progress_(Napi::Persistent(on_progress)),
          call_(std::move(call)) {}

    Napi::Promise promise() const { return deferred_.Promise(); }

protected:
    // An exception rejects the promise.
    void Execute(const ExecutionProgress& progress) override {
        HnswBuildOptions& options = call_.options;
        const size_t numbers = options.rows * options.dimension;
        Bytes packed = read_vectors(call_.vectors_file, call_.parts, numbers * element_bytes(call_.element));
        FileRows rows{packed.data(), call_.element, options.metric, options.rows, options.dimension};
        const bool is_float = call_.element == Element::f32;
        // A graph is built over float32, whatever the file keeps.
        Array<float> decoded;
        if (!is_float && call_.is_hnsw) decoded = as_floats(packed.data(), numbers, call_.element);
        float* const vectors = is_float ? reinterpret_cast<float*>(packed.data()) : decoded.data();
        if (call_.normalises && (is_float || call_.is_hnsw)) normalise_rows(vectors, options.rows, options.dimension);
        options.on_progress = [&progress](uint64_t done) { progress.Send(&done, 1); };
        if (!call_.is_hnsw) return write_flat_file(call_.out_file, rows);
        const HnswGraph graph = build_hnsw(vectors, options);
        write_hnsw_file(call_.out_file, graph, rows, options.ef_construction, call_.ef_search);
    }

    void OnProgress(const uint64_t* rows_done, size_t) override {
        const Napi::HandleScope scope(Env());
        on_progress_.Call({Napi::Number::New(Env(), static_cast<double>(*rows_done))});
    }
    void OnOK() override { deferred_.Resolve(Env().Undefined()); }
    void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

private:
    Napi::Promise::Deferred deferred_;
    Napi::FunctionReference on_progress_;
    BuildCall call_;
};

Element element_named(const std::string& name) {
    if (name == "f16") return Element::f16;
    if (name == "bf16") return Element::bf16;
    return name == "i8" ? Element::i8 : Element::f32;
}

Napi::Value build_index_file(const Napi::CallbackInfo& info) {
    const Napi::Object given = info[0].As<Napi::Object>();
    BuildCall call{};
    call.is_hnsw = given.Get("type").ToString().Utf8Value() == "HNSW";
    call.element = element_named(given.Get("element").ToString().Utf8Value());
    call.normalises = given.Get("normalises").ToBoolean();
    call.vectors_file = given.Get("vectorsFile").ToString().Utf8Value();
    call.out_file = given.Get("outFile").ToString().Utf8Value();
    call.options.metric = given.Get("metric").ToString().Utf8Value() == "L2" ? Metric::l2 : Metric::inner_product;
    call.options.dimension = count_in(given, "dimension", 1, kDimensionMax);
    call.options.rows = count_in(given, "rows", 1, kRowsMax);
    if (call.is_hnsw) {
        call.options.m = count_in(given, "M", 2, kLinksMax);
        call.options.ef_construction = count_in(given, "efConstruction", 1, kRowsMax);
        call.ef_search = count_in(given, "efSearch", 1, kRowsMax);
        call.options.threads = count_in(given, "threads", 1, 1024);
    }
    const auto parts = given.Get("parts").As<Napi::Float64Array>();
    for (size_t i = 0; i + 1 < parts.ElementLength(); i += 2) {
        if (!(parts[i] >= 0 && parts[i] < 0x1p53 && parts[i + 1] >= 0 && parts[i + 1] < 0x1p53)) {
            throw Napi::TypeError::New(info.Env(), "parts are not offsets and lengths");
        }
        call.parts.push_back({static_cast<uint64_t>(parts[i]), static_cast<uint64_t>(parts[i + 1])});
    }
    // Deletes itself when it has ended.
    auto* worker = new BuildWorker(info.Env(), std::move(call), info[1].As<Napi::Function>());
    const Napi::Promise promise = worker->promise();
    worker->Queue();
    return promise;
}

} // namespace

void define_build(Napi::Env env, Napi::Object exports) {
    exports.Set("buildIndexFile", Napi::Function::New(env, build_index_file, "buildIndexFile"));
}

} // namespace vdb
