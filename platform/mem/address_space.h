// AddressSpace: one guest page table, edited by the host. Mechanism only: what a mapping means
// (VMA, copy-on-write, file) is the sentry's business; page tables are nevertheless the only
// record of which frame is where, as in Linux.
//
// Rules 1 to 5 of host-facts live behind this interface (rule 2 in GuestMemory::Invalidate):
// entries are written atomically with Accessed and Dirty preset; leaves that are removed,
// downgraded or repointed are invalidated before the call returns; a 2 MiB leaf is split into 512
// entries before one of them changes; page-table frames are invalidated before they are freed.
//
// Leaves carry two software bits the caller may use: kSoftCow and kSoftShared.
//
// References: AddressSpace never takes or drops references on the frames it maps. The caller takes
// one per leaf page before Map and drops those reported by Unmap's callback. Page-table frames are
// AddressSpace's own.
//
// Addresses: user range only, [0, kUserEnd). The platform's own mappings (trampoline, descriptor
// tables) are installed by platform/kvm through MapPlatformPage and SetKernelTable and cannot be
// reached by the other methods.
//
// Before an AddressSpace is destroyed, its owner unmaps the whole user range, and no vCPU uses it.
//
// Threads: the caller serialises all calls on one AddressSpace (the sentry's mm lock); Lookup may
// run concurrently with Lookup. vCPUs may run on the tables at any time.
#ifndef RINGFENCE_PLATFORM_MEM_ADDRESS_SPACE_H_
#define RINGFENCE_PLATFORM_MEM_ADDRESS_SPACE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/functional/function_ref.h"
#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::platform {

// End of the range that applications can use: TASK_SIZE of x86-64 with 4-level paging.
inline constexpr VirtAddr kUserEnd{0x7ffffffff000};
// What the shared kernel part (SetKernelTable) and the own part of each root (AddRoot) begin with.
inline constexpr VirtAddr kKernelTableBase{0xffffff0000000000};
inline constexpr VirtAddr kOwnRootBase{0xffffc90000000000};

struct Leaf {
  Frame frame;            // frame of this very page, also inside a 2 MiB leaf
  Prot prot;              // as in the page table (write = hardware-writable now)
  bool soft_cow = false;  // write faults must copy if the frame is shared
  bool soft_shared = false;
  bool huge = false;  // mapped by a 2 MiB entry
};

class AddressSpace {
 public:
  // ENOMEM when no frame is left for the root.
  static Result<std::unique_ptr<AddressSpace>> Create(GuestMemory* memory);
  virtual ~AddressSpace() = default;

  struct MapOptions {
    Prot prot;
    bool soft_cow = false;
    bool soft_shared = false;
  };
  // Maps run.count pages from `va` to the run; any leaf that was there must have been unmapped
  // (checked: EEXIST, nothing changed). Uses 2 MiB entries where va and frame are both aligned and
  // at least 512 pages remain. ENOMEM: nothing is mapped.
  virtual Result<void> Map(VirtAddr va, FrameRun run, const MapOptions& options) = 0;

  // Points the one page at `va`, mapped or not, to `frame`. The old leaf's frame, if any, is
  // returned after it has been invalidated; its reference is now the caller's to drop, also when it
  // is the same frame again. Nothing is invalidated when the frame stays and only gains rights.
  // ENOMEM.
  virtual Result<std::optional<Frame>> Replace(VirtAddr va, Frame frame,
                                               const MapOptions& options) = 0;

  // Points the run.count pages from `va`, each of which has a leaf, to the run (copy-on-write of
  // several pages at once): one invalidation for what was there, then `dropped` as in Unmap.
  // ENOMEM (a 2 MiB leaf cannot be split), ENOENT (a leaf is missing): nothing changed.
  virtual Result<void> ReplaceRun(VirtAddr va, FrameRun run, const MapOptions& options,
                                  absl::FunctionRef<void(FrameRun)> dropped) = 0;

  // The leaves in `range` stop being soft_cow and get `prot`, which only adds rights: nothing is
  // invalidated. ENOMEM as in Unmap.
  virtual Result<void> MakePrivate(VirtRange range, Prot prot) = 0;

  // Frames whose leaves are gone and invalidated; their references are the callee's to drop.
  using DroppedFn = absl::FunctionRef<void(FrameRun run)>;
  // The block of 2 MiB at `va`, of which some pages are mapped, becomes one 2 MiB leaf of `run`,
  // whose reference is the leaf's from now on. What was mapped is reported as by Unmap. False, and
  // nothing has changed: the block has no page table, or it cannot be such a leaf (rule 5).
  virtual bool Collapse(VirtAddr va, FrameRun run, const MapOptions& options,
                        DroppedFn dropped) = 0;

  // Removes every leaf in the range; calls `dropped` once per run of frames after invalidation.
  // ENOMEM only when a 2 MiB entry that straddles an edge cannot be split: nothing changed.
  virtual Result<void> Unmap(VirtRange range, DroppedFn dropped) = 0;

