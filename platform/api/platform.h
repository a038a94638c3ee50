// The interface between the sentry and what runs guest code. Mechanism without Linux semantics.
//
// platform/kvm is the implementation; platform/fake a scripted one for the sentry's unit tests.
//
// A sandbox has one Platform; each guest task has one Context, used by the host thread that runs
// the task. Context::Switch enters the guest and returns at the next thing the sentry has to deal
// with. Calls that can be answered without blocking may be answered meanwhile by a service thread
// through SyscallService ("exitless"); Switch then does not return for them.
#ifndef RINGFENCE_PLATFORM_API_PLATFORM_H_
#define RINGFENCE_PLATFORM_API_PLATFORM_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "platform/api/arch_state.h"
#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "platform/mem/address_space.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::platform {

// Why Switch returned.
struct SyscallExit {  // orig_rax = number, rdi rsi rdx r10 r8 r9 = arguments, rip after SYSCALL,
                      // rcx = rip and r11 = rflags as on Linux
  // The SYSCALL instruction itself was expensive; AddressSpace::AddCallSite makes it cheap.
  bool trapped = false;
};
struct FaultExit {  // page fault that the page tables do not satisfy
  VirtAddr address;
  Access access;
  bool present;  // the page was mapped, the right was missing
};
struct ExceptionExit {  // any other exception of ring 3; rip as Linux would report it
  uint8_t vector;       // SDM vol. 3, table 6-1
  uint32_t error_code;
};
struct BusErrorExit {  // backing memory is gone (truncated file); address unknown to KVM when null
  VirtAddr address;
};
struct InterruptedExit {};  // Interrupt() was called; nothing is lost
struct FatalExit {          // the host failed (KVM_RUN error, triple fault); task cannot go on
  std::string message;
};
using Exit =
    std::variant<SyscallExit, FaultExit, ExceptionExit, BusErrorExit, InterruptedExit, FatalExit>;

struct SyscallRequest {
  uint64_t number;
  uint64_t args[6];
  // As SyscallExit::trapped: the address behind the SYSCALL, or 0. A guest can choose it.
  uint64_t trapped_after = 0;
};

// What a service thread calls for a call posted by a running guest.
class SyscallService {
 public:
  virtual ~SyscallService() = default;
  // Answers without blocking and returns true with *result set, or returns false having had no
  // side effect at all: the call then exits and the task's own thread serves it. Runs on a service
  // thread while the task's own thread is inside Switch; never twice at a time for one Context.
  virtual bool Serve(const SyscallRequest& request, int64_t* result) = 0;
};

// One per guest task. Created by any thread; Switch, SaveFpu, LoadFpu and Release are called only
// by the task's own host thread.
class Context {
 public:
  virtual ~Context() = default;

  struct SwitchOptions {
    bool exitless = true;      // calls may be answered by a service thread
    bool single_step = false;  // reserved for ptrace
  };
  // Runs the guest from `state` (all of it) on `space` until an Exit; `state` then holds the
  // registers of the guest, also fs_base and gs_base, which guests change without a call
  // (WRFSBASE). The vCPU is kept for the next Switch while nobody else needs it.
  //
  // A caller that changes FPU state between exits uses LoadFpu. A SyscallExit is answered by
  // setting rax and calling Switch again; leaving everything else alone is the fast path.
  virtual Exit Switch(AddressSpace& space, ArchState& state, const SwitchOptions& options) = 0;

  // x87/SSE/AVX state of the task.
  virtual void SaveFpu(FpuState* out) = 0;
  virtual void LoadFpu(const FpuState& in) = 0;

  // The task is about to block in the sentry: its vCPU may go to somebody else.
  virtual void Release() = 0;

  // Makes a running or the next Switch return InterruptedExit (or the exit that happened first;
  // the interrupt is then kept for the following one only if it has not been consumed). Never
  // lost. Any thread, also signal handlers.
  virtual void Interrupt() = 0;

  // This context, which has not run yet, is of `parent`'s making: while there are more tasks than
  // CPUs it is served as its parent would be, a little later, and not as a stranger.
  virtual void DescendFrom(Context& parent) { (void)parent; }

  // From when it returns the guest, running or not, answers call `number` with `value` itself,
  // whatever the arguments; nullopt: no longer. While answers are enabled, as they are at first; a
  // platform that has no such thing ignores it. What the sentry would answer must be the same: some
  // of these calls still come to it. Any thread.
  virtual void SetAnswer(uint64_t number, std::optional<uint32_t> value) = 0;
  virtual void EnableAnswers(bool on) = 0;

  // The handler for exitless calls of this task; null = none. Before the first Switch.
  virtual void SetService(SyscallService* service) = 0;
};

enum class ExitlessMode { kAuto, kOn, kOff };

class Platform {
 public:
  virtual ~Platform() = default;
  virtual GuestMemory& memory() = 0;
  virtual Result<std::unique_ptr<AddressSpace>> NewAddressSpace() = 0;
  virtual Result<std::unique_ptr<Context>> NewContext() = 0;
  // TSC frequency seen by guests in kHz and the offset guest_tsc - host_tsc, for the vDSO.
  virtual uint64_t TscKhz() const = 0;
  virtual int64_t TscOffset() const = 0;

  struct Counters {
    uint64_t exits_syscall, exits_fault, exits_exception, exits_interrupt, exits_other;
    uint64_t exitless_calls, exitless_punts, kicks, vcpu_handovers, spin_ns;
    uint64_t trapped_calls;  // SyscallExit::trapped, those that a service thread answered included
  };
  virtual Counters GetCounters() const = 0;
  virtual std::string Describe() const = 0;  // kind of host and flavour, for logs
};

struct KvmOptions;  // platform/kvm/kvm_platform.h

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_API_PLATFORM_H_
