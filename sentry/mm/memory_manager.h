// MemoryManager: the address space of a thread group (mm_struct): VMAs, page faults, copies from
// and to guest memory.
//
// Linux semantics: mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2), mincore(2),
// mlock(2). Model: a map of VMAs says what should be at an address; the platform's AddressSpace
// says which frame is there now; a fault reconciles them. Anonymous memory comes in whole 2 MiB
// blocks where the VMA covers them, else in runs of up to 16 pages (fault-around); file pages are
// mapped up to 512 at a time. Copy-on-write by frame reference counts (soft_cow leaves).
//
// Threads: all methods from any thread. One mutex: readers copy, writers fault and change VMAs.
#ifndef RINGFENCE_SENTRY_MM_MEMORY_MANAGER_H_
#define RINGFENCE_SENTRY_MM_MEMORY_MANAGER_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "platform/api/platform.h"
#include "platform/base/addr.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/memory_policy.h"

namespace ringfence::sentry {

enum class VmaKind : uint8_t { kAnonymous, kFile, kStack, kHeap, kVdso, kVvar };

struct MapRequest {
  VirtAddr addr;        // hint or fixed address; page aligned when fixed
  uint64_t length = 0;  // bytes; rounded up
  Prot prot;
  Prot max_prot{true, true, true};  // what mprotect may grant (a shared map of a read-only file)
  bool shared = false;
  bool fixed = false;  // MAP_FIXED
  bool fixed_noreplace = false;
  bool grows_down = false;
  bool populate = false;
  bool noreserve = false;
  VmaKind kind = VmaKind::kAnonymous;
  MappableRef object;   // null for anonymous memory
  uint64_t offset = 0;  // bytes into object, page aligned
  std::string name;     // "[stack]" and the like; else the object's name
};

struct VmaInfo {  // for /proc/PID/maps and smaps
  VirtRange range;
  Prot prot;
  bool shared;
  uint64_t offset;
  uint64_t device, inode;
  std::string name;
};

// What is there of a VMA, and how it is to be treated, for /proc/PID/smaps and numa_maps. Bytes.
struct VmaUsage {
  uint64_t resident = 0;  // all pages with a leaf: the sum of the four below
  uint64_t shared_clean = 0, shared_dirty = 0, private_clean = 0, private_dirty = 0;
  uint64_t anonymous = 0;                            // not pages of an object
  uint64_t huge_anonymous = 0, huge_of_sandbox = 0;  // by 2 MiB entries: own, objects'
  // A page counts for each mapping of it by its share; in 1/4096 bytes, as Linux adds them up.
  uint64_t share_anonymous = 0, share_file = 0, share_of_sandbox = 0, share_dirty = 0;
  uint64_t most_mappings = 0;  // of one page
  bool locked = false, huge_eligible = false;
  VmaKind kind = VmaKind::kAnonymous;
  MemoryPolicy policy;
  std::string flags;  // VmFlags: "rd wr mr mw me ac "
  uint64_t share() const { return share_anonymous + share_file + share_of_sandbox; }
};

enum class FaultResult { kHandled, kMapError, kAccessError, kBusError, kOutOfMemory };

// Identity of a futex word (futex(2)): private = (mm, address), shared = (object, offset).
struct FutexKey {
  uint64_t space = 0;  // id of the mm or address of the object
  uint64_t offset = 0;
  std::shared_ptr<void> keep_alive;
  friend bool operator==(const FutexKey& a, const FutexKey& b) {
    return a.space == b.space && a.offset == b.offset;
  }
};

class MemoryManager : public std::enable_shared_from_this<MemoryManager> {
 public:
  struct Options {
    bool randomize = true;  // mmap base; off for personality(2) ADDR_NO_RANDOMIZE
    // RLIMIT_STACK of the program: Linux keeps this much room between the stack and mmap_base.
    uint64_t stack_limit = uint64_t{8} << 20;
  };
  // Empty address space. ENOMEM.
  static Result<std::shared_ptr<MemoryManager>> Create(platform::Platform* platform,
                                                       const Options& options);
  static Result<std::shared_ptr<MemoryManager>> Create(platform::Platform* platform) {
    return Create(platform, Options{});
  }
  virtual ~MemoryManager() = default;

