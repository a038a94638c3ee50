// UserIo: the bytes of one read or write, wherever they are: guest memory (iovecs of a task) or a
// buffer of the sentry. Files move data through it and never see guest addresses.
#ifndef RINGFENCE_SENTRY_MM_USER_IO_H_
#define RINGFENCE_SENTRY_MM_USER_IO_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

class UserIo {
 public:
  struct Segment {
    VirtAddr addr;
    uint64_t length;
  };
  // Guest memory; the sum of lengths must have been checked to fit ssize_t (iovec(3type)).
  UserIo(MemoryManager* mm, std::vector<Segment> segments);
  UserIo(MemoryManager* mm, VirtAddr addr, uint64_t length);
  // A buffer of the sentry, for pseudo files and tests.
  explicit UserIo(absl::Span<std::byte> buffer);

  uint64_t remaining() const { return remaining_; }
  uint64_t done() const { return done_; }

  // Moves up to n bytes at the current position and advances. Return how many moved: less than
  // min(n, remaining) only when a fault followed; EFAULT when nothing moved because of a fault.
  Result<size_t> Write(const void* src, size_t n);  // towards the guest (a read(2) fills it)
  Result<size_t> Read(void* dst, size_t n);         // from the guest
  Result<size_t> WriteZeros(size_t n);

  // Hands host iovecs of up to n bytes of pinned pages to `io` (preadv and the like), which
  // returns how many bytes it moved; advances by that. `access` as for the guest memory: kWrite
  // when the guest's memory is filled.
  using HostIo = absl::FunctionRef<Result<size_t>(absl::Span<const struct iovec>)>;
  Result<size_t> Direct(size_t n, Access access, HostIo io);

 private:
  void Advance(uint64_t n);
  template <typename Move>
  Result<size_t> ForEachPiece(size_t n, Move move);
  MemoryManager* mm_ = nullptr;
  std::vector<Segment> segments_;
  absl::Span<std::byte> buffer_;
  size_t segment_ = 0;
  uint64_t segment_offset_ = 0;
  uint64_t remaining_ = 0;
  uint64_t done_ = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_USER_IO_H_
