#include "sentry/syscalls/file_io.h"

#include <limits.h>
#include <sys/uio.h>  // UIO_MAXIOV

#include <algorithm>

#include "sentry/kernel/kill.h"
#include "sentry/syscalls/socket_call.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

CallContext ContextFor(SyscallContext& ctx, const IoOptions& options) {
  CallContext call = ctx.call();
  if (options.no_wait) call.may_block = false;
  call.append = options.append;
  return call;
}

// The signal comes before the call returns, which only the task's own thread can do.
Errno SignalWith(SyscallContext& ctx, SigNo sig, Errno error) {
  if (!ctx.may_block()) return Errno::kWOULDBLOCK_RETRY_ON_TASK;
  Task& task = ctx.task();
  SendToTask(task, SigInfo::User(sig, kSiUser, task.tgid(), ctx.call().creds->ruid));
  return error;
}

// What the guest sees of an I/O error, and what else it gets.
Errno FinishError(SyscallContext& ctx, Errno error, const IoOptions& options) {
  if (error == Errno::kWOULDBLOCK_RETRY_ON_TASK && options.no_wait && ctx.may_block()) {
    return Errno::kAGAIN;
  }
  if (error == Errno::kPIPE) return RaisePipe(ctx);
  if (error == Errno::kFBIG) return FinishTooBig(ctx);
  return error;
}

bool MayWait(File& file, const IoOptions& options) {
  return !file.nonblocking() && !options.no_wait;
}

}  // namespace

Errno FinishTooBig(SyscallContext& ctx) {
  if (ctx.call().file_size_limit == kRlimInfinity) return Errno::kFBIG;
  return SignalWith(ctx, SigNo::kXfsz, Errno::kFBIG);
}

Result<void> CheckUserRange(VirtAddr addr, uint64_t length) {
  const uint64_t end = platform::kUserEnd.value();
  if (length > end || addr.value() > end - length) return Errno::kFAULT;
  return Ok();
}

Result<std::vector<UserIo::Segment>> LoadSegments(SyscallContext& ctx, int arg) {
  return SegmentsOf(ctx, ctx.In<GuestIovec>(arg), ctx.Arg(arg + 1));
}

Result<std::vector<UserIo::Segment>> SegmentsOf(SyscallContext& ctx, GuestIn<GuestIovec> from,
                                                uint64_t count) {
  const std::vector<GuestIovec> vectors = TRY(from.LoadArray(ctx.mm(), count, UIO_MAXIOV));
  std::vector<UserIo::Segment> segments;
  segments.reserve(vectors.size());
  uint64_t total = 0;
  for (const GuestIovec& v : vectors) {
    if (static_cast<int64_t>(v.length) < 0) return Errno::kINVAL;
    const VirtAddr addr(v.base);
    TRY(CheckUserRange(addr, v.length));
    const uint64_t length = std::min<uint64_t>(v.length, kMaxRwCount - total);
    total += length;
    if (length != 0) segments.push_back({addr, length});
  }
  return segments;
}

Errno RaisePipe(SyscallContext& ctx) { return SignalWith(ctx, SigNo::kPipe, Errno::kPIPE); }

Result<int64_t> ReadFile(SyscallContext& ctx, File& file, UserIo& io, const IoOptions& options) {
  if (!file.readable()) return Errno::kBADF;
  if (SocketFile* const socket = file.AsSocket()) return ReadSocket(ctx, *socket, io, options);
  const CallContext call = ContextFor(ctx, options);
  const auto attempt = [&] { return file.Read(call, io, options.offset); };
  Result<size_t> result = attempt();
  if (!result.ok() && result.error() == Errno::kAGAIN && MayWait(file, options)) {
    if (io.remaining() == 0) return int64_t{0};
    const int64_t timeout = file.ReadTimeoutNs();
    // Signals are the reader's, whoever made the descriptor.
    WaitQueue* const queue =
        file.AsSignal() != nullptr ? &ctx.group().signal_queue() : file.wait_queue();
    result = BlockUntil(ctx.task(), ctx.call(), queue, kEventIn | kEventRdHup,
                        timeout < 0 ? Deadline::Never() : Deadline::After(timeout), attempt);
    if (!result.ok() && result.error() == Errno::kTIMEDOUT) return int64_t{0};
  }
  if (!result.ok()) return FinishError(ctx, result.error(), options);
  if (*result != 0) Watches::OnFile(file, kWatchAccess);
  return static_cast<int64_t>(*result);
}

Result<int64_t> WriteFile(SyscallContext& ctx, File& file, UserIo& io, const IoOptions& options) {
  if (!file.writable()) return Errno::kBADF;
  if (SocketFile* const socket = file.AsSocket()) return WriteSocket(ctx, *socket, io, options);
  const CallContext call = ContextFor(ctx, options);
  const bool may_wait = MayWait(file, options);
  const bool waits = may_wait && file.wait_queue() != nullptr;
  // A long write to a pipe may have to wait in the middle; a service thread must not begin it.
  if (waits && io.remaining() > PIPE_BUF) TRY(ctx.RequireBlocking());
  const auto attempt = [&] { return file.Write(call, io, options.offset); };
  int64_t done = 0;
  while (true) {
    Result<size_t> result = attempt();
    if (!result.ok() && result.error() == Errno::kAGAIN && may_wait) {
      if (io.remaining() == 0) return int64_t{0};
      result = BlockUntil(ctx.task(), ctx.call(), file.wait_queue(), kEventOut, Deadline::Never(),
                          attempt);
    }
    if (!result.ok()) {
      if (done != 0) {
        if (result.error() == Errno::kPIPE) (void)RaisePipe(ctx);
        return done;
      }
      return FinishError(ctx, result.error(), options);
    }
    done += static_cast<int64_t>(*result);
    if (*result != 0) Watches::OnFile(file, kWatchModify);
    if (!waits || *result == 0 || io.remaining() == 0 || !ctx.may_block()) return done;
  }
}

}  // namespace ringfence::sentry
