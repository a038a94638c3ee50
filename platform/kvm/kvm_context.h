// KvmContext: a guest task's claim to a vCPU, and the loop around KVM_RUN.
//
// While a context is outside the guest it keeps its vCPU, with FPU state in it, until somebody
// else takes it; `hold_` says who may touch the vCPU:
//   kNone      no vCPU; the FPU state is in fpu_
//   kHeld      kept between two Switches; may be taken away (TryLose)
//   kReleased  the same, and the task is blocked: may be taken at once
//   kPinned    in use by the task's own thread
//
// Interrupt() stores the flag, then signals the thread if it is in (or about to enter) the guest;
// Enter announces itself, then looks at the flag: one of the two sees the other.
#ifndef RINGFENCE_PLATFORM_KVM_KVM_CONTEXT_H_
#define RINGFENCE_PLATFORM_KVM_KVM_CONTEXT_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "platform/api/platform.h"
#include "platform/kvm/kvm_address_space.h"
#include "platform/kvm/service_thread.h"
#include "platform/kvm/stats.h"
#include "platform/kvm/vcpu.h"
#include "platform/kvm/vcpu_pool.h"
#include "platform/kvm/wait_looks.h"

namespace ringfence::kvm {

class KvmContext final : public platform::Context, private VcpuClient {
 public:
  // What contexts share; outlives them.
  struct Shared {
    VcpuPool* pool;
    platform::GuestMemory* memory;
    Stats* stats;
    ServiceThread* service_thread;
    Flavour flavour;
    int64_t exit_ns;  // of an exit and the way back
  };
  explicit KvmContext(const Shared& shared);
  ~KvmContext() override;

  platform::Exit Switch(platform::AddressSpace& space, platform::ArchState& state,
                        const SwitchOptions& options) override;
  void SaveFpu(platform::FpuState* out) override;
  void LoadFpu(const platform::FpuState& in) override;
  void Release() override;
  void Interrupt() override;
  void DescendFrom(platform::Context& parent) override {
    shared_.pool->Inherit(static_cast<KvmContext&>(parent), this);
  }
  void SetAnswer(uint64_t number, std::optional<uint32_t> value) override {
    answers_.Set(number, value);
  }
  void EnableAnswers(bool on) override { answers_.Enable(on); }
  void SetService(platform::SyscallService* service) override { service_ = service; }

 private:
  enum Hold : uint32_t { kNone, kHeld, kReleased, kPinned };

  // VcpuClient.
  bool TryLose() override;
  bool IsReleased() const override { return hold_.load(std::memory_order_relaxed) == kReleased; }
  void AskToYield() override;
  bool ShouldStopWaiting() const override { return pending_.load(std::memory_order_seq_cst); }
  int64_t CpuNanos() const override;

  bool TakeInterrupt();
  // Pins the vCPU if there is still one.
  bool Pin();
  // Pins a vCPU, waiting for one if necessary. EINTR: an interrupt is pending.
  Result<void> PinAny();
  void Unpin();
  // Saves the state that is in the pinned vCPU and gives it to the pool.
  void YieldVcpu();
  void Kick();

  // Enters the guest once; nullopt = nothing to report, go on.
  std::optional<platform::Exit> Enter(KvmAddressSpace& space, platform::ArchState& state,
                                      const SwitchOptions& options);
  // kLook: not when an interrupt is pending or somebody wants the vCPU.
  enum class Flags { kLook, kWait };
  DecodedExit Run(const SwitchOptions& options, Flags flags);
  std::optional<platform::Exit> Dispatch(const DecodedExit& exit, KvmAddressSpace& space,
                                         platform::ArchState& state);
  // The caller's registers if the vCPU stopped inside its trampoline: nullopt in `progress` when
  // it did not.
  std::optional<CallProgress> Rebuild(KvmAddressSpace& space, platform::ArchState& state);
  std::optional<platform::Exit> OnCall(platform::ArchState& state);
  platform::Exit ReportCall(platform::ArchState& state);
  std::optional<platform::Exit> OnKick(KvmAddressSpace& space, platform::ArchState& state);
  std::optional<platform::Exit> OnException(uint8_t vector, KvmAddressSpace& space,
                                            platform::ArchState& state);
  std::optional<platform::Exit> OnNotBacked(KvmAddressSpace& space, platform::ArchState& state);
  // After a FUTEX_WAIT that came here all the same.
  void AdjustLooks();
  // In the part of the stub that reads the program's memory.
  bool IsAtFutex(uint64_t rip) const;

  const Shared shared_;
  platform::SyscallService* service_ = nullptr;

  WaitLooks wait_looks_;
  Answers answers_;  // attached to vcpu_'s page from PinAny on until the vCPU is lost
  std::atomic<uint32_t> hold_{kNone};
  std::atomic<bool> pending_{false};  // Interrupt()
  std::atomic<bool> yield_{false};    // AskToYield()
  std::atomic<bool> in_guest_{false};
  std::atomic<pid_t> thread_{0};

  // Of the own thread while pinned, of a thief (pool mutex) while being taken.
  Vcpu* vcpu_ = nullptr;
  platform::FpuState fpu_;
  bool fpu_dirty_ = true;  // fpu_ is newer than what is in the vCPU

  bool posting_ = false;  // the latest entry let the guest post its calls
  bool punted_ = false;   // the latest posted call was looked at and refused
  ServiceThread::Burst burst_;
  uint64_t generation_ = 0;  // of GuestMemory's invalidations, before the latest entry
  // Since when KVM has not been able to page in what the guest wants.
  std::optional<std::chrono::steady_clock::time_point> unbacked_since_;
  // When a FUTEX_WAIT that the guest had looked for in vain came here.
  std::optional<std::chrono::steady_clock::time_point> waiting_since_;
  uint32_t waits_seen_ = 0;  // CallPage::seen at that time
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_KVM_CONTEXT_H_
