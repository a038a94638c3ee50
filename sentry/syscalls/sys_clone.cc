// fork(2), vfork(2), clone(2), clone3(2), unshare(2) and thread set-up: set_tid_address(2),
// set_robust_list(2).
#include "sentry/fs/pidfd/pidfd.h"
#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/struct_arg.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kExitSignalMask = 0xff;
constexpr uint64_t kNamespaces = kCloneNewNs | kCloneNewCgroup | kCloneNewUts | kCloneNewIpc |
                                 kCloneNewUser | kCloneNewPid | kCloneNewNet;
constexpr uint64_t kCloneIntoCgroup = 0x200000000;
constexpr uint64_t kRobustListHeadSize = 24;
constexpr int kCapSysPtrace = 19;

SigNo ExitSignal(uint64_t number) {
  const SigNo sig = static_cast<SigNo>(number);
  return IsValid(sig) ? sig : SigNo::kNone;
}

Result<int64_t> CloneTask(SyscallContext& ctx, const CloneArgs& args) {
  // As a kernel that is configured without namespaces.
  if ((args.flags & (kNamespaces | kCloneNewTime | kCloneIntoCgroup)) != 0) return Errno::kINVAL;
  return static_cast<int64_t>(TRY(ctx.task().Clone(args)));
}

// CLONE_PIDFD: also makes a descriptor of the child and stores its number at `at`.
Result<int64_t> CloneWithDescriptor(SyscallContext& ctx, CloneArgs args, VirtAddr at) {
  if ((args.flags & (kCloneThread | kCloneDetached)) != 0) return Errno::kINVAL;
  // The child must not get the descriptor, so it is made afterwards; what could fail then is tried
  // before there is a child.
  const int64_t probe =
      TRY(ctx.InstallFd(std::make_shared<ProcessFd>(ctx.task().group_ref(), 0), true));
  (void)ctx.fds().Close(static_cast<Fd>(probe));
  TRY(ctx.mm().CopyOut(at, &probe, sizeof(int32_t)));
  ThreadGroupRef child;
  args.process = &child;
  const int64_t number = TRY(CloneTask(ctx, args));
  const auto fd = static_cast<int32_t>(
      ctx.InstallFd(std::make_shared<ProcessFd>(std::move(child), 0), true).value_or(-1));
  (void)ctx.mm().CopyOut(at, &fd, sizeof(fd));
  return number;
}

Result<void> CheckClone3(const GuestCloneArgs& a) {
  constexpr uint64_t kKnown = (kCloneClearSighand | kCloneIntoCgroup) * 2 - 1;
  if ((a.flags & ~kKnown & ~kCloneIntoCgroup) != 0) return Errno::kINVAL;
  if ((a.flags & (kCloneDetached | (kExitSignalMask & ~kCloneNewTime))) != 0) return Errno::kINVAL;
  if ((a.exit_signal & ~kExitSignalMask) != 0 || a.exit_signal > uint64_t{kNumSignals}) {
    return Errno::kINVAL;
  }
  if ((a.flags & (kCloneThread | kCloneParent)) != 0 && a.exit_signal != 0) return Errno::kINVAL;
  if ((a.flags & kCloneSighand) != 0 && (a.flags & kCloneClearSighand) != 0) return Errno::kINVAL;
  if ((a.stack == 0) != (a.stack_size == 0)) return Errno::kINVAL;
  if (a.stack + a.stack_size < a.stack) return Errno::kINVAL;
  if (a.set_tid != 0 || a.set_tid_size != 0) return Errno::kINVAL;
  return Ok();
}

}  // namespace

Result<int64_t> SysClone(SyscallContext& ctx) {
  CloneArgs args;
  args.flags = ctx.Arg(0) & 0xffffffff & ~kExitSignalMask;
  args.exit_signal = ExitSignal(ctx.Arg(0) & kExitSignalMask);
  args.stack = ctx.Arg(1);
  args.parent_tid = ctx.Addr(2);
  args.child_tid = ctx.Addr(3);
  args.tls = ctx.Arg(4);
  if ((args.flags & kClonePidfd) == 0) return CloneTask(ctx, args);
  if ((args.flags & kCloneParentSetTid) != 0) return Errno::kINVAL;  // the same argument
  return CloneWithDescriptor(ctx, args, args.parent_tid);
}

Result<int64_t> SysClone3(SyscallContext& ctx) {
  const auto a = TRY(LoadStruct<GuestCloneArgs>(ctx.mm(), ctx.Addr(0), ctx.Arg(1), 64));
  TRY(CheckClone3(a));
  CloneArgs args;
  args.flags = a.flags;
  args.exit_signal = ExitSignal(a.exit_signal);
  args.stack = a.stack + a.stack_size;
  args.parent_tid = VirtAddr(a.parent_tid);
  args.child_tid = VirtAddr(a.child_tid);
  args.tls = a.tls;
  if ((args.flags & kClonePidfd) == 0) return CloneTask(ctx, args);
  return CloneWithDescriptor(ctx, args, VirtAddr(a.pidfd));
}

Result<int64_t> SysFork(SyscallContext& ctx) { return CloneTask(ctx, {}); }

Result<int64_t> SysVfork(SyscallContext& ctx) {
  CloneArgs args;
  args.flags = kCloneVm | kCloneVfork;
  return CloneTask(ctx, args);
}

Result<int64_t> SysUnshare(SyscallContext& ctx) {
  const uint64_t flags = ctx.Arg(0);
  constexpr uint64_t kThreadState = kCloneThread | kCloneSighand | kCloneVm;
  constexpr uint64_t kHere = kCloneFiles | kCloneFs | kCloneSysvSem;
  if ((flags & ~(kThreadState | kHere | kNamespaces | kCloneNewTime)) != 0) return Errno::kINVAL;
  if ((flags & (kNamespaces | kCloneNewTime)) != 0) return Errno::kPERM;
  if ((flags & kThreadState) != 0 && ctx.group().NumTasks() > 1) return Errno::kINVAL;
  if ((flags & kCloneFiles) != 0) ctx.task().SetFds(ctx.fds().Clone());
  if ((flags & kCloneFs) != 0) ctx.task().SetFs(ctx.fs().Clone());
  return int64_t{0};
}

Result<int64_t> SysSetTidAddress(SyscallContext& ctx) {
  ctx.task().SetClearChildTid(ctx.Addr(0));
  return int64_t{ctx.task().tid()};
}

Result<int64_t> SysSetRobustList(SyscallContext& ctx) {
  if (ctx.Arg(1) != kRobustListHeadSize) return Errno::kINVAL;
  ctx.task().SetRobustList(ctx.Addr(0));
  return int64_t{0};
}

Result<int64_t> SysGetRobustList(SyscallContext& ctx) {
  const int32_t tid = ctx.Int(0);
  TaskRef other;
  if (tid != 0) {
    other = ctx.kernel().FindTask(tid);
    if (other == nullptr) return Errno::kSRCH;
    const bool same = &other->group() == &ctx.group();
    if (!same && other->creds()->ruid != ctx.call().creds->euid &&
        !ctx.call().creds->HasCapability(kCapSysPtrace)) {
      return Errno::kPERM;
    }
  }
  const VirtAddr head = (other == nullptr ? ctx.task() : *other).robust_list();
  TRY(ctx.Out<uint64_t>(2).Store(ctx.mm(), kRobustListHeadSize));
  return Done(ctx.Out<uint64_t>(1).Store(ctx.mm(), head.value()));
}

}  // namespace ringfence::sentry
