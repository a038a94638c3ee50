#include "platform/mem/window_unsafe.h"

#include <sys/mman.h>

#include "platform/base/addr.h"
#include "platform/base/check.h"

// SAFETY: (whole file) every address is base_ + offset within the reservation made by Reserve,
// which nothing else in the process maps, so MAP_FIXED and mprotect cannot hit foreign memory.
namespace ringfence::platform {
namespace {

// KVM can use a 2 MiB host page for a 2 MiB guest entry only if both addresses agree modulo 2 MiB;
// 1 GiB keeps every slot so.
constexpr uint64_t kAlignment = uint64_t{1} << 30;
constexpr int kReserveFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, newer than the C library's headers

}  // namespace

Window::~Window() {
  if (reserved_ != nullptr) munmap(reserved_, reserved_bytes_);
}

Result<void> Window::Reserve(uint64_t bytes) {
  // SAFETY: a new mapping, so nothing of ours is replaced; the destructor unmaps all of it.
  void* p = mmap(nullptr, bytes + kAlignment, PROT_NONE, kReserveFlags, -1, 0);
  if (p == MAP_FAILED) return LastHostErrno();
  reserved_ = static_cast<std::byte*>(p);
  reserved_bytes_ = bytes + kAlignment;
  const auto address = reinterpret_cast<uintptr_t>(p);
  base_ = reserved_ + (((address + kAlignment - 1) & ~(kAlignment - 1)) - address);
  // Best effort: a forked helper must not write-protect guest memory, a core dump not contain it,
  // and kernels without transparent huge pages work with small ones.
  madvise(base_, bytes, MADV_DONTFORK);
  madvise(base_, bytes, MADV_DONTDUMP);
  madvise(base_, bytes, MADV_HUGEPAGE);
  return Ok();
}

Result<void> Window::Commit(uint64_t offset, uint64_t bytes) {
  if (mprotect(base_ + offset, bytes, PROT_READ | PROT_WRITE) != 0) return LastHostErrno();
  return Ok();
}

void Window::Discard(uint64_t offset, uint64_t bytes) {
  // Cannot fail on a private anonymous mapping that is not locked (madvise(2)); if it did, old
  // contents would reach another process.
  Check(madvise(base_ + offset, bytes, MADV_DONTNEED) == 0, "guest memory can be discarded");
}

// The two halves must differ in something that keeps the host from joining them: in how the file
// behind them is read, of which anonymous memory has none.
void Window::Divide(uint64_t offset) {
  madvise(base_ + offset + kHugePageSize / 2, kHugePageSize / 2, MADV_RANDOM);
}

void Window::Unite(uint64_t offset) {
  madvise(base_ + offset + kHugePageSize / 2, kHugePageSize / 2, MADV_NORMAL);
}

Result<void> Window::MapFile(uint64_t offset, uint64_t bytes, int fd, uint64_t file_offset,
                             bool writable) {
  const int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* p = mmap(base_ + offset, bytes, prot, MAP_SHARED | MAP_FIXED, fd,
                 static_cast<off_t>(file_offset));
  if (p == MAP_FAILED) return LastHostErrno();
  return Ok();
}

Result<void> Window::UnmapFile(uint64_t offset, uint64_t bytes) {
  void* p = mmap(base_ + offset, bytes, PROT_NONE, kReserveFlags | MAP_FIXED, -1, 0);
  if (p == MAP_FAILED) return LastHostErrno();
  return Ok();
}

Result<void> Window::MapFilePrivate(uint64_t offset, uint64_t bytes, int fd, uint64_t file_offset) {
  void* p = mmap(base_ + offset, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, static_cast<off_t>(file_offset));
  if (p == MAP_FAILED) return LastHostErrno();
  // Best effort, as in Reserve.
  madvise(p, bytes, MADV_DONTFORK);
  madvise(p, bytes, MADV_DONTDUMP);
  return Ok();
}

Result<void> Window::FillCopies(uint64_t offset, uint64_t bytes) {
  if (madvise(base_ + offset, bytes, kPopulateWrite) != 0) return LastHostErrno();
  return Ok();
}

void Window::DropCopies(uint64_t offset, uint64_t bytes) {
  Check(madvise(base_ + offset, bytes, MADV_DONTNEED) == 0, "copies can be dropped");
}

// A protection change raises the notifier over exactly the given range (mm/mprotect.c), and over
// whole blocks that it has to cut (see Divide), and keeps the contents. Write-only is the state in
// between because the CPU cannot express it: the sentry still reads and writes, only a KVM page-in
// by read may fail meanwhile (EFAULT, see GuestMemory::InvalidatedSince). Two calls that race
// cancel out at most one change each: the one that finds nothing to change is followed by one that
// changes back. 7 us for up to 64 KiB.
bool Window::ProtectPair(uint64_t offset, uint64_t bytes) {
  if (mprotect(base_ + offset, bytes, PROT_WRITE) != 0) return false;
  return mprotect(base_ + offset, bytes, PROT_READ | PROT_WRITE) == 0;
}

void Window::NotifyAnonymous(uint64_t offset, uint64_t bytes, uint64_t committed) {
  // ENOMEM comes from splitting the host's mapping; the whole part needs no split.
  if (ProtectPair(offset, bytes) || ProtectPair(0, committed)) return;
  Fatal("guest translations cannot be invalidated: mprotect failed");
}

void Window::NotifyFile(uint64_t offset, uint64_t bytes) {
  Check(madvise(base_ + offset, bytes, MADV_DONTNEED) == 0, "file mappings can be invalidated");
}

void Window::NotifyPrivate(uint64_t offset, uint64_t bytes) {
  if (!ProtectPair(offset, bytes)) NotifyFile(offset, bytes);
}

}  // namespace ringfence::platform
