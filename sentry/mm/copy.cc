// Copies between the sentry and guest memory: a software page walk under the reader lock, faults
// under the writer lock, retry.
#include <algorithm>
#include <cstring>

#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

using platform::Leaf;

bool Usable(const std::optional<Leaf>& leaf, Access access) {
  return leaf && (access == Access::kWrite ? leaf->prot.write : leaf->prot.read);
}

}  // namespace

std::byte* MemoryManagerImpl::FastAddress(VirtAddr addr, Access access) const {
  if (addr >= platform::kUserEnd) return nullptr;
  const std::optional<Leaf> leaf = space_->Lookup(addr);
  if (!Usable(leaf, access)) return nullptr;
  return memory_->HostAddress(leaf->frame) + addr.page_offset();
}

size_t MemoryManagerImpl::MoveSome(Direction direction, VirtAddr addr, std::byte* buffer, size_t n,
                                   bool* stuck) {
  const Access access = direction == Direction::kIn ? Access::kRead : Access::kWrite;
  absl::ReaderMutexLock lock(&mutex_);
  size_t done = 0;
  while (done < n) {
    const VirtAddr at(addr.value() + done);
    if (at >= platform::kUserEnd) break;
    const std::optional<Leaf> leaf = space_->Lookup(at);
    if (!Usable(leaf, access)) break;
    // Inside a 2 MiB leaf the frames that follow are consecutive.
    const uint64_t span = leaf->huge ? kHugePageSize : kPageSize;
    const size_t part = std::min<size_t>(n - done, span - (at.value() & (span - 1)));
    std::byte* host = memory_->HostAddress(leaf->frame) + at.page_offset();
    size_t moved = 0;
    switch (direction) {
      case Direction::kIn:
        moved = platform::SafeCopy(buffer + done, host, part);
        break;
      case Direction::kOut:
        moved = platform::SafeCopy(host, buffer + done, part);
        break;
      case Direction::kZero:
        moved = platform::SafeZero(host, part);
        break;
    }
    done += moved;
    if (moved < part) {
      *stuck = true;
      break;
    }
  }
  return done;
}

Result<size_t> MemoryManagerImpl::Move(Direction direction, VirtAddr addr, std::byte* buffer,
                                       size_t n) {
  const Access access = direction == Direction::kIn ? Access::kRead : Access::kWrite;
  // The range is checked once: what lies past the user range can never be reached.
  if (addr.value() + n < addr.value()) return Errno::kFAULT;
  size_t done = 0;
  while (done < n) {
    bool stuck = false;
    done += MoveSome(direction, VirtAddr(addr.value() + done),
                     buffer == nullptr ? nullptr : buffer + done, n - done, &stuck);
    if (done == n) break;
    if (stuck || HandleFault(VirtAddr(addr.value() + done), access) != FaultResult::kHandled) {
      if (done == 0) return Errno::kFAULT;
      break;
    }
  }
  return done;
}

Result<void> MemoryManagerImpl::CopyIn(void* dst, VirtAddr src, size_t n) {
  if (n <= kPageSize - src.page_offset()) {
    absl::ReaderMutexLock lock(&mutex_);
    const std::byte* host = FastAddress(src, Access::kRead);
    if (host != nullptr && platform::SafeCopy(dst, host, n) == n) return Ok();
  }
  const size_t done = TRY(Move(Direction::kIn, src, static_cast<std::byte*>(dst), n));
  return done == n ? Ok() : Errno::kFAULT;
}

Result<void> MemoryManagerImpl::CopyOut(VirtAddr dst, const void* src, size_t n) {
  if (n <= kPageSize - dst.page_offset()) {
    absl::ReaderMutexLock lock(&mutex_);
    std::byte* host = FastAddress(dst, Access::kWrite);
    if (host != nullptr && platform::SafeCopy(host, src, n) == n) return Ok();
  }
  // Move only reads from the buffer in this direction.
  auto* bytes = const_cast<std::byte*>(static_cast<const std::byte*>(src));
  const size_t done = TRY(Move(Direction::kOut, dst, bytes, n));
  return done == n ? Ok() : Errno::kFAULT;
}

Result<size_t> MemoryManagerImpl::CopyInSome(void* dst, VirtAddr src, size_t n) {
  return Move(Direction::kIn, src, static_cast<std::byte*>(dst), n);
}

Result<size_t> MemoryManagerImpl::CopyOutSome(VirtAddr dst, const void* src, size_t n) {
  return Move(Direction::kOut, dst, const_cast<std::byte*>(static_cast<const std::byte*>(src)), n);
}

Result<void> MemoryManagerImpl::ZeroOut(VirtAddr dst, size_t n) {
  const size_t done = TRY(Move(Direction::kZero, dst, nullptr, n));
  return done == n ? Ok() : Errno::kFAULT;
}

Result<std::string> MemoryManagerImpl::CopyInString(VirtAddr src, size_t max) {
  std::string text;
  while (text.size() < max) {
    const VirtAddr at(src.value() + text.size());
    if (at < src) return Errno::kFAULT;
    // Never past the end of a page: the next one need not be there.
    char part[256];
    const size_t want = std::min(
        {sizeof(part), max - text.size(), static_cast<size_t>(kPageSize - at.page_offset())});
    TRY(CopyIn(part, at, want));
    const void* nul = memchr(part, 0, want);
    if (nul != nullptr) {
      text.append(part, static_cast<const char*>(nul) - part);
      return text;
    }
    text.append(part, want);
  }
  return Errno::kNAMETOOLONG;
}

}  // namespace ringfence::sentry