  // Copy for fork(2): private memory copy-on-write, shared memory shared. ENOMEM.
  struct ForkHints {
    bool alone = false;               // nobody else runs in this memory meanwhile
    std::vector<VirtAddr> written{};  // what the child is going to write first
  };
  virtual Result<std::shared_ptr<MemoryManager>> Fork(const ForkHints& hints) = 0;
  Result<std::shared_ptr<MemoryManager>> Fork() { return Fork(ForkHints{}); }

  // mmap family; errors as in the man pages. Lengths and addresses come from the guest unchecked.
  virtual Result<VirtAddr> Map(const MapRequest& request) = 0;
  virtual Result<void> Unmap(VirtAddr addr, uint64_t length) = 0;
  virtual Result<void> Protect(VirtAddr addr, uint64_t length, Prot prot) = 0;
  virtual Result<VirtAddr> Remap(VirtAddr old_addr, uint64_t old_size, uint64_t new_size,
                                 uint32_t flags, VirtAddr new_addr) = 0;
  virtual Result<void> Advise(VirtAddr addr, uint64_t length, int advice) = 0;
  // One byte per page; at most kMincoreMax pages a call, so that callers go in steps.
  static constexpr uint64_t kMincoreMax = 65536;
  virtual Result<std::vector<uint8_t>> Mincore(VirtAddr addr, uint64_t length) = 0;
  virtual Result<void> Sync(VirtAddr addr, uint64_t length, int flags) = 0;
  // mlock(2) family. Pages are faulted in unless on_fault; nothing is ever swapped, so the rest is
  // accounting. ENOMEM (hole, RLIMIT_MEMLOCK), EAGAIN. LockAll takes MCL_* bits (EINVAL).
  enum class LockMode { kNow, kOnFault };
  virtual Result<void> Lock(VirtAddr addr, uint64_t length, LockMode mode) = 0;
  virtual Result<void> Unlock(VirtAddr addr, uint64_t length) = 0;
  virtual Result<void> LockAll(int flags) = 0;
  virtual Result<void> UnlockAll() = 0;
  // mbind(2): EFAULT when not all of the range, which is page aligned, is mapped; ENOMEM.
  virtual Result<void> SetPolicy(VirtRange range, const MemoryPolicy& policy) = 0;
  virtual Result<MemoryPolicy> PolicyAt(VirtAddr addr) const = 0;  // EFAULT
  // brk(2) as the kernel does it: returns the new break, or the old one when it cannot move.
  virtual VirtAddr Brk(VirtAddr addr) = 0;
  virtual void SetBrkStart(VirtAddr addr) = 0;

  // Serves a page fault of the guest.
  virtual FaultResult HandleFault(VirtAddr addr, Access access) = 0;
  // KVM could not reach the backing of a page (BusErrorExit): drops leaves that may have lost it.
  virtual void DropFileLeaves() = 0;

  // A call came by a SYSCALL instruction that costs a trap of its own (platform::SyscallExit). Any
  // thread, never waits. True when RewriteCallSite should be called, which turns the instruction
  // into a jump that does not, if that can be done.
  virtual bool CountTrap(VirtAddr after) = 0;
  virtual void RewriteCallSite(VirtAddr after) = 0;
  // Is `addr` where the SYSCALL of a rewritten call site was? Whoever comes there other than
  // through the site, as a call that is started again does, raises an exception which means that
  // call.
  virtual bool IsCallTail(VirtAddr addr) const = 0;

