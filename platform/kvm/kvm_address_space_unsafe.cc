#include <algorithm>

#include "platform/kvm/arch/x86_64/trampoline.h"
#include "platform/kvm/kvm_address_space.h"
#include "platform/mem/safe_copy.h"

namespace ringfence::kvm {

Result<std::unique_ptr<KvmAddressSpace>> KvmAddressSpace::Create(const SpaceShared* shared) {
  auto inner = TRY(platform::AddressSpace::Create(shared->memory));
  inner->SetKernelTable(shared->kernel_table);
  const FrameRun waiters = TRY(shared->memory->Allocate(1));
  return std::unique_ptr<KvmAddressSpace>(
      new KvmAddressSpace(shared, std::move(inner), waiters.first));
}

Result<void> KvmAddressSpace::MapShared(VirtAddr va, Frame frame, Prot prot, unsigned root) {
  // The address space takes a reference of its own.
  const FrameRun run{frame, 1};
  shared_->memory->Ref(run);
  Result<void> mapped = inner_->MapPlatformPage(va, frame, prot, shared_->trampoline_user, root);
  if (!mapped.ok()) shared_->memory->Unref(run);
  return mapped;
}

Result<CallPage*> KvmAddressSpace::MapTrampoline(unsigned root, Frame answers) {
  const FrameRun data = TRY(shared_->memory->Allocate(1));
  Result<void> mapped = inner_->MapPlatformPage(kTrampolineData, data.first, Prot::RW(),
                                                shared_->trampoline_user, root);
  if (!mapped.ok()) {
    shared_->memory->Unref(data);
    return mapped.error();
  }
  TRY(MapShared(kTrampolineAnswers, answers, Prot::R(), root));
  TRY(MapShared(kTrampolineWaiters, waiters_, Prot::R(), root));
  TRY(MapShared(kTrampolineCode, shared_->trampoline_code, Prot::RX(), root));
  // SAFETY: a zeroed anonymous frame, page aligned, that lives as long as this space; all fields
  // are integers or lock-free atomics for which zero is a value.
  return reinterpret_cast<CallPage*>(shared_->memory->HostAddress(data.first));
}

Result<KvmAddressSpace::VcpuView> KvmAddressSpace::ViewFor(unsigned index, Frame answers) {
  absl::MutexLock lock(&mu_);
  if (index < views_.size() && views_[index].page != nullptr) return views_[index];
  // A root of which only a part could be mapped is not used; the space has it until it ends.
  const unsigned root = next_root_ == 0 ? 0 : TRY(inner_->AddRoot());
  ++next_root_;
  CallPage* const page = TRY(MapTrampoline(root, answers));
  // Not the same calls of every process are sampled.
  page->sample.store(static_cast<uint32_t>(inner_->Id() % SAMPLE_FIRST), std::memory_order_relaxed);
  if (views_.size() <= index) views_.resize(index + 1);
  views_[index] = {inner_->RootPhys(root), page};
  return views_[index];
}

std::atomic<uint32_t>* KvmAddressSpace::WaitersAt(VirtAddr address) {
  // SAFETY: a zeroed anonymous frame that lives as long as this space and that guests can only
  // read; the masked offset is that of an aligned word in it.
  return reinterpret_cast<std::atomic<uint32_t>*>(shared_->memory->HostAddress(waiters_) +
                                                  (address.value() & WAITERS_OFFSET_MASK));
}

CallStubs& KvmAddressSpace::Stubs() {
  if (stubs_ == nullptr) {
    stubs_ = std::make_unique<CallStubs>(shared_->memory, inner_.get(), shared_->direct_entry);
  }
  return *stubs_;
}

Result<uint32_t> KvmAddressSpace::AddCallSite(const CallSite& site) {
  if (shared_->direct_entry == 0) return Errno::kNOSYS;
  absl::MutexLock lock(&mu_);
  return Stubs().Add(site);
}

Result<void> KvmAddressSpace::CopyCallSitesTo(AddressSpace& child) {
  // Every space of this platform is a KvmAddressSpace; nobody else knows the child yet.
  auto& kvm_child = static_cast<KvmAddressSpace&>(child);
  absl::MutexLock lock(&mu_);
  if (stubs_ == nullptr) return Ok();
  absl::MutexLock child_lock(&kvm_child.mu_);
  return stubs_->CopyTo(kvm_child.Stubs());
}

std::optional<platform::AddressSpace::CallSite> KvmAddressSpace::CallSiteOf(VirtAddr rip) {
  absl::MutexLock lock(&mu_);
  return stubs_ == nullptr ? std::nullopt : stubs_->SiteOf(rip);
}

Result<unsigned> KvmAddressSpace::AddRoot() {
  absl::MutexLock lock(&mu_);
  return inner_->AddRoot();
}

size_t KvmAddressSpace::PeekCode(VirtAddr va, uint8_t* out, size_t bytes) {
  absl::MutexLock lock(&mu_);
  size_t done = 0;
  while (done < bytes) {
    const Result<VirtAddr> at = va.Add(done);
    if (!at.ok() || *at >= platform::kUserEnd) break;
    const std::optional<platform::Leaf> leaf = inner_->Lookup(*at);
    if (!leaf.has_value() || !leaf->prot.any()) break;
    const size_t n = std::min<uint64_t>(bytes - done, kPageSize - at->page_offset());
    const std::byte* from = shared_->memory->HostAddress(leaf->frame) + at->page_offset();
    const size_t copied = platform::SafeCopy(out + done, from, n);
    done += copied;
    if (copied < n) break;
  }
  return done;
}

Result<void> KvmAddressSpace::Map(VirtAddr va, FrameRun run, const MapOptions& options) {
  absl::MutexLock lock(&mu_);
  return inner_->Map(va, run, options);
}

Result<std::optional<Frame>> KvmAddressSpace::Replace(VirtAddr va, Frame frame,
                                                      const MapOptions& options) {
  absl::MutexLock lock(&mu_);
  return inner_->Replace(va, frame, options);
}

Result<void> KvmAddressSpace::ReplaceRun(VirtAddr va, FrameRun run, const MapOptions& options,
                                         absl::FunctionRef<void(FrameRun)> dropped) {
  absl::MutexLock lock(&mu_);
  return inner_->ReplaceRun(va, run, options, dropped);
}

Result<void> KvmAddressSpace::MakePrivate(VirtRange range, Prot prot) {
  absl::MutexLock lock(&mu_);
  return inner_->MakePrivate(range, prot);
}

bool KvmAddressSpace::Collapse(VirtAddr va, FrameRun run, const MapOptions& options,
                               DroppedFn dropped) {
  absl::MutexLock lock(&mu_);
  return inner_->Collapse(va, run, options, dropped);
}

Result<void> KvmAddressSpace::Unmap(VirtRange range, DroppedFn dropped) {
  absl::MutexLock lock(&mu_);
  return inner_->Unmap(range, dropped);
}

void KvmAddressSpace::Dissolve(DroppedFn dropped) {
  absl::MutexLock lock(&mu_);
  inner_->Dissolve(dropped);
}

Result<void> KvmAddressSpace::Protect(VirtRange range, Prot prot) {
  absl::MutexLock lock(&mu_);
  return inner_->Protect(range, prot);
}

Result<void> KvmAddressSpace::CloneInto(AddressSpace& child, VirtRange range, bool cow) {
  // Every space of this platform is a KvmAddressSpace; the child runs nowhere yet.
  auto& kvm_child = static_cast<KvmAddressSpace&>(child);
  absl::MutexLock lock(&mu_);
  return inner_->CloneInto(*kvm_child.inner_, range, cow);
}

Result<void> KvmAddressSpace::MapPlatformPage(VirtAddr va, Frame frame, Prot prot, bool user,
                                              unsigned root) {
  absl::MutexLock lock(&mu_);
  return inner_->MapPlatformPage(va, frame, prot, user, root);
}

}  // namespace ringfence::kvm
