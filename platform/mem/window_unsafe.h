// Window: the host mappings behind the guest-physical window. The only place in platform/mem that
// calls mmap, mprotect and madvise on guest memory. Offsets and sizes are bytes from the window's
// start, page aligned, checked by GuestMemory. Threads: any; the kernel serialises.
#ifndef RINGFENCE_PLATFORM_MEM_WINDOW_UNSAFE_H_
#define RINGFENCE_PLATFORM_MEM_WINDOW_UNSAFE_H_

#include <cstddef>
#include <cstdint>

#include "platform/base/result.h"

namespace ringfence::platform {

class Window {
 public:
  Window() = default;
  ~Window();
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  // Reserves `bytes` without access rights, aligned to 1 GiB. ENOMEM.
  Result<void> Reserve(uint64_t bytes);
  std::byte* base() const { return base_; }

  // Makes a part anonymous memory, zero on first touch, in 2 MiB pages where the host has them.
  Result<void> Commit(uint64_t offset, uint64_t bytes);
  // Gives the memory of a committed part back to the host; it reads as zero afterwards.
  void Discard(uint64_t offset, uint64_t bytes);

  // Divides 2 MiB (aligned) that are anonymous memory or MapFilePrivate's into two mappings of the
  // host, or makes one of them again. Best effort, contents survive. NotifyAnonymous and
  // NotifyPrivate cut the host's mapping in pieces for a moment, and before it does that the host
  // invalidates every 2 MiB that have a cut in them and lie within one mapping
  // (vma_adjust_trans_huge in mm/huge_memory.c), however small the piece. In halves they are hit
  // where they are meant.
  void Divide(uint64_t offset);
  void Unite(uint64_t offset);

  // Puts a file over a part / makes it inaccessible again. ENOMEM, ENODEV, EACCES.
  Result<void> MapFile(uint64_t offset, uint64_t bytes, int fd, uint64_t file_offset,
                       bool writable);
  Result<void> UnmapFile(uint64_t offset, uint64_t bytes);

  // Puts a private, writable mapping of the file in the place of MapFile's read-only one: the same
  // bytes until FillCopies. The sentry stores nothing there.
  Result<void> MapFilePrivate(uint64_t offset, uint64_t bytes, int fd, uint64_t file_offset);
  // Makes each page of such a part our own copy of the file's / the file's again. EFAULT: past the
  // end of the file; some pages may be copies. ENOMEM, EINVAL (Linux before 5.14).
  Result<void> FillCopies(uint64_t offset, uint64_t bytes);
  void DropCopies(uint64_t offset, uint64_t bytes);

  // Raise an MMU-notifier event over the part; contents survive, the sentry can always access it.
  // `committed` is how much is anonymous from offset 0: the fallback when a part cannot be split
  // off is the whole.
  void NotifyAnonymous(uint64_t offset, uint64_t bytes, uint64_t committed);
  void NotifyFile(uint64_t offset, uint64_t bytes);
  // For MapFilePrivate's parts. Copies become the file's pages where the host has no mapping left.
  void NotifyPrivate(uint64_t offset, uint64_t bytes);

 private:
  bool ProtectPair(uint64_t offset, uint64_t bytes);

  std::byte* reserved_ = nullptr;
  uint64_t reserved_bytes_ = 0;
  std::byte* base_ = nullptr;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_WINDOW_UNSAFE_H_
