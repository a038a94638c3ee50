// Addresses: guest-virtual addresses, guest frames and ranges as types that do not mix.
//
// VirtAddr is whatever a guest says: any 64-bit value, valid or not. Arithmetic that may leave the
// number range returns a Result (EFAULT or EINVAL is the caller's to choose), never wraps.
// Frame is a page number inside the sandbox's guest-physical window (platform/mem).
// Host-virtual addresses are plain pointers.
#ifndef RINGFENCE_PLATFORM_BASE_ADDR_H_
#define RINGFENCE_PLATFORM_BASE_ADDR_H_

#include <compare>
#include <cstdint>

#include "platform/base/result.h"

namespace ringfence {

inline constexpr uint64_t kPageShift = 12;
inline constexpr uint64_t kPageSize = uint64_t{1} << kPageShift;
inline constexpr uint64_t kPageMask = kPageSize - 1;
inline constexpr uint64_t kHugePageSize = uint64_t{2} << 20;  // 2 MiB
inline constexpr uint64_t kPagesPerHuge = kHugePageSize / kPageSize;

constexpr bool IsPageAligned(uint64_t n) { return (n & kPageMask) == 0; }
constexpr uint64_t PageDown(uint64_t n) { return n & ~kPageMask; }
// Rounds up to a page; EINVAL when the result does not fit.
constexpr Result<uint64_t> PageUp(uint64_t n) {
  if (n > ~uint64_t{0} - kPageMask) return Errno::kINVAL;
  return (n + kPageMask) & ~kPageMask;
}

class VirtAddr {
 public:
  constexpr VirtAddr() = default;
  constexpr explicit VirtAddr(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr bool is_null() const { return value_ == 0; }
  constexpr uint64_t page_offset() const { return value_ & kPageMask; }
  constexpr VirtAddr page_down() const { return VirtAddr(value_ & ~kPageMask); }
  constexpr VirtAddr huge_down() const { return VirtAddr(value_ & ~(kHugePageSize - 1)); }
  // EFAULT when the sum leaves 64 bits.
  constexpr Result<VirtAddr> Add(uint64_t n) const {
    if (value_ + n < value_) return Errno::kFAULT;
    return VirtAddr(value_ + n);
  }
  friend constexpr auto operator<=>(VirtAddr, VirtAddr) = default;

 private:
  uint64_t value_ = 0;
};

// [start, end), page aligned unless a function says otherwise.
struct VirtRange {
  VirtAddr start;
  VirtAddr end;

  // EINVAL when start + length does not fit.
  static constexpr Result<VirtRange> Make(VirtAddr start, uint64_t length) {
    if (start.value() + length < start.value()) return Errno::kINVAL;
    return VirtRange{start, VirtAddr(start.value() + length)};
  }
  constexpr uint64_t size() const { return end.value() - start.value(); }
  constexpr uint64_t pages() const { return size() >> kPageShift; }
  constexpr bool empty() const { return start == end; }
  constexpr bool contains(VirtAddr a) const { return start <= a && a < end; }
  constexpr bool contains(VirtRange r) const { return start <= r.start && r.end <= end; }
  constexpr bool overlaps(VirtRange r) const { return start < r.end && r.start < end; }
  friend constexpr bool operator==(VirtRange, VirtRange) = default;
};

// A page of the guest-physical window; guest-physical address = index * kPageSize.
struct Frame {
  uint64_t index = 0;
  constexpr uint64_t phys() const { return index << kPageShift; }
  friend constexpr auto operator<=>(Frame, Frame) = default;
};

// `count` consecutive frames from `first`.
struct FrameRun {
  Frame first;
  uint64_t count = 0;
  constexpr Frame end() const { return Frame{first.index + count}; }
  friend constexpr bool operator==(FrameRun, FrameRun) = default;
};

// Access rights of a guest mapping.
struct Prot {
  bool read = false;
  bool write = false;
  bool exec = false;
  static constexpr Prot None() { return {}; }
  static constexpr Prot R() { return {true, false, false}; }
  static constexpr Prot RW() { return {true, true, false}; }
  static constexpr Prot RX() { return {true, false, true}; }
  constexpr bool any() const { return read || write || exec; }
  friend constexpr bool operator==(Prot, Prot) = default;
};

enum class Access { kRead, kWrite, kExec };

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_ADDR_H_
