// GuestMemory: the sandbox's guest-physical window, its frames and their reference counts.
//
// Model. One linear range of host-virtual addresses is reserved (PROT_NONE) when the sandbox
// starts; it is the guest-physical range from kWindowStart (4 GiB: clear of the APIC page and of
// KVM's private slots), in the same order. The range is handed to KVM as memory slots of at most
// 1 GiB, each when the first frame in it is needed (SlotSink); slots begin small because shadow
// paging pays 2 MB of kernel memory per GiB of slot. Two kinds of frames live in the window:
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
// is free. References of all 512 frames of an anonymous block at once are counted once, for the
// block; they are the same thing and may be dropped frame by frame. A count that passes 2^31 stays
// there and the frame is never freed (as Linux's refcount_t): a guest cannot make it wrap. The
// owner of a page-table leaf holds one reference for it (AddressSpace does not count, its caller
// does).
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

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "platform/mem/frame_allocator.h"
#include "platform/mem/host_paging.h"
#include "platform/mem/lazy_array_unsafe.h"
#include "platform/mem/ref_count.h"
#include "platform/mem/window_unsafe.h"

namespace ringfence::platform {

// Where GuestMemory announces the parts of the window that hold memory. KVM implements it with
// KVM_SET_USER_MEMORY_REGION; the fake ignores it.
class SlotSink {
 public:
  virtual ~SlotSink() = default;
  // Called with GuestMemory's lock held: must not call back. Slots do not overlap; how to number
  // them is the sink's business.
  // Guest-physical [phys, phys + bytes) is backed by host memory at `host`. ENOMEM, ENOSPC.
  virtual Result<void> AddSlot(uint64_t phys, uint64_t bytes, std::byte* host, bool readonly) = 0;
  // Rules 4 and 5. Asked once. With shadow paging the hypervisor keeps what it derived from guest
  // page tables until ForgetTables makes it drop all of that. Any thread, no lock of GuestMemory
  // held. ENOMEM: it may not have.
  virtual HostPaging Paging() const { return HostPaging::kNested; }
  virtual Result<void> ForgetTables() { return Ok(); }
};

class GuestMemory {
 public:
  // Guest-physical address of the first frame. Frame{0} is therefore never valid.
  static constexpr uint64_t kWindowStart = uint64_t{4} << 30;
  // File chunks at a time, whatever max_file_bytes says: each may cost a host mapping, of which
  // there are 65530 (vm.max_map_count).
  static constexpr uint64_t kMaxFileChunks = 16384;

  struct Options {
    uint64_t max_anonymous_bytes = uint64_t{4} << 30;  // guest RAM; ENOMEM beyond
    uint64_t max_file_bytes = uint64_t{64} << 30;      // window for file chunks
  };
  // Costs address space only. `sink` outlives the object.
  static absl::StatusOr<std::unique_ptr<GuestMemory>> Create(const Options& options,
                                                             SlotSink* sink);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // Allocates `count` (1 to 512) consecutive zeroed anonymous frames, one reference each.
  // count == 512 gives a 2 MiB aligned block. Requests made one after the other give neighbours
  // where possible. ENOMEM when max_anonymous_bytes is reached or, for count > 1, when no free run
  // is long enough: then smaller requests may still succeed.
  Result<FrameRun> Allocate(uint64_t count);

  // Adds or drops one reference on each frame of the run. A frame whose count reaches zero is
  // free; the caller has already made sure (Invalidate) that no guest translation to it is left.
  void Ref(FrameRun run);
  void Unref(FrameRun run);
  uint32_t RefCount(Frame frame) const;
  // Every anonymous frame of the run has one reference.
  bool OneReference(FrameRun run) const;

  // Zeroes for all who only read: consecutive anonymous frames, kZeroFrames of them. Nobody writes
  // to them, and their count never is 1 for a caller that has added its reference. Allocated when
  // first asked for; ENOMEM.
  Result<FrameRun> ZeroFrames();
  bool IsZeroFrame(Frame frame) const {
    const uint64_t first = zero_frame_.load(std::memory_order_acquire);
    return first != 0 && frame.index - first < kZeroFrames;
  }
  static constexpr uint64_t kZeroFrames = 16;

