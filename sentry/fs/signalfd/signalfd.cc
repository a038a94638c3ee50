#include "sentry/fs/signalfd/signalfd.h"

#include <fcntl.h>
#include <sys/signalfd.h>

#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {
namespace {

static_assert(sizeof(signalfd_siginfo) == 128);

// Which member of SigInfo's union a signal has (siginfo_layout of Linux).
enum class Layout { kKill, kQueue, kTimer, kPoll, kChild, kFault, kSys };

Layout LayoutOf(const SigInfo& info) {
  if (info.code == kSiTimer) return Layout::kTimer;
  if (info.code == kSiSigIo) return Layout::kPoll;
  if (info.code < 0) return Layout::kQueue;
  if (info.code == kSiUser || info.code >= kSiKernel) return Layout::kKill;
  switch (info.sig()) {
    case SigNo::kChld:
      return Layout::kChild;
    case SigNo::kIll:
    case SigNo::kFpe:
    case SigNo::kSegv:
    case SigNo::kBus:
    case SigNo::kTrap:
      return Layout::kFault;
    case SigNo::kIo:
      return Layout::kPoll;
    case SigNo::kSys:
      return Layout::kSys;
    default:
      return Layout::kKill;
  }
}

signalfd_siginfo ToWire(const SigInfo& info) {
  signalfd_siginfo out{};
  out.ssi_signo = static_cast<uint32_t>(info.signo);
  out.ssi_errno = info.error;
  out.ssi_code = info.code;
  switch (LayoutOf(info)) {
    case Layout::kQueue:
      out.ssi_ptr = info.kill.value;
      out.ssi_int = static_cast<int32_t>(info.kill.value);
      [[fallthrough]];
    case Layout::kKill:
      out.ssi_pid = static_cast<uint32_t>(info.kill.pid);
      out.ssi_uid = info.kill.uid;
      break;
    case Layout::kTimer:
      out.ssi_tid = static_cast<uint32_t>(info.timer.id);
      out.ssi_overrun = static_cast<uint32_t>(info.timer.overrun);
      out.ssi_ptr = info.timer.value;
      out.ssi_int = static_cast<int32_t>(info.timer.value);
      break;
    case Layout::kPoll:
      out.ssi_band = static_cast<uint32_t>(info.poll.band);
      out.ssi_fd = info.poll.fd;
      break;
    case Layout::kChild:
      out.ssi_pid = static_cast<uint32_t>(info.child.pid);
      out.ssi_uid = info.child.uid;
      out.ssi_status = info.child.status;
      out.ssi_utime = static_cast<uint64_t>(info.child.utime);
      out.ssi_stime = static_cast<uint64_t>(info.child.stime);
      break;
    case Layout::kFault:
      out.ssi_addr = info.fault.addr;
      out.ssi_addr_lsb = static_cast<uint16_t>(info.fault.addr_lsb);
      break;
    case Layout::kSys:
      out.ssi_call_addr = info.sys.call_addr;
      out.ssi_syscall = info.sys.syscall;
      out.ssi_arch = info.sys.arch;
      break;
  }
  return out;
}

}  // namespace

SignalFd::SignalFd(ThreadGroupRef owner, SigSet mask, uint32_t flags)
    : File(O_RDWR | flags), owner_(std::move(owner)), mask_((mask & ~kUnblockableSignals).bits) {}

void SignalFd::SetMask(SigSet mask) {
  mask_.store((mask & ~kUnblockableSignals).bits);
  owner_->signal_queue().Notify(kEventIn);
}

Result<size_t> SignalFd::Read(const CallContext& ctx, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  if (io.remaining() < sizeof(signalfd_siginfo)) return Errno::kINVAL;
  const TaskRef reader = owner_->kernel().FindTask(ctx.tid);
  if (reader == nullptr) return Errno::kAGAIN;
  size_t done = 0;
  while (io.remaining() >= sizeof(signalfd_siginfo)) {
    const Result<SigInfo> signal = reader->TakeSignal(mask());
    if (!signal.ok()) return done != 0 ? Result<size_t>(done) : signal.error();
    const signalfd_siginfo wire = ToWire(*signal);
    // As on Linux the signal is taken even when it cannot be stored.
    const size_t put = io.Write(&wire, sizeof(wire)).value_or(0);
    if (put < sizeof(wire)) return done != 0 ? Result<size_t>(done) : Errno::kFAULT;
    done += put;
  }
  return done;
}

EventMask SignalFd::PollFor(Task& task) const {
  const Task::SignalState signals = task.GetSignalState();
  return ((signals.pending | signals.group_pending) & mask()).empty() ? 0 : kEventIn;
}

EventMask SignalFd::Poll() {
  for (const TaskRef& task : owner_->Tasks()) {
    if (PollFor(*task) != 0) return kEventIn;
  }
  return 0;
}

WaitQueue* SignalFd::wait_queue() { return &owner_->signal_queue(); }

}  // namespace ringfence::sentry
