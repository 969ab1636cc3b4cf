#include "float-list.h"

#include <cfloat>
#include <cstring>

namespace vdb {

namespace {

// So many digits always fit into 64 bits.
constexpr int digits_max = 19;
// The greatest power of ten that a double holds exactly.
constexpr int power_max = 22;
constexpr double powers[power_max + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                          1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// Bounds around the quotient of the first digits and a power of ten: the exact number and the double nearest to it lie between
// them. The error: half a unit each for converting the digits to a double, for dividing and for rounding, and the digits left
// out.
constexpr double below = 1 - 0x1p-50;
constexpr double above = 1 + 0x1p-50;

bool is_digit(uint8_t byte) { return static_cast<uint8_t>(byte - '0') < 10; }

bool is_space(uint8_t byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

bool are_digits(uint64_t eight) {
    return ((eight & 0xf0f0f0f0f0f0f0f0) | (((eight + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) >> 4)) ==
           0x3333333333333333;
}

// The value of eight digits, the first in the lowest byte.
uint32_t eight_digits(uint64_t eight) {
    eight = (eight & 0x0f0f0f0f0f0f0f0f) * 2561 >> 8;
    eight = (eight & 0x00ff00ff00ff00ff) * 6553601 >> 16;
    return static_cast<uint32_t>((eight & 0x0000ffff0000ffff) * 42949672960001 >> 32);
}

struct Digits {
    uint64_t value = 0;
    // Digits of `value`, without leading zeros.
    int count = 0;
    // Further digits: they matter only for the position of the point.
    int left_out = 0;
};

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
constexpr bool is_little_endian = true;
#else
constexpr bool is_little_endian = false;
#endif

// Takes digits in, and returns where they end.
const uint8_t* take_digits(const uint8_t* at, const uint8_t* end, Digits& digits) {
    while (is_little_endian && digits.count + 8 <= digits_max && end - at >= 8) {
        uint64_t eight;
        std::memcpy(&eight, at, 8);
        if (!are_digits(eight)) break;
        digits.value = digits.value * 100000000 + eight_digits(eight);
        // With leading zeros it counts too many, and leaves out more than necessary.
        if (digits.value > 0) digits.count += 8;
        at += 8;
    }
    for (; at < end && is_digit(*at); at++) {
        if (digits.count < digits_max) {
            digits.value = digits.value * 10 + (*at - '0');
            if (digits.value > 0) digits.count++;
        } else {
            digits.left_out++;
        }
    }
    return at;
}

// The number of digits at the beginning of eight bytes.
int leading_digits(uint64_t eight) {
    const uint64_t others = (eight & 0xf0f0f0f0f0f0f0f0) ^ 0x3030303030303030;
    const uint64_t above_nine = ((eight + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) ^ 0x3030303030303030;
    const uint64_t not_digits = others | above_nine;
    return not_digits == 0 ? 8 : __builtin_ctzll(not_digits) >> 3;
}

// Bytes read of a number in the common form: a sign, a digit, a point, and three times eight bytes, the last of which may
// belong to what follows.
constexpr int common_bytes = 27;
// The error: half a unit each for converting the digits to a double, for the factor, for the multiplication, and for the bound.
constexpr double common_below = 1 - 0x1p-50;
constexpr double common_above = 1 + 0x1p-50;
constexpr double fractions[9] = {1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16};
constexpr int64_t whole_powers[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

// Like read_float, for numbers as programs print those below ten: a digit, a point, and eight digits or more. Null for all
// others, and if the first sixteen digits do not tell how to round.
const uint8_t* read_common(const uint8_t* at, const uint8_t* end, float& out) {
    if (!is_little_endian || end - at < common_bytes) return nullptr;
    const bool is_negative = *at == '-';
    at += is_negative;
    if (!is_digit(at[0]) || at[1] != '.') return nullptr;
    uint64_t parts[3];
    std::memcpy(parts, at + 2, sizeof parts);
    if (!are_digits(parts[0])) return nullptr;
    int64_t first = static_cast<int64_t>(at[0] - '0') * 100000000 + eight_digits(parts[0]);
    const int second = leading_digits(parts[1]);
    const uint8_t* behind = at + 10 + second;
    int left_out = 0;
    if (second == 8) {
        first = first * 100000000 + eight_digits(parts[1]);
        left_out = leading_digits(parts[2]);
        behind += left_out;
        if (left_out == 8) return nullptr;
    } else if (second > 0) {
        // Shifts zeros in front of the digits, in place of the bytes after them.
        first = first * whole_powers[second] + eight_digits(parts[1] << (64 - 8 * second));
    }
    if ((*behind | 0x20) == 'e') return nullptr;
    const double scale = fractions[second];
    const float value = static_cast<float>(static_cast<double>(first) * (scale * common_below));
    // Digits that were left out make it greater, by less than one in the last of those that were taken.
    const int64_t most = first + (left_out > 0 ? 1 : 0);
    if (value != static_cast<float>(static_cast<double>(most) * (scale * common_above))) return nullptr;
    out = is_negative ? -value : value;
    return behind;
}

// Reads a number and returns where it ends; null when there is none, or it is hard to round.
const uint8_t* read_float(const uint8_t* at, const uint8_t* end, float& out) {
    const bool is_negative = at < end && *at == '-';
    if (is_negative) at++;
    Digits digits;
    const uint8_t* whole = at;
    at = take_digits(at, end, digits);
    if (at == whole || (at - whole > 1 && *whole == '0')) return nullptr;
    int64_t exponent = digits.left_out;
    if (at < end && *at == '.') {
        const uint8_t* from = ++at;
        const int left_out = digits.left_out;
        at = take_digits(at, end, digits);
        if (at == from) return nullptr;
        exponent -= (at - from) - (digits.left_out - left_out);
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        const bool is_divided = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) at++;
        const uint8_t* from = at;
        int64_t power = 0;
        for (; at < end && is_digit(*at); at++)
            if (power < 100000) power = power * 10 + (*at - '0');
        if (at == from) return nullptr;
        exponent += is_divided ? -power : power;
    }
    float value = 0;
    if (digits.value != 0) {
        if (exponent < -power_max || exponent > power_max) return nullptr;
        const auto scaled = [exponent](double first) {
            return exponent < 0 ? first / powers[-exponent] : first * powers[exponent];
        };
        const double first = static_cast<double>(digits.value);
        // Digits that were left out make it greater, by less than one in the last of those that were taken.
        const double most = scaled(digits.left_out > 0 ? first + 1 : first) * above;
        if (most > FLT_MAX) return nullptr;
        value = static_cast<float>(scaled(first) * below);
        if (value != static_cast<float>(most)) return nullptr;
    }
    out = is_negative ? -value : value;
    return at;
}

const uint8_t* skip_space(const uint8_t* at, const uint8_t* end) {
    while (at < end && is_space(*at)) at++;
    return at;
}

Napi::Value read_floats_of(const Napi::CallbackInfo& info) {
    const auto text = info[0].As<Napi::Uint8Array>();
    auto out = info[2].As<Napi::Float32Array>();
    const auto at = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
    const auto from = static_cast<size_t>(info[3].As<Napi::Number>().Int64Value());
    const auto count = static_cast<size_t>(info[4].As<Napi::Number>().Int64Value());
    const size_t room = out.ElementLength();
    const bool has_room = from <= room && count <= room - from;
    const size_t end = has_room ? read_floats(text.Data(), text.ByteLength(), at, count, out.Data() + from) : 0;
    return Napi::Number::New(info.Env(), static_cast<double>(end));
}

} // namespace

size_t read_floats(const uint8_t* text, size_t size, size_t start, size_t count, float* out) {
    if (start >= size) return 0;
    const uint8_t* const end = text + size;
    const uint8_t* at = skip_space(text + start, end);
    if (at == end || *at != '[') return 0;
    at = skip_space(at + 1, end);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            if (at == end || *at != ',') return 0;
            at = skip_space(at + 1, end);
        }
        const uint8_t* const behind = read_common(at, end, out[i]);
        at = behind != nullptr ? behind : read_float(at, end, out[i]);
        if (at == nullptr) return 0;
        at = skip_space(at, end);
    }
    if (at == end || *at != ']') return 0;
    return static_cast<size_t>(at + 1 - text);
}

void define_float_list(Napi::Env env, Napi::Object exports) {
    exports.Set("readFloats", Napi::Function::New<read_floats_of>(env, "readFloats"));
}

} // namespace vdb
