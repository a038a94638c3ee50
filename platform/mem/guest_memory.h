// GuestMemory: the sandbox's guest-physical window, its frames and their reference counts.
//
// Model. One linear range of host-virtual addresses is reserved (PROT_NONE) when the sandbox
// starts; guest-physical address p lives at host address base + p. The range is handed to KVM as
// memory slots of at most 1 GiB, each when the first frame in it is needed (SlotSink). Two kinds
// of frames live in the window:
//   - anonymous frames: private anonymous memory with MADV_HUGEPAGE, allocated in 2 MiB blocks.
//     A block is used whole (2 MiB guest entries) or cut into single frames. Everything the
//     sandbox itself owns (anonymous memory, tmpfs pages, page tables, trampolines) is made of
//     these. Design.md proposes a memfd for shared memory; inside one sandbox sharing a frame
//     needs no second host mapping, and private anonymous memory is the only kind that gets huge
//     pages on the hosts we measured (host-facts, "Where page-fault time goes").
//   - file frames: 2 MiB chunks of a donated descriptor mapped into the window (MapFileChunk), so
//     that guests share the host's page cache. Shared or private-read-only on the host side.
//
// Reference counts are per 4 KiB frame and 32 bits. A frame starts with one reference; at zero it
// is free. The owner of a page-table leaf holds one reference for it (AddressSpace does not count,
// its caller does).
//
// Rule 2 of host-facts. KVM does not see our stores to guest page tables: after a present leaf is
// removed, downgraded or repointed, Invalidate() must run on the frames it pointed to before they
// are reused or the change is relied upon. It is the only function that does so.
//
// Every access by the sentry to guest-visible frames goes through platform/mem/safe_copy.h, since
// file frames can lose their backing at any time.
//
// Threads: all methods may be called from any thread.
#ifndef RINGFENCE_PLATFORM_MEM_GUEST_MEMORY_H_
#define RINGFENCE_PLATFORM_MEM_GUEST_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "platform/base/addr.h"
#include "platform/base/result.h"

namespace ringfence::platform {

// Where GuestMemory announces the parts of the window that hold memory. KVM implements it with
// KVM_SET_USER_MEMORY_REGION; the fake ignores it.
class SlotSink {
 public:
  virtual ~SlotSink() = default;
  // Guest-physical [phys, phys + bytes) is backed by host memory at `host`. ENOMEM, ENOSPC.
  virtual Result<void> AddSlot(uint64_t phys, uint64_t bytes, std::byte* host, bool readonly) = 0;
};

class GuestMemory {
 public:
  struct Options {
    uint64_t max_anonymous_bytes = uint64_t{4} << 30;  // guest RAM; ENOMEM beyond
    uint64_t max_file_bytes = uint64_t{64} << 30;      // window for file chunks
  };
  // `sink` outlives the object.
  static absl::StatusOr<std::unique_ptr<GuestMemory>> Create(const Options& options,
                                                             SlotSink* sink);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // Allocates `count` (1 to 512) consecutive zeroed anonymous frames, one reference each.
  // count == 512 gives a 2 MiB aligned block. ENOMEM when max_anonymous_bytes is reached.
  Result<FrameRun> Allocate(uint64_t count);

  // Adds or drops one reference on each frame of the run. A frame whose count reaches zero is
  // free; the caller has already made sure (Invalidate) that no guest translation to it is left.
  void Ref(FrameRun run);
  void Unref(FrameRun run);
  uint32_t RefCount(Frame frame) const;

  // The memory of a frame; consecutive frames are consecutive in host memory. Anonymous frames
  // are always accessible; file frames only through safe_copy.h.
  std::byte* HostAddress(Frame frame) const;
  bool IsFileFrame(Frame frame) const;

  // Rule 2: on return no vCPU uses a translation to these frames that was loaded before the call.
  // Contents survive. Cost: 2 us idle, 50 us and more while vCPUs run, so pass whole ranges.
  void Invalidate(FrameRun run);

  // Maps 2 MiB of `fd` at `file_offset` (2 MiB aligned) and returns its 512 frames, one reference
  // each, unmapped when the last goes. Pages past the end of the file give SIGBUS on the host and
  // EFAULT from KVM_RUN. `writable` maps MAP_SHARED with PROT_WRITE. ENOMEM, ENODEV, EACCES.
  Result<FrameRun> MapFileChunk(int fd, uint64_t file_offset, bool writable);

  struct Stats {
    uint64_t anonymous_bytes;   // frames in use
    uint64_t committed_bytes;   // blocks that hold at least one used or cached frame
    uint64_t file_chunks;
    uint64_t slots;
    uint64_t invalidations;
  };
  Stats GetStats() const;

 private:
  class Impl;
  explicit GuestMemory(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_GUEST_MEMORY_H_
