// Vcpu: one virtual CPU with what it holds at the moment: whose registers, which address space.
//
// Threads: all methods are for the thread that holds the vCPU (vcpu_pool.h); CallGate alone is
// shared with service threads.
#ifndef RINGFENCE_PLATFORM_KVM_VCPU_H_
#define RINGFENCE_PLATFORM_KVM_VCPU_H_

#include <cstdint>
#include <memory>

#include "platform/api/platform.h"
#include "platform/kvm/arch/x86_64/kernel_image.h"
#include "platform/kvm/arch/x86_64/trampoline.h"
#include "platform/kvm/call_gate.h"
#include "platform/kvm/exit_decode.h"
#include "platform/kvm/kvm_address_space.h"
#include "platform/kvm/kvm_ioctl_unsafe.h"
#include "platform/kvm/vcpu_pool.h"

namespace ringfence::kvm {

class Vcpu final : public PooledVcpu {
 public:
  // ENOMEM, or what KVM says. `image` outlives the vCPU.
  static Result<std::unique_ptr<Vcpu>> Create(VmFd& vm, KernelImage* image, Flavour flavour,
                                              unsigned index);

  // Before the first Load.
  void SetFlavour(Flavour flavour);
  kvm_run* run() const { return fd_.run(); }
  CallGate& gate() { return gate_; }
  // Data page of the space that was loaded last.
  CallPage* page() const { return page_; }
  // What its guests can read in all spaces.
  AnswerPage* answers() const { return image_->AnswersOf(index()); }

  // Makes `space` current. ENOMEM when its trampoline cannot be mapped.
  Result<void> SetSpace(KvmAddressSpace& space);
  // Loads registers for the next Run.
  void Load(const platform::ArchState& state);
  // Forces segment bases of `state` into the vCPU with the next Load, whatever they were.
  void ForgetBases() { bases_known_ = false; }

  // Makes the calling thread the one that runs this vCPU, as far as KVM is concerned. Kernels
  // before 6.13 wait for an RCU grace period when that changes, which can take longer than a time
  // slice.
  void Adopt();
  // Enters the guest until something happens.
  DecodedExit Run();

  // Registers as they are, plus segment bases.
  void Store(platform::ArchState* state) const;
  // After ExitKind::kException: registers as they were when it was raised.
  RawException StoreException(uint8_t vector, platform::ArchState* state) const;
  // After ExitKind::kGuestIo: registers as they were before the instruction, which is withdrawn
  // from KVM; `space` is where its code is read.
  void StoreGuestIo(KvmAddressSpace& space, platform::ArchState* state);
  // Offset of rip in this vCPU's trampoline page, or a value beyond it.
  uint64_t TrampolineOffset(uint64_t rip) const { return rip - geometry_.trampoline; }
  // Could the vCPU be executing its stub? A program that jumps to a privileged one never is.
  bool MayRunTrampoline() const {
    return flavour_ == Flavour::kDeprivileged || run()->s.regs.sregs.cs.dpl == 0;
  }

  Result<void> SaveFpu(platform::FpuState* out) { return fd_.GetXsave(out); }
  Result<void> LoadFpu(const platform::FpuState& in) { return fd_.SetXsave(in); }
  VcpuFd& fd() { return fd_; }

 private:
  Vcpu(VcpuFd fd, KernelImage* image, Flavour flavour, unsigned index);
  bool LoadForSysret(const platform::ArchState& state);

  VcpuFd fd_;
  KernelImage* const image_;
  Flavour flavour_;
  ExitGeometry geometry_;
  CallGate gate_;
  uint64_t space_id_ = 0;  // 0 = none; RootPhys may be reused by a later space, ids never are
  uint64_t root_ = 0;
  CallPage* page_ = nullptr;
  bool root_changed_ = false;
  bool bases_known_ = false;
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_VCPU_H_
