// CallPage: the data page of a trampoline, through which a running guest and the sentry exchange
// system calls without leaving KVM_RUN.
//
// One frame per (address space, vCPU index). In the deprivileged flavour the guest can read and
// write it, so nothing in it is trusted: the sentry loads each field once and treats the values
// like registers of that very address space's own threads. What the sentry must be able to rely on
// (whether a service thread is at work for this vCPU) is kept outside, in CallGate (call_gate.h).
//
// Protocol of `state`:
//   kIdle -> kPosted      the stub, after storing rax and the arguments
//   kPosted -> kDone      a service thread: the result is in `rax`
//   kPosted -> kPunt      a service thread: nothing was done; the call must exit
//   kDone -> kPosted      the stub, at its next call; until then kDone says nothing
//   kPunt -> kIdle        the stub
//   kDone -> kIdle        the stub, before an exit for another reason
// A stub whose spin limit is used up exits without a word. Whether the call was served meanwhile
// its vCPU's thread sees once the gate is closed: kDone then is the result, kPosted a call to be
// made. So neither side needs a locked operation on the line that both look at: it changes hands
// twice a call and no more.
#ifndef RINGFENCE_PLATFORM_KVM_CALL_PAGE_H_
#define RINGFENCE_PLATFORM_KVM_CALL_PAGE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "platform/kvm/call_page_layout.h"

namespace ringfence::kvm {

struct CallPage {
  enum State : uint32_t { kIdle = 0, kPosted = 1, kDone = 4, kPunt = 8 };

  // Written by the sentry before each entry, read by the stub.
  std::atomic<uint32_t> mode;        // 0: exit at once, 1: post
  std::atomic<uint32_t> spin_limit;  // at least 1
  // The stub's own: counts calls that trapped and whose answer is known. Any value is right.
  std::atomic<uint32_t> sample;
  uint32_t unused0[13];
  // One cache line carries the whole exchange.
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> trapped;  // `by_syscall` of the posted call
  std::atomic<uint64_t> rax;      // number when posted, result when done
  std::atomic<uint64_t> args[6];
  // The stub's own, in a line that no service thread looks at all the time.
  std::atomic<uint64_t> saved_rsp;
  std::atomic<uint64_t> after;       // address behind the latest SYSCALL that trapped
  std::atomic<uint64_t> number;      // rax of the latest call
  std::atomic<uint32_t> by_syscall;  // how it came; 1: by the instruction, 0: by a call site
  std::atomic<uint32_t> in_vain;     // 1: a FUTEX_WAIT has looked for as long as it may
  std::atomic<uint32_t> seen;        // FUTEX_WAITs that saw the word change while they looked
  uint32_t unused1;
  uint64_t unused2[3];
  uint64_t scratch_stack[8];
  // The service thread's own: not 0 while it is at work on the call. A hint for a stub whose limit
  // is used up, since an exit would only wait for the answer.
  std::atomic<uint32_t> serving;
  uint32_t unused3[15];
};
static_assert(offsetof(CallPage, mode) == CALL_PAGE_MODE);
static_assert(offsetof(CallPage, spin_limit) == CALL_PAGE_SPIN);
static_assert(offsetof(CallPage, sample) == CALL_PAGE_SAMPLE);
static_assert(offsetof(CallPage, state) == CALL_PAGE_STATE);
static_assert(offsetof(CallPage, trapped) == CALL_PAGE_TRAPPED);
static_assert(offsetof(CallPage, rax) == CALL_PAGE_RAX);
static_assert(offsetof(CallPage, args) == CALL_PAGE_ARGS);
static_assert(offsetof(CallPage, saved_rsp) == CALL_PAGE_RSP);
static_assert(offsetof(CallPage, after) == CALL_PAGE_AFTER);
static_assert(offsetof(CallPage, number) == CALL_PAGE_NUMBER);
static_assert(offsetof(CallPage, by_syscall) == CALL_PAGE_BY_SYSCALL);
static_assert(offsetof(CallPage, in_vain) == CALL_PAGE_IN_VAIN);
static_assert(offsetof(CallPage, seen) == CALL_PAGE_SEEN);
static_assert(offsetof(CallPage, scratch_stack) + 64 == CALL_PAGE_STACK_TOP);
static_assert(offsetof(CallPage, serving) == CALL_PAGE_SERVING);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_CALL_PAGE_H_