  // The memory of a frame; consecutive frames are consecutive in host memory. Anonymous frames
  // are always accessible; file frames only through safe_copy.h. Passing memory of anonymous frames
  // to a host call that pins pages for reading (O_DIRECT write) can give EFAULT during Invalidate.
  std::byte* HostAddress(Frame frame) const { return base_ + (frame.phys() - kWindowStart); }
  bool IsFileFrame(Frame frame) const;

  // Rule 2: on return no vCPU uses a translation to these frames that was loaded before the call.
  // Contents survive. Cost: 2 us idle, 50 us and more while vCPUs run, so pass whole ranges.
  void Invalidate(FrameRun run);

  // Rule 5: may the block of 512 frames that begins with `first` get a 2 MiB entry? The caller
  // makes that entry. With shadow paging the answer is yes once for each anonymous block, until the
  // entry is gone, has been retired (Retire), and the host has forgotten it; always yes otherwise.
  bool ClaimHuge(Frame first);
  bool ClaimsHuge() const { return paging_ != HostPaging::kNested; }
  // Retire keeps tables back until the host has forgotten them.
  bool KeepsTables() const { return paging_ != HostPaging::kNested; }
  bool HasHuge() const { return paging_ != HostPaging::kShadowWithoutHuge; }

  // Rules 4 and 5: what no root reaches any more and shadow paging may remember. `tables` are
  // frames that were page tables, whose references this takes over; `huge` are blocks that had a
  // claimed 2 MiB entry, still or no longer in use. Neither is a table or a 2 MiB page again before
  // ForgetTables, which is called when kMaxRetiredTables or kMaxRetiredHuge, at most a quarter of
  // memory, have come together.
  void Retire(const std::vector<FrameRun>& tables, const std::vector<Frame>& huge);
  static constexpr uint64_t kMaxRetiredTables = 1024;
  static constexpr uint64_t kMaxRetiredHuge = 512;

  // For the vCPU code. While Invalidate runs, KVM may fail to page in a frame (KVM_RUN: EFAULT).
  // Read the generation before KVM_RUN; if it then fails with EFAULT and InvalidatedSince says
  // true, enter again without counting the failure.
  uint64_t InvalidationGeneration() const;
  bool InvalidatedSince(uint64_t generation) const;

  // Maps 2 MiB of `fd` at `file_offset` (2 MiB aligned) and returns its 512 frames, one reference
  // each, unmapped when the last goes. Pages past the end of the file give SIGBUS on the host and
  // EFAULT from KVM_RUN. `writable` maps with PROT_WRITE. The mapping does not need `fd` to stay
  // open. ENOMEM, also when all chunks are in use; ENODEV, EACCES as mmap(2); EINVAL.
  Result<FrameRun> MapFileChunk(int fd, uint64_t file_offset, bool writable);

  // Copies. KVM's shadow paging brings neighbours of a faulting page along, but only those that the
  // sentry could write (it asks for them with FOLL_WRITE): never pages of the host's page cache.
  // CopyFileChunk makes the first `pages` pages of a chunk that is not writable the sandbox's own
  // copies of the file's, in place: same frames, for all who have them, in one step per page. They
  // no longer follow the file, except that a file that is cut takes them along.
  // Copies are at most kMaxCopiedBytes and a sixteenth of guest memory, and together with what is
  // in use never more than that memory: Allocate drops all copies when it needs their room.
  // ENOMEM: over the budget or host memory is short; EFAULT: the file ends before; EINVAL. `fd` and
  // `file_offset` are MapFileChunk's. One call per chunk at a time, with a reference held.
  Result<void> CopyFileChunk(Frame first, int fd, uint64_t file_offset, uint64_t pages);
  void DropCopies(Frame first);
  bool HasCopies(Frame first) const;
  static constexpr uint64_t kMaxCopiedBytes = uint64_t{64} << 20;

  // Less than an eighth is left: not the time for more than is asked for.
  bool Scarce() const;

