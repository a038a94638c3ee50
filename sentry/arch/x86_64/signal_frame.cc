// Signal frames of x86-64: arch/x86/kernel/signal_64.c as seen from user space.
#include "sentry/arch/signal_frame.h"

#include <cstring>
#include <optional>

#include "sentry/arch/x86_64/sigcontext.h"
#include "sentry/arch/x86_64/xstate.h"

namespace ringfence::sentry {
namespace {

using platform::ArchState;
using platform::FpuState;

constexpr uint64_t kCf = 1 << 0, kPf = 1 << 2, kAf = 1 << 4, kZf = 1 << 6, kSf = 1 << 7,
                   kTf = 1 << 8, kDf = 1 << 10, kOf = 1 << 11, kRf = 1 << 16, kAc = 1 << 18;
// What rt_sigreturn may change (FIX_EFLAGS).
constexpr uint64_t kUserFlags = kAc | kOf | kDf | kTf | kSf | kZf | kAf | kPf | kCf | kRf;

struct FrameAddresses {
  VirtAddr frame;
  VirtAddr fpstate;
};

// get_sigframe of Linux. Nothing when the alternative stack is too small.
std::optional<FrameAddresses> PlaceFrame(uint64_t sp, const SignalFrameRequest& request) {
  const SigAltStack& alt = request.altstack;
  const bool enabled = alt.size != 0 && (alt.flags & kSsDisable) == 0;
  const bool auto_disarm = (alt.flags & kSsAutoDisarm) != 0;
  sp -= kRedZone;
  const bool nested = enabled && !auto_disarm && alt.Contains(sp);
  bool entering = false;
  if ((request.action.flags & kSaOnStack) != 0 && enabled && !nested) {
    sp = alt.sp + alt.size;
    entering = true;
  }
  sp = (sp - XstateFrameSize()) & ~uint64_t{63};
  FrameAddresses at;
  at.fpstate = VirtAddr(sp);
  // As after a call: rsp + 8 is a multiple of 16.
  sp = ((sp - sizeof(RtSigFrame)) & ~uint64_t{15}) - 8;
  if ((nested || entering) && !alt.Contains(sp)) return std::nullopt;
  at.frame = VirtAddr(sp);
  return at;
}

SigContext SaveRegisters(const ArchState& s, const SignalFrameRequest& request, VirtAddr fpstate) {
  SigContext c{};
  c.r8 = s.r8, c.r9 = s.r9, c.r10 = s.r10, c.r11 = s.r11;
  c.r12 = s.r12, c.r13 = s.r13, c.r14 = s.r14, c.r15 = s.r15;
  c.rdi = s.rdi, c.rsi = s.rsi, c.rbp = s.rbp, c.rbx = s.rbx;
  c.rdx = s.rdx, c.rax = s.rax, c.rcx = s.rcx, c.rsp = s.rsp;
  c.rip = s.rip, c.rflags = s.rflags;
  c.cs = kUserCs, c.ss = kUserSs;
  c.err = request.trap.error_code;
  c.trapno = request.trap.number;
  c.oldmask = request.saved_mask.bits;
  c.cr2 = request.trap.address;
  c.fpstate = fpstate.value();
  return c;
}

void RestoreRegisters(const SigContext& c, ArchState* s) {
  s->r8 = c.r8, s->r9 = c.r9, s->r10 = c.r10, s->r11 = c.r11;
  s->r12 = c.r12, s->r13 = c.r13, s->r14 = c.r14, s->r15 = c.r15;
  s->rdi = c.rdi, s->rsi = c.rsi, s->rbp = c.rbp, s->rbx = c.rbx;
  s->rdx = c.rdx, s->rax = c.rax, s->rcx = c.rcx, s->rsp = c.rsp;
  s->rip = c.rip;
  s->rflags = (s->rflags & ~kUserFlags) | (c.rflags & kUserFlags);
  s->orig_rax = ~uint64_t{0};
}

}  // namespace

Result<void> BuildSignalFrame(MemoryManager& mm, ArchState& state, FpuState& fpu,
                              const SignalFrameRequest& request) {
  if ((request.action.flags & kSaRestorer) == 0) return Errno::kFAULT;
  const auto at = PlaceFrame(state.rsp, request);
  if (!at) return Errno::kFAULT;

  const std::vector<std::byte> xstate = MakeXstateFrame(fpu);
  TRY(mm.CopyOut(at->fpstate, xstate.data(), xstate.size()));
  RtSigFrame frame{};
  frame.pretcode = request.action.restorer;
  frame.uc.flags = kUcFpXstate | kUcSigcontextSs | kUcStrictRestoreSs;
  frame.uc.stack = request.altstack;
  frame.uc.mcontext = SaveRegisters(state, request, at->fpstate);
  frame.uc.sigmask = request.saved_mask;
  frame.info = request.info;
  // Without SA_SIGINFO the handler has no siginfo to look at and Linux writes none.
  const bool with_info = (request.action.flags & kSaSigInfo) != 0;
  TRY(mm.CopyOut(at->frame, &frame, with_info ? sizeof(frame) : offsetof(RtSigFrame, info)));

  state.rdi = static_cast<uint64_t>(request.info.signo);
  state.rsi = at->frame.value() + offsetof(RtSigFrame, info);
  state.rdx = at->frame.value() + offsetof(RtSigFrame, uc);
  state.rax = 0;
  state.rip = request.action.handler;
  state.rsp = at->frame.value();
  state.rflags &= ~(kDf | kRf | kTf);
  state.orig_rax = ~uint64_t{0};
  fpu = platform::InitialFpuState();
  return Ok();
}

Result<RestoredSignalFrame> RestoreSignalFrame(MemoryManager& mm, ArchState& state, FpuState& fpu) {
  // The handler's `ret` has popped pretcode.
  UContext uc;
  TRY(mm.CopyIn(&uc, VirtAddr(state.rsp), sizeof(uc)));
  const FpuState restored = TRY(ReadXstateFrame(mm, VirtAddr(uc.mcontext.fpstate)));
  RestoreRegisters(uc.mcontext, &state);
  fpu = restored;
  SigSet mask = uc.sigmask;
  mask.Remove(SigNo::kKill);
  mask.Remove(SigNo::kStop);
  return RestoredSignalFrame{mask, uc.stack};
}

uint64_t MinSignalStackSize() {
  // MAX_FRAME_SIZE of Linux: frame, FPU part, paddings for both alignments, red zone excluded.
  const uint64_t size = sizeof(RtSigFrame) + XstateFrameSize() + 16 + 64;
  return (size + 15) & ~uint64_t{15};
}

}  // namespace ringfence::sentry
