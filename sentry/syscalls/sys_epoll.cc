// epoll_create1(2), epoll_ctl(2), epoll_wait(2), epoll_pwait(2), epoll_pwait2(2), eventfd2(2).
#include <fcntl.h>
#include <sys/epoll.h>

#include "sentry/fs/epoll/epoll.h"
#include "sentry/fs/eventfd/eventfd.h"
#include "sentry/syscalls/file_io.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/timed_wait.h"

namespace ringfence::sentry {
namespace {

constexpr int32_t kMaxEvents = 0x7fffffff / static_cast<int32_t>(sizeof(struct epoll_event));
constexpr size_t kEventsAtATime = 4096;

// The file and its epoll side. EBADF, EINVAL.
struct EpollRef {
  FileRef file;
  EpollFile* epoll;
};

Result<EpollRef> EpollArg(SyscallContext& ctx) {
  EpollRef ref;
  ref.file = TRY(ctx.FileArg(0));
  ref.epoll = ref.file->AsEpoll();
  if (ref.epoll == nullptr) return Errno::kINVAL;
  return ref;
}

Result<int64_t> Create(SyscallContext& ctx, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(O_CLOEXEC)) != 0) return Errno::kINVAL;
  return ctx.InstallFd(std::make_shared<EpollFile>(), flags != 0);
}

Result<int64_t> StoreEvents(SyscallContext& ctx, const std::vector<EpollFile::Event>& events) {
  std::vector<struct epoll_event> out(events.size());
  for (size_t i = 0; i < events.size(); ++i) {
    out[i].events = events[i].events;
    out[i].data.u64 = events[i].data;
  }
  TRY(ctx.Out<struct epoll_event>(1).StoreArray(ctx.mm(), out.data(), out.size()));
  return static_cast<int64_t>(out.size());
}

Result<int64_t> WaitForEvents(SyscallContext& ctx, const Deadline& deadline) {
  const int32_t max = ctx.Int(2);
  if (max <= 0 || max > kMaxEvents) return Errno::kINVAL;
  TRY(CheckUserRange(ctx.Addr(1), static_cast<uint64_t>(max) * sizeof(struct epoll_event)));
  const EpollRef ref = TRY(EpollArg(ctx));
  const size_t limit = std::min<size_t>(static_cast<size_t>(max), kEventsAtATime);
  const auto attempt = [&]() -> Result<std::vector<EpollFile::Event>> {
    std::vector<EpollFile::Event> events = ref.epoll->Collect(limit);
    if (events.empty() && !deadline.Passed()) return Errno::kAGAIN;
    return events;
  };
  const auto events =
      BlockUntil(ctx.task(), ctx.call(), ref.epoll->wait_queue(), kEventIn, deadline, attempt);
  if (events.ok()) return StoreEvents(ctx, *events);
  if (events.error() == Errno::kTIMEDOUT) return StoreEvents(ctx, ref.epoll->Collect(limit));
  // epoll_wait is never restarted after a handler (signal(7)).
  return events.error() == Errno::kRESTARTSYS ? Errno::kINTR : events.error();
}

Deadline MillisecondDeadline(int32_t ms) {
  return ms < 0 ? Deadline::Never() : Deadline::After(int64_t{ms} * 1'000'000);
}

Result<int64_t> WaitMasked(SyscallContext& ctx, const Deadline& deadline) {
  SignalMaskScope mask(ctx);
  TRY(mask.Set(ctx.Addr(4), ctx.Arg(5)));
  const Result<int64_t> result = WaitForEvents(ctx, deadline);
  mask.Finish(result);
  return result;
}

Result<int64_t> MakeEventFd(SyscallContext& ctx, uint32_t flags) {
  constexpr uint32_t kSemaphore = 1;
  if ((flags & ~(kSemaphore | O_CLOEXEC | O_NONBLOCK)) != 0) return Errno::kINVAL;
  return ctx.InstallFd(
      std::make_shared<EventFd>(ctx.Uint(0), (flags & kSemaphore) != 0, flags & O_NONBLOCK),
      (flags & O_CLOEXEC) != 0);
}

Result<void> CheckExclusive(int op, uint32_t events) {
  constexpr uint32_t kAllowed =
      EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | kEpollWakeup | kEpollEdge | kEpollExclusive;
  if ((events & kEpollExclusive) == 0) return Ok();
  if (op != EPOLL_CTL_ADD || (events & ~kAllowed) != 0) return Errno::kINVAL;
  return Ok();
}

}  // namespace

Result<int64_t> SysEpollCreate(SyscallContext& ctx) {
  if (ctx.Int(0) <= 0) return Errno::kINVAL;
  return Create(ctx, 0);
}

Result<int64_t> SysEpollCreate1(SyscallContext& ctx) { return Create(ctx, ctx.Uint(0)); }

Result<int64_t> SysEpollCtl(SyscallContext& ctx) {
  const int op = ctx.Int(1);
  EpollFile::Event event{};
  if (op != EPOLL_CTL_DEL) {
    const auto e = TRY(ctx.In<struct epoll_event>(3).Load(ctx.mm()));
    event = {e.events, e.data.u64};
  }
  const FileRef epoll_file = TRY(ctx.FileArg(0));
  const FileRef target = TRY(ctx.FileArg(2));
  EpollFile* const epoll = epoll_file->AsEpoll();
  if (target->wait_queue() == nullptr) return Errno::kPERM;
  if (epoll == nullptr || target == epoll_file) return Errno::kINVAL;
  const Fd fd = ctx.FdArg(2);
  if (op == EPOLL_CTL_DEL) return Done(epoll->Remove(fd, target));
  TRY(CheckExclusive(op, event.events));
  if (op == EPOLL_CTL_ADD) return Done(epoll->Add(fd, target, event));
  if (op == EPOLL_CTL_MOD) return Done(epoll->Modify(fd, target, event));
  return Errno::kINVAL;
}

Result<int64_t> SysEpollWait(SyscallContext& ctx) {
  return WaitForEvents(ctx, MillisecondDeadline(ctx.Int(3)));
}

Result<int64_t> SysEpollPwait(SyscallContext& ctx) {
  return WaitMasked(ctx, MillisecondDeadline(ctx.Int(3)));
}

Result<int64_t> SysEpollPwait2(SyscallContext& ctx) {
  return WaitMasked(ctx, TRY(LoadTimeout(ctx, 3)));
}

Result<int64_t> SysEventfd(SyscallContext& ctx) { return MakeEventFd(ctx, 0); }
Result<int64_t> SysEventfd2(SyscallContext& ctx) { return MakeEventFd(ctx, ctx.Uint(1)); }

}  // namespace ringfence::sentry
