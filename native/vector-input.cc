#include "vector-input.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <stdexcept>
#include <system_error>

namespace vdb {
namespace {

void read_fully(int fd, uint8_t* to, const FilePart& part, const std::string& path) {
    for (uint64_t done = 0; done < part.bytes;) {
        // One call moves 2 GiB at most.
        const size_t wanted = std::min<uint64_t>(part.bytes - done, uint64_t{1} << 30);
        const ssize_t got = pread(fd, to + done, wanted, static_cast<off_t>(part.offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw std::system_error(errno, std::generic_category(), "cannot read " + path);
        if (got == 0) throw std::runtime_error(path + " ends before its last row");
        done += static_cast<uint64_t>(got);
    }
}

} // namespace

Bytes read_vectors(const std::string& path, const std::vector<FilePart>& parts, size_t bytes) {
    uint64_t total = 0;
    for (const FilePart& part : parts) {
        // Compared one by one: a sum of absurd numbers could overflow.
        if (part.bytes > bytes) throw std::runtime_error("a part of " + path + " is too large");
        total += part.bytes;
    }
    if (total != bytes) throw std::runtime_error(path + " does not hold the rows that it should");
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "cannot open " + path);
    struct Closer {
        int fd;
        ~Closer() { close(fd); }
    } closer{fd};
    Bytes vectors(bytes);
    uint8_t* to = vectors.data();
    for (const FilePart& part : parts) {
        read_fully(fd, to, part, path);
        to += part.bytes;
    }
    return vectors;
}

Array<float> as_floats(const uint8_t* rows, size_t numbers, Element element) {
    Array<float> floats(numbers);
    for (size_t i = 0; i < numbers; i++) floats[i] = number_at(element, rows, i);
    return floats;
}

void normalise_rows(float* vectors, size_t rows, size_t dimension) {
    for (size_t row = 0; row < rows; row++) {
        float* values = vectors + row * dimension;
        double sum = 0;
        for (size_t i = 0; i < dimension; i++) sum += static_cast<double>(values[i]) * values[i];
        const double scale = sum == 0 ? 0 : 1 / std::sqrt(sum);
        for (size_t i = 0; i < dimension; i++) values[i] = static_cast<float>(values[i] * scale);
    }
}

} // namespace vdb
