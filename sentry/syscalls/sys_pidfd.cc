// pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).
#include <fcntl.h>

#include "sentry/fs/pidfd/pidfd.h"
#include "sentry/kernel/kill.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysPtrace = 19;

// Keeps what the process is named by alive.
struct ProcessArg {
  FileRef file;
  ThreadGroupRef found;
  ThreadGroup* process = nullptr;
};

Result<ProcessArg> ProcessOf(FileRef file) {
  if (file->AsProcess() == nullptr) return Errno::kBADF;
  ThreadGroup* const process = file->AsProcess()->process().get();
  return ProcessArg{std::move(file), nullptr, process};
}

// A descriptor of /proc/PID will do as well. As everywhere in our /proc that is a number: a process
// that comes later and has the same is meant then.
Result<ProcessArg> LoadSignalTarget(SyscallContext& ctx, int arg) {
  FileRef file = TRY(ctx.FileArg(arg));
  const int32_t pid = file->inode() == nullptr ? 0 : file->inode()->ProcessId();
  if (pid == 0) return ProcessOf(std::move(file));
  ThreadGroupRef found = ctx.kernel().FindThreadGroup(pid);
  if (found == nullptr) return Errno::kSRCH;
  ThreadGroup* const process = found.get();
  return ProcessArg{std::move(file), std::move(found), process};
}

// PTRACE_MODE_ATTACH_REALCREDS of ptrace(2).
Result<void> CheckAttach(SyscallContext& ctx, const Task& target) {
  if (&target.group() == &ctx.group()) return Ok();
  const Credentials& mine = *ctx.call().creds;
  if (mine.HasCapability(kCapSysPtrace)) return Ok();
  const CredentialsRef theirs = target.creds();
  const bool same = mine.ruid == theirs->ruid && mine.ruid == theirs->euid &&
                    mine.ruid == theirs->suid && mine.rgid == theirs->rgid &&
                    mine.rgid == theirs->egid && mine.rgid == theirs->sgid;
  if (!same || target.group().dumpable.load() != 1) return Errno::kPERM;
  return Ok();
}

}  // namespace

Result<int64_t> SysPidfdOpen(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(1);
  if ((flags & ~static_cast<uint32_t>(O_NONBLOCK)) != 0 || ctx.Int(0) <= 0) return Errno::kINVAL;
  ThreadGroupRef process = ctx.kernel().FindThreadGroup(ctx.Int(0));
  if (process == nullptr) {
    // A thread has a number, but is no process.
    return ctx.kernel().FindTask(ctx.Int(0)) == nullptr ? Errno::kSRCH : Errno::kNOENT;
  }
  return ctx.InstallFd(std::make_shared<ProcessFd>(std::move(process), flags), true);
}

Result<int64_t> SysPidfdSendSignal(SyscallContext& ctx) {
  if (ctx.Uint(3) != 0) return Errno::kINVAL;
  const ProcessArg arg = TRY(LoadSignalTarget(ctx, 0));
  const SigNo sig = ctx.Sig(1);
  SigInfo info = SigInfo::User(sig, kSiUser, ctx.task().tgid(), ctx.call().creds->ruid);
  if (ctx.Arg(2) != 0) {
    info = TRY(ctx.In<SigInfo>(2).Load(ctx.mm()));
    if (info.sig() != sig) return Errno::kINVAL;
    const bool forged = info.code >= 0 || info.code == kSiTkill;
    if (forged && arg.process != &ctx.group()) return Errno::kPERM;
  }
  return Done(SignalProcess(ctx.task(), *arg.process, info));
}

Result<int64_t> SysPidfdGetfd(SyscallContext& ctx) {
  if (ctx.Uint(2) != 0) return Errno::kINVAL;
  const ProcessArg arg = TRY(ProcessOf(TRY(ctx.FileArg(0))));
  const TaskRef leader = arg.process->leader();
  if (leader == nullptr) return Errno::kSRCH;
  TRY(CheckAttach(ctx, *leader));
  const std::shared_ptr<FdTable> table = leader->fds_ref();
  if (table == nullptr) return Errno::kSRCH;
  return ctx.InstallFd(TRY(table->Get(ctx.FdArg(1))), true);
}

}  // namespace ringfence::sentry
