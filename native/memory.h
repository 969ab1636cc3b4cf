// Memory for searches: aligned to cache lines, on huge pages if the system has them; and mapped files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace vdb {

// A block of bytes that starts on a cache line. Large ones start on a huge page: a random row then costs one look-up of the
// TLB that is nearly always there, instead of a page walk.
class Bytes {
public:
    Bytes() = default;
    // Zeroed. Throws std::bad_alloc.
    explicit Bytes(size_t size);
    Bytes(Bytes&& other) noexcept { *this = std::move(other); }
    Bytes& operator=(Bytes&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Bytes();

    uint8_t* data() { return data_; }
    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

private:
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

// Like Bytes, for elements that need no constructor.
template <class T>
class Array {
public:
    Array() = default;
    explicit Array(size_t count) : bytes_(count * sizeof(T)) {}

    T* data() { return reinterpret_cast<T*>(bytes_.data()); }
    const T* data() const { return reinterpret_cast<const T*>(bytes_.data()); }
    T& operator[](size_t i) { return data()[i]; }
    const T& operator[](size_t i) const { return data()[i]; }
    size_t bytes() const { return bytes_.size(); }

private:
    Bytes bytes_;
};

// Little-endian numbers at any alignment, as in a file.
template <class T>
struct Packed {
    const uint8_t* at = nullptr;
    size_t count = 0;

    T operator[](size_t i) const {
        T value;
        std::memcpy(&value, at + i * sizeof(T), sizeof(T));
        return value;
    }
};

// A whole file, mapped for reading. It must not shrink while it is mapped.
class MappedFile {
public:
    // Throws std::runtime_error.
    explicit MappedFile(const std::string& path);
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }
    // It will be read at random (default: in order).
    void expect_random_access() const;

private:
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

} // namespace vdb
