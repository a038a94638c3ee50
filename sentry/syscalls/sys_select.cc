// select(2), pselect6(2).
#include <algorithm>

#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/syscalls/poll_set.h"
#include "sentry/syscalls/time_abi.h"
#include "sentry/syscalls/timed_wait.h"

namespace ringfence::sentry {
namespace {

constexpr int32_t kMaxDescriptors = 1 << 16;
// What each of the three sets means (POLLIN_SET, POLLOUT_SET, POLLEX_SET of Linux).
constexpr EventMask kSetEvents[3] = {kEventRdNorm | kEventRdBand | kEventIn | kEventHup | kEventErr,
                                     kEventWrBand | kEventWrNorm | kEventOut | kEventErr,
                                     kEventPri};

class FdSets {
 public:
  // Copies in the sets that arguments 1 to 3 point to.
  Result<void> Load(SyscallContext& ctx, int32_t count) {
    words_ = (static_cast<size_t>(count) + 63) / 64;
    for (int s = 0; s < 3; ++s) {
      in_[s].assign(words_, 0);
      out_[s].assign(words_, 0);
      present_[s] = ctx.Arg(s + 1) != 0;
      if (!present_[s]) continue;
      in_[s] = TRY(ctx.In<uint64_t>(s + 1).LoadArray(ctx.mm(), words_, words_));
    }
    return Ok();
  }
  bool Has(int s, int32_t fd) const { return ((in_[s][fd / 64] >> (fd % 64)) & 1) != 0; }
  void Add(int s, int32_t fd) { out_[s][fd / 64] |= uint64_t{1} << (fd % 64); }
  Result<void> Store(SyscallContext& ctx) const {
    for (int s = 0; s < 3; ++s) {
      if (!present_[s]) continue;
      TRY(ctx.Out<uint64_t>(s + 1).StoreArray(ctx.mm(), out_[s].data(), words_));
    }
    return Ok();
  }

 private:
  size_t words_ = 0;
  bool present_[3] = {};
  std::vector<uint64_t> in_[3], out_[3];
};

Result<int64_t> SelectFiles(SyscallContext& ctx, const Deadline& deadline) {
  if (ctx.Int(0) < 0) return Errno::kINVAL;
  const int32_t count = std::min(ctx.Int(0), kMaxDescriptors);
  FdSets sets;
  TRY(sets.Load(ctx, count));
  PollSet polled;
  std::vector<int32_t> numbers;
  for (int32_t fd = 0; fd < count; ++fd) {
    EventMask events = 0;
    for (int s = 0; s < 3; ++s) {
      if (sets.Has(s, fd)) events |= kSetEvents[s];
    }
    if (events == 0) continue;
    polled.Add(TRY(ctx.fds().GetUsable(static_cast<Fd>(fd))), events);
    numbers.push_back(fd);
  }
  TRY(polled.Wait(ctx.task(), ctx.call(), deadline));
  int64_t ready = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    for (int s = 0; s < 3; ++s) {
      if (!sets.Has(s, numbers[i]) || (polled.ready(i) & kSetEvents[s]) == 0) continue;
      sets.Add(s, numbers[i]);
      ++ready;
    }
  }
  TRY(sets.Store(ctx));
  return ready;
}

}  // namespace

Result<int64_t> SysSelect(SyscallContext& ctx) {
  Deadline deadline = Deadline::Never();
  if (ctx.Arg(4) != 0) {
    const GuestTimeval t = TRY(ctx.In<GuestTimeval>(4).Load(ctx.mm()));
    // Microseconds beyond a second are carried over, as Linux does here.
    if (t.sec < 0 || t.usec < 0) return Errno::kINVAL;
    const Timespec sum{SaturatingAdd(t.sec, t.usec / 1000000), t.usec % 1000000 * 1000};
    deadline = Deadline::After(TRY(ToNanos(sum)));
  }
  const Result<int64_t> result = SelectFiles(ctx, deadline);
  if (ctx.Arg(4) != 0 && (result.ok() || result.error() == Errno::kRESTARTNOHAND)) {
    (void)ctx.Out<GuestTimeval>(4).Store(ctx.mm(), ToTimeval(deadline.Remaining()));
  }
  return result;
}

Result<int64_t> SysPselect6(SyscallContext& ctx) {
  const Deadline deadline = TRY(LoadTimeout(ctx, 4));
  SignalMaskScope mask(ctx);
  if (ctx.Arg(5) != 0) {
    const GuestSigsetArg set = TRY(ctx.In<GuestSigsetArg>(5).Load(ctx.mm()));
    TRY(mask.Set(VirtAddr(set.set), set.size));
  }
  const Result<int64_t> result = SelectFiles(ctx, deadline);
  mask.Finish(result);
  if (result.ok() || result.error() == Errno::kRESTARTNOHAND) StoreRemaining(ctx, 4, deadline);
  return result;
}

}  // namespace ringfence::sentry
