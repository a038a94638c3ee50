// What a fuzz target makes of its bytes: a stream of choices. Every input is a valid one, and one
// that has been used up answers 0, so a choice of 0 should be the plain one.
//
// Bytes are taken from both ends: what one side of a conversation does comes from the front, what
// the other one answers from the back. A change in one then leaves the other as it was.
#ifndef RINGFENCE_TEST_FUZZ_INPUT_H_
#define RINGFENCE_TEST_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ringfence::fuzz {

// Shared by both ends.
struct InputBytes {
  std::span<const uint8_t> left;
};

class Choices {
 public:
  enum class End { kFront, kBack };
  Choices(InputBytes* bytes, End end) : bytes_(bytes), end_(end) {}

  bool done() const { return bytes_->left.empty(); }

  uint8_t Byte() {
    std::span<const uint8_t>& left = bytes_->left;
    if (left.empty()) return 0;
    const uint8_t byte = end_ == End::kFront ? left.front() : left.back();
    left = end_ == End::kFront ? left.subspan(1) : left.first(left.size() - 1);
    return byte;
  }
  // 0 to n - 1; n is at most 256.
  size_t Below(size_t n) { return Byte() % n; }
  bool OneIn(size_t n) { return Below(n) == n - 1; }

  // Of any size: small ones and those near a power of two are as likely as others.
  uint64_t Number() {
    const uint8_t how = Byte();
    const unsigned shift = how & 63;
    switch (how >> 6) {
      case 0:
        return shift;
      case 1:
        return uint64_t{1} << shift;
      case 2:
        return (uint64_t{1} << shift) - 1;
      default:
        break;
    }
    uint64_t number = 0;
    for (unsigned i = 0; i <= shift % 8; ++i) number = number << 8 | Byte();
    return number;
  }
  uint32_t Number32() { return static_cast<uint32_t>(Number()); }

  // As many as there are, at most `n`.
  std::string Bytes(size_t n) {
    std::string bytes(std::min(n, bytes_->left.size()), '\0');
    for (char& c : bytes) c = static_cast<char>(Byte());
    return bytes;
  }
  template <typename T, size_t n>
  const T& OneOf(const T (&values)[n]) {
    return values[Below(n)];
  }

 private:
  InputBytes* const bytes_;
  const End end_;
};

}  // namespace ringfence::fuzz

#endif  // RINGFENCE_TEST_FUZZ_INPUT_H_