  struct Stats {
    uint64_t anonymous_bytes;  // frames in use
    uint64_t committed_bytes;  // blocks that hold at least one used or cached frame
    uint64_t file_chunks;
    uint64_t copied_bytes;  // of the chunks, by CopyFileChunk
    uint64_t slots;
    uint64_t invalidations;  // host calls made for rule 2
    uint64_t forgotten;      // calls of ForgetTables
  };
  Stats GetStats() const;

 private:
  GuestMemory(const Options& options, SlotSink* sink);
  absl::Status Init();

  uint64_t Index(Frame frame) const { return frame.index - kWindowStart / kPageSize; }
  bool AddAnonymousSlotLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<void> AddFileSlotLocked(uint64_t chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<uint64_t> TakeChunk();
  void ReturnChunk(uint64_t chunk);
  // Runs of frames of one kind, of files within one chunk, whose counts reached zero.
  void FreeAnonymous(uint64_t first, uint64_t count);
  absl::Mutex& CountMutex(uint64_t frame) const {
    return count_mutexes_[frame / kPagesPerHuge % kCountLocks];
  }
  // References of anonymous frames of one block.
  void RefInBlock(uint64_t first, uint64_t count);
  // Appends what is free now to `freed`, runs of indices.
  void UnrefInBlock(uint64_t first, uint64_t count, std::vector<FrameRun>* freed);
  void FreeFile(uint64_t first, uint64_t count);
  void FreeRun(uint64_t first, uint64_t count);
  uint64_t ChunkOf(uint64_t frame) const { return (frame - anonymous_frames_) / kPagesPerHuge; }
  uint64_t ChunkOffset(uint64_t chunk) const {
    return (anonymous_frames_ + chunk * kPagesPerHuge) * kPageSize;
  }
  bool IsPrivate(uint64_t frame) const {
    return chunk_copies_[ChunkOf(frame)].load(std::memory_order_acquire) != 0;
  }
  void InvalidateFile(uint64_t first, uint64_t end);
  // Shadow paging: see Window::Divide.
  void ShapeBlock(FrameAllocator::Grant* grant);
  bool ReserveCopies(uint64_t pages);
  void DropCopiesLocked(uint64_t chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropAllCopiesLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Constant after Init.
  const Options options_;
  SlotSink* const sink_;
  const HostPaging paging_;
  Window window_;
  std::byte* base_ = nullptr;
  uint64_t anonymous_frames_ = 0;  // size of the anonymous part; file frames follow
  uint64_t max_retired_huge_ = 0;
  uint64_t chunk_count_ = 0;

  // The count of a frame is what it has in counts_ and its block in block_counts_. Both change
  // under the block's lock, those of file frames without.
  LazyArray<RefCountWord> counts_;        // per frame
  LazyArray<RefCountWord> block_counts_;  // per anonymous block
  static constexpr size_t kCountLocks = 64;
  mutable absl::Mutex count_mutexes_[kCountLocks];  // before mutex_
  LazyArray<std::atomic<uint32_t>> chunk_frames_;   // per chunk: frames with a count above zero
  // Per chunk: 0, or 1 + pages that count as copies where the host's mapping is a private one.
  LazyArray<std::atomic<uint32_t>> chunk_copies_;
  std::atomic<uint64_t> committed_bytes_{0};  // anonymous part made accessible so far
  std::atomic<uint64_t> invalidations_begun_{0};
  std::atomic<uint64_t> invalidations_done_{0};
  std::atomic<uint64_t> notifications_{0};
  std::atomic<uint64_t> zero_frame_{0};  // 0: not there yet

  struct Retired {
    std::vector<FrameRun> tables;
    uint64_t table_count = 0;
    std::vector<Frame> huge;
  };
  absl::Mutex retired_mutex_;  // leaf
  Retired retired_ ABSL_GUARDED_BY(retired_mutex_);
  std::atomic<uint64_t> forgotten_{0};

  mutable absl::Mutex mutex_;
  std::optional<FrameAllocator> frames_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint32_t> free_chunks_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_chunk_ ABSL_GUARDED_BY(mutex_) = 0;  // never used from here on
  uint64_t chunks_in_use_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t chunks_in_slots_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t copied_pages_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t slots_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t refused_slot_ ABSL_GUARDED_BY(mutex_) = ~uint64_t{0};  // where the log says so
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_GUEST_MEMORY_H_
