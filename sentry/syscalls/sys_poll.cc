// poll(2), ppoll(2).
#include <poll.h>

#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/poll_set.h"
#include "sentry/syscalls/timed_wait.h"

namespace ringfence::sentry {
namespace {

struct PollRequest {
  GuestInOut<struct pollfd> fds;
  uint64_t count;
};

Result<int64_t> PollOnce(Task& task, const CallContext& call, const PollRequest& request,
                         const Deadline& deadline) {
  std::vector<struct pollfd> fds =
      TRY(request.fds.LoadArray(task.mm(), request.count, request.count));
  PollSet set;
  std::vector<size_t> positions;
  positions.reserve(fds.size());
  for (size_t i = 0; i < fds.size(); ++i) {
    fds[i].revents = 0;
    if (fds[i].fd < 0) continue;
    const Result<FileRef> file = task.fds().GetUsable(static_cast<Fd>(fds[i].fd));
    if (!file.ok()) {
      fds[i].revents = POLLNVAL;
      set.AddReady(1);
      continue;
    }
    set.Add(*file, static_cast<uint16_t>(fds[i].events) | kEventErr | kEventHup);
    positions.push_back(i);
  }
  const int64_t ready = TRY(set.Wait(task, call, deadline));
  for (size_t i = 0; i < positions.size(); ++i) {
    fds[positions[i]].revents = static_cast<int16_t>(set.ready(i));
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    const VirtAddr field = TRY(TRY(request.fds.At(i)).Add(offsetof(struct pollfd, revents)));
    TRY(task.mm().CopyOut(field, &fds[i].revents, sizeof(fds[i].revents)));
  }
  return ready;
}

Result<PollRequest> DecodePoll(SyscallContext& ctx) {
  if (ctx.Uint(1) > ctx.FdLimit()) return Errno::kINVAL;
  return PollRequest{GuestInOut<struct pollfd>(ctx.Arg(0)), ctx.Uint(1)};
}

}  // namespace

Result<int64_t> SysPoll(SyscallContext& ctx) {
  const PollRequest request = TRY(DecodePoll(ctx));
  const int32_t ms = ctx.Int(2);
  const Deadline deadline = ms < 0 ? Deadline::Never() : Deadline::After(int64_t{ms} * 1'000'000);
  const Result<int64_t> result = PollOnce(ctx.task(), ctx.call(), request, deadline);
  if (result.ok() || result.error() != Errno::kRESTARTNOHAND) return result;
  // Goes on with what is left of the timeout unless a handler runs.
  ctx.task().SetRestart([request, deadline](Task& self) -> int64_t {
    const Result<int64_t> again = PollOnce(self, self.call_context(), request, deadline);
    return again.ok() ? *again : -static_cast<int64_t>(again.error());
  });
  return Errno::kRESTART_RESTARTBLOCK;
}

Result<int64_t> SysPpoll(SyscallContext& ctx) {
  const PollRequest request = TRY(DecodePoll(ctx));
  const Deadline deadline = TRY(LoadTimeout(ctx, 2));
  SignalMaskScope mask(ctx);
  TRY(mask.Set(ctx.Addr(3), ctx.Arg(4)));
  const Result<int64_t> result = PollOnce(ctx.task(), ctx.call(), request, deadline);
  mask.Finish(result);
  StoreRemaining(ctx, 2, deadline);
  return result;
}

}  // namespace ringfence::sentry
