// KvmAddressSpace: platform/mem's AddressSpace with what vCPUs need in it: the shared kernel part,
// the stubs of call sites and, per vCPU that ever ran it, a root with a trampoline and a data page
// of its own.
//
// It also adds a lock. The sentry serialises its calls on a space, but vCPU threads map trampolines
// and read code bytes without the sentry's lock; every method that edits tables therefore holds
// mu_, and so do the platform's own reads. Lookup and Visit of the sentry need no lock: only the
// sentry edits what they look at.
#ifndef RINGFENCE_PLATFORM_KVM_KVM_ADDRESS_SPACE_H_
#define RINGFENCE_PLATFORM_KVM_KVM_ADDRESS_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/kvm/arch/x86_64/call_stubs.h"
#include "platform/kvm/call_page.h"
#include "platform/mem/address_space.h"

namespace ringfence::kvm {

// What all address spaces of a platform share; outlives them.
struct SpaceShared {
  platform::GuestMemory* memory;
  Frame kernel_table;
  Frame trampoline_code;
  bool trampoline_user;   // deprivileged flavour: ring 3 may reach it
  uint64_t direct_entry;  // where call sites enter the trampoline; 0: no call sites
};

class KvmAddressSpace final : public platform::AddressSpace {
 public:
  static Result<std::unique_ptr<KvmAddressSpace>> Create(const SpaceShared* shared);

  // What vCPU `index`, whose page of answers is `answers`, runs the space with, made if it was not.
  // Lives as long as the space. ENOMEM. Any thread.
  struct VcpuView {
    uint64_t root;  // for CR3
    CallPage* page;
  };
  Result<VcpuView> ViewFor(unsigned index, Frame answers);

  // The call site that `rip` is on the way from to the trampoline.
  std::optional<CallSite> CallSiteOf(VirtAddr rip);

  // Copies up to `bytes` bytes of guest memory at `va`; returns how many could be read.
  // Any thread; what the guest changes meanwhile is seen or not.
  size_t PeekCode(VirtAddr va, uint8_t* out, size_t bytes);

  Result<void> Map(VirtAddr va, FrameRun run, const MapOptions& options) override;
  Result<std::optional<Frame>> Replace(VirtAddr va, Frame frame,
                                       const MapOptions& options) override;
  Result<void> ReplaceRun(VirtAddr va, FrameRun run, const MapOptions& options,
                          absl::FunctionRef<void(FrameRun)> dropped) override;
  Result<void> MakePrivate(VirtRange range, Prot prot) override;
  bool Collapse(VirtAddr va, FrameRun run, const MapOptions& options, DroppedFn dropped) override;
  Result<void> Unmap(VirtRange range, DroppedFn dropped) override;
  void Dissolve(DroppedFn dropped) override;
  Result<void> Protect(VirtRange range, Prot prot) override;
  std::optional<platform::Leaf> Lookup(VirtAddr va) const override { return inner_->Lookup(va); }
  void Visit(VirtRange range, VisitFn visit) const override { inner_->Visit(range, visit); }
  Result<void> CloneInto(AddressSpace& child, VirtRange range, bool cow) override;
  uint64_t TableBytes() const override { return inner_->TableBytes(); }
  uint64_t RootPhys(unsigned root = 0) const override { return inner_->RootPhys(root); }
  Result<unsigned> AddRoot() override;
  uint64_t Id() const override { return inner_->Id(); }
  Result<void> MapPlatformPage(VirtAddr va, Frame frame, Prot prot, bool user,
                               unsigned root = 0) override;
  void SetKernelTable(Frame table) override { inner_->SetKernelTable(table); }
  Result<uint32_t> AddCallSite(const CallSite& site) override;
  Result<void> CopyCallSitesTo(AddressSpace& child) override;
  std::atomic<uint32_t>* WaitersAt(VirtAddr address) override;

  ~KvmAddressSpace() override { shared_->memory->Unref({waiters_, 1}); }

 private:
  KvmAddressSpace(const SpaceShared* shared, std::unique_ptr<platform::AddressSpace> inner,
                  Frame waiters)
      : shared_(shared), waiters_(waiters), inner_(std::move(inner)) {}

  // Maps code, data and answers for a vCPU in `root`.
  Result<CallPage*> MapTrampoline(unsigned root, Frame answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Maps a page that others map as well.
  Result<void> MapShared(VirtAddr va, Frame frame, Prot prot, unsigned root)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  CallStubs& Stubs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const SpaceShared* const shared_;
  const Frame waiters_;  // the counts of WaitersAt, which ring 3 can read
  absl::Mutex mu_;
  // The pointer is constant; edits through it happen under mu_.
  const std::unique_ptr<platform::AddressSpace> inner_;
  std::vector<VcpuView> views_ ABSL_GUARDED_BY(mu_);  // by vCPU index; null page = not there
  unsigned next_root_ ABSL_GUARDED_BY(mu_) = 0;
  std::unique_ptr<CallStubs> stubs_ ABSL_GUARDED_BY(mu_);  // null: no call site yet
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_KVM_ADDRESS_SPACE_H_
