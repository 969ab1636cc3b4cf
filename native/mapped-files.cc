#include "mapped-files.h"

#include <map>
#include <mutex>
#include <stdexcept>

namespace vdb {
namespace {

// What a buffer maps: nothing after unmapping, while the buffer itself waits to be collected.
struct Mapping {
    std::shared_ptr<const MappedFile> file;
};

// For all environments of the process, since each JavaScript thread has one.
class Mappings {
public:
    static Mappings& all() {
        static Mappings mappings;
        return mappings;
    }
    void add(Mapping* mapping) {
        const std::lock_guard lock(mutex_);
        by_start_[mapping->file->data()] = mapping;
    }
    std::shared_ptr<const MappedFile> find(const uint8_t* bytes) {
        const std::lock_guard lock(mutex_);
        const auto next = by_start_.upper_bound(bytes);
        if (next == by_start_.begin()) return nullptr;
        const auto& file = std::prev(next)->second->file;
        return bytes < file->data() + file->size() ? file : nullptr;
    }
    // False: no mapping begins there.
    bool remove(const uint8_t* start) {
        // Unmapped after the lock is released: that takes a while.
        std::shared_ptr<const MappedFile> file;
        const std::lock_guard lock(mutex_);
        const auto found = by_start_.find(start);
        if (found == by_start_.end()) return false;
        found->second->file.swap(file);
        by_start_.erase(found);
        return true;
    }

private:
    std::mutex mutex_;
    std::map<const uint8_t*, Mapping*> by_start_;
};

void forget(Napi::Env, void*, Mapping* mapping) {
    if (mapping->file != nullptr) Mappings::all().remove(mapping->file->data());
    delete mapping;
}

Napi::Value map_file(const Napi::CallbackInfo& info) {
    try {
        auto mapping = std::make_unique<Mapping>();
        mapping->file = std::make_shared<MappedFile>(info[0].As<Napi::String>().Utf8Value());
        Mappings::all().add(mapping.get());
        auto* data = const_cast<uint8_t*>(mapping->file->data());
        const size_t size = mapping->file->size();
        return Napi::ArrayBuffer::New(info.Env(), data, size, forget, mapping.release());
    } catch (const std::runtime_error& error) {
        throw Napi::Error::New(info.Env(), error.what());
    }
}

void unmap_file(const Napi::CallbackInfo& info) {
    auto buffer = info[0].As<Napi::ArrayBuffer>();
    if (buffer.IsDetached()) return;
    const auto* start = static_cast<const uint8_t*>(buffer.Data());
    // Done first, so that no view reads unmapped memory.
    buffer.Detach();
    if (!Mappings::all().remove(start)) throw Napi::Error::New(info.Env(), "not a mapped file");
}

} // namespace

void define_mapped_files(Napi::Env env, Napi::Object exports) {
    exports.Set("mapFile", Napi::Function::New<map_file>(env, "mapFile"));
    exports.Set("unmapFile", Napi::Function::New<unmap_file>(env, "unmapFile"));
}

const uint8_t* bytes_of(const Napi::TypedArray& array) {
    void* data = nullptr;
    size_t length = 0;
    napi_value buffer = nullptr;
    const napi_env env = array.Env();
    napi_status status = napi_get_typedarray_info(env, array, nullptr, &length, &data, &buffer, nullptr);
    if (status != napi_ok) throw Napi::Error::New(env, "not a typed array");
    bool is_detached = false;
    if (length == 0) status = napi_is_detached_arraybuffer(env, buffer, &is_detached);
    if (status != napi_ok || is_detached) throw Napi::Error::New(env, "the vectors' file is mapped no more");
    return static_cast<const uint8_t*>(data);
}

std::shared_ptr<const MappedFile> mapped_file_of(const uint8_t* bytes) { return Mappings::all().find(bytes); }

} // namespace vdb
