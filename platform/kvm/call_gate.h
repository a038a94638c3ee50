// CallGate: who may touch the calls of a vCPU, kept in the sentry's own memory.
//
// A service thread may answer a call only while the vCPU's thread is inside KVM_RUN on behalf of
// one context, and the vCPU's thread must not go on (change address space, hand the vCPU over, let
// the context die) while a service thread is at work. The gate is closed outside of KVM_RUN, open
// inside, and busy while a service thread has it; the vCPU's thread waits until it is not.
//
// Threads: Open and Close by the vCPU's thread, TryEnter and Leave by service threads.
#ifndef RINGFENCE_PLATFORM_KVM_CALL_GATE_H_
#define RINGFENCE_PLATFORM_KVM_CALL_GATE_H_

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <utility>

#include "platform/api/platform.h"
#include "platform/kvm/call_page.h"

namespace ringfence::kvm {

class CallGate {
 public:
  void Open(CallPage* page, platform::SyscallService* service) {
    page_.store(page, std::memory_order_relaxed);
    service_.store(service, std::memory_order_relaxed);
    state_.store(kOpen, std::memory_order_release);
  }

  // On return no service thread is at work for this vCPU, nor will be before the next Open.
  void Close() {
    uint32_t expected = kOpen;
    while (!state_.compare_exchange_weak(expected, kClosed, std::memory_order_acq_rel)) {
      if (expected == kClosed) return;
      // Serve does not block; if its thread lost the CPU, let it have this one.
      sched_yield();
      expected = kOpen;
    }
  }

  bool IsOpen() const { return state_.load(std::memory_order_acquire) == kOpen; }
  // For a cheap look before TryEnter. May be stale; anonymous frames stay readable.
  CallPage* page() const { return page_.load(std::memory_order_relaxed); }

  bool TryEnter() {
    uint32_t expected = kOpen;
    return state_.compare_exchange_strong(expected, kBusy, std::memory_order_acq_rel);
  }
  platform::SyscallService* service() const { return service_.load(std::memory_order_relaxed); }
  void Leave() { state_.store(kOpen, std::memory_order_release); }

  // Between TryEnter and Leave: the call was refused and will exit.
  void SetPunted() { punted_ = true; }
  // While closed: was one refused since the last time?
  bool TakePunted() { return std::exchange(punted_, false); }

 private:
  enum State : uint32_t { kClosed, kOpen, kBusy };
  std::atomic<uint32_t> state_{kClosed};
  std::atomic<CallPage*> page_{nullptr};
  std::atomic<platform::SyscallService*> service_{nullptr};
  bool punted_ = false;  // handed over with state_
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_CALL_GATE_H_