  // Copies, faulting pages in as needed. EFAULT when not all n bytes could be copied (then an
  // unknown prefix was). CopyInSome/CopyOutSome return how many bytes were, EFAULT only for none.
  virtual Result<void> CopyIn(void* dst, VirtAddr src, size_t n) = 0;
  virtual Result<void> CopyOut(VirtAddr dst, const void* src, size_t n) = 0;
  virtual Result<size_t> CopyInSome(void* dst, VirtAddr src, size_t n) = 0;
  virtual Result<size_t> CopyOutSome(VirtAddr dst, const void* src, size_t n) = 0;
  virtual Result<void> ZeroOut(VirtAddr dst, size_t n) = 0;
  // NUL-terminated string of at most max bytes including the NUL; ENAMETOOLONG beyond, EFAULT.
  virtual Result<std::string> CopyInString(VirtAddr src, size_t max) = 0;

  // Pins the pages of a guest range (get_user_pages): host pointers stay valid until the handle
  // dies. May cover less than asked (at least one byte, else EFAULT). At most 256 pages.
  class Pinned {
   public:
    virtual ~Pinned() = default;
    virtual absl::Span<const struct iovec> iovecs() const = 0;
    virtual size_t bytes() const = 0;
  };
  virtual Result<std::unique_ptr<Pinned>> Pin(VirtAddr addr, size_t n, Access access) = 0;

  // Futex words: naturally aligned 32-bit atomics on guest memory. EFAULT, EINVAL (misaligned).
  virtual Result<uint32_t> AtomicLoad32(VirtAddr addr) = 0;
  // Returns the value found; stored `desired` if it equalled `expected`.
  virtual Result<uint32_t> AtomicCompareExchange32(VirtAddr addr, uint32_t expected,
                                                   uint32_t desired) = 0;
  virtual Result<FutexKey> GetFutexKey(VirtAddr addr, bool is_private) = 0;

  // The object's pages [first_page, end_page) are gone: removes leaves that show them. `private
  // copies` (already copied on write) go too only if `even_cow` (truncate does that). Called by
  // Mappables, with none of their locks held.
  virtual void ZapMappable(Mappable* object, uint64_t first_page, uint64_t end_page,
                           bool even_cow) = 0;

  // In address order, under the mm lock: `visit` must not call back.
  virtual void VisitVmas(absl::FunctionRef<void(const VmaInfo&)> visit) const = 0;
  // The same with what is there: looks at every leaf.
  virtual void VisitUsage(absl::FunctionRef<void(const VmaInfo&, const VmaUsage&)> visit) const = 0;
  struct Usage {
    uint64_t virtual_bytes, resident_bytes, shared_bytes, data_bytes, stack_bytes, text_bytes,
        table_bytes, locked_bytes, peak_virtual_bytes, peak_resident_bytes;
    uint64_t minor_faults, major_faults;
  };
  virtual Usage GetUsage() const = 0;

  // Limits of setrlimit(2) that bind here; kUnlimited by default.
  static constexpr uint64_t kUnlimited = ~uint64_t{0};
  struct Limits {
    uint64_t address_space = kUnlimited;  // RLIMIT_AS
    uint64_t data = kUnlimited;           // RLIMIT_DATA
    uint64_t stack = uint64_t{8} << 20;   // RLIMIT_STACK
    uint64_t locked = kUnlimited;         // RLIMIT_MEMLOCK; unlimited with CAP_IPC_LOCK
  };
  virtual void SetLimits(const Limits& limits) = 0;

  // What execve recorded, for /proc and prctl(PR_SET_MM is not offered).
  struct ImageInfo {
    VirtAddr arg_start, arg_end, env_start, env_end, code_start, code_end, stack_start, vdso;
    VirtAddr data_start, data_end;
    std::vector<uint64_t> auxv;
    std::string exe_path;
    std::shared_ptr<void> exe_file;  // the executable's File: keeps /proc/PID/exe alive
  };
  virtual void SetImageInfo(ImageInfo info) = 0;
  virtual ImageInfo GetImageInfo() const = 0;

  virtual platform::AddressSpace& space() = 0;
  virtual platform::Platform& platform() = 0;
  virtual uint64_t id() const = 0;
};
using MemoryManagerRef = std::shared_ptr<MemoryManager>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_MEMORY_MANAGER_H_