  // Unmaps the whole user range of a space that no vCPU runs in and none will run in again: the
  // caller only destroys it. With shadow paging nothing is invalidated: what the host keeps of the
  // space hangs on its root, which is retired (rule 4) and so not used again before the host has
  // forgotten it; and other spaces keep what the host has paged in of the frames they share.
  virtual void Dissolve(DroppedFn dropped) = 0;

  // Sets the protection of leaves, also to nothing: the leaf then stays, unusable by the guest but
  // found by Lookup, Visit and Unmap with its frame. Where `prot` would make a soft_cow leaf
  // writable it stays read-only. Only downgrades are invalidated. ENOMEM as in Unmap.
  virtual Result<void> Protect(VirtRange range, Prot prot) = 0;

  // The leaf that maps the page of `va`.
  virtual std::optional<Leaf> Lookup(VirtAddr va) const = 0;

  // Calls `visit` for each run of leaves (also of protection none) with equal attributes and
  // consecutive frames, in ascending order. `visit` must not change this address space.
  using VisitFn = absl::FunctionRef<void(VirtAddr va, FrameRun run, const Leaf& attributes)>;
  virtual void Visit(VirtRange range, VisitFn visit) const = 0;

  // fork: maps into `child` what is mapped here in `range`, same frames. With `cow`, all
  // leaves become read-only and soft_cow on both sides, also those that were read-only before,
  // since a later Protect may ask for write (one invalidation for all that were writable). Takes
  // one reference for each leaf the child gets. ENOMEM: the child may hold a part; the caller
  // destroys it. Of a 2 MiB leaf the child's may be folded: Lookup and Visit show it and the guest
  // faults on it, until Protect, also with the same rights, makes small leaves of it.
  virtual Result<void> CloneInto(AddressSpace& child, VirtRange range, bool cow) = 0;

  // Bytes of page-table frames in use.
  virtual uint64_t TableBytes() const = 0;

  // Address of a root table for CR3 / TTBR0. Root 0 is always there.
  virtual uint64_t RootPhys(unsigned root = 0) const = 0;
  // For platform/kvm only: one more root, for the life of the space. It shows what the others show
  // except in the 512 GiB from kOwnRootBase, where each root has what was mapped for it. Returns
  // its number. ENOMEM.
  virtual Result<unsigned> AddRoot() = 0;

  // Number that no other AddressSpace of this process ever had.
  virtual uint64_t Id() const = 0;

  // For platform/kvm only: maps one page outside the user range, for the life of the address
  // space. `user` = reachable from ring 3. The frame's reference becomes the address space's.
  // `root` counts only from kOwnRootBase on; elsewhere the page is in all roots.
  // EINVAL (user range, not canonical, or in the shared kernel part), EEXIST, ENOMEM.
  virtual Result<void> MapPlatformPage(VirtAddr va, Frame frame, Prot prot, bool user,
                                       unsigned root = 0) = 0;
  // For platform/kvm only: lets the top-level entry of kKernelTableBase (512 GiB on x86-64) point
  // to `table`, which platform/kvm owns and fills and which outlives the address space.
  virtual void SetKernelTable(Frame table) = 0;

  // Call sites: on some hosts the SYSCALL instruction alone costs as much as a trap into the host,
  // although the guest is never left. There a program may come to the platform by a jump instead.
  //
  // Returns the address of a pointer for `jmp *[address]`, sign-extended from 32 bits; the upper 16
  // of these read as code are `int 0x80`. What is added stays for the life of the space. ENOSYS:
  // SYSCALL is as good here. ENOSPC, ENOMEM. Any thread.
  struct CallSite {
    VirtAddr after;  // behind the SYSCALL: where the call returns to, registers as with SYSCALL
    VirtAddr jump;   // where the far jump will be
    // What the platform loads into eax, since the jump replaces that load as well. Without, only
    // the call site leads to the jump, and a vCPU found there has made the call.
    std::optional<uint32_t> number;
  };
  virtual Result<uint32_t> AddCallSite(const CallSite& site) {
    (void)site;
    return Errno::kNOSYS;
  }
  // For futex(2): some platforms answer FUTEX_WAKE_PRIVATE in the guest where nobody waits. They
  // must know at each moment for which addresses somebody may: WaitersAt(address) counts who waits
  // there, and is raised before the word is looked at for the last time, so that a waker who has
  // changed the word meets either. One count serves all addresses with the same offset in their
  // page. Null: nobody wants to know. Lives as long as the space; any thread.
  virtual std::atomic<uint32_t>* WaitersAt(VirtAddr address) {
    (void)address;
    return nullptr;
  }

  // fork: gives `child`, which runs nowhere yet, all call sites of this space. ENOMEM.
  virtual Result<void> CopyCallSitesTo(AddressSpace& child) {
    (void)child;
    return Ok();
  }
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_ADDRESS_SPACE_H_
