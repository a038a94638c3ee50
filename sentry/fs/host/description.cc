#include "sentry/fs/host/description.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>

namespace ringfence::sentry {
namespace {

// A pipe that is writable takes this much without blocking.
constexpr size_t kPipeBuf = 4096;

HostDescription::Kind KindOf(uint32_t file_type, bool is_terminal) {
  if (is_terminal) return HostDescription::Kind::kTerminal;
  if (file_type == S_IFREG || file_type == S_IFBLK) return HostDescription::Kind::kRegular;
  return HostDescription::Kind::kStream;
}

}  // namespace

HostDescription::HostDescription(UniqueFd fd, HostFileOptions options, uint32_t mode,
                                 bool is_terminal)
    : fd_(std::move(fd)),
      options_(std::move(options)),
      file_type_(mode & S_IFMT),
      kind_(KindOf(file_type_, is_terminal)) {
  if (kind_ != Kind::kRegular && options_.notifier != nullptr) {
    watch_id_ = options_.notifier->Add(fd_.get(), this);
  }
}

HostDescription::~HostDescription() {
  if (watch_id_ != 0) options_.notifier->Remove(watch_id_, fd_.get());
}

EventMask HostDescription::ReadyNow() const {
  pollfd request{fd_.get(), POLLIN | POLLPRI | POLLOUT | POLLRDHUP, 0};
  if (poll(&request, 1, 0) <= 0) return 0;
  return static_cast<EventMask>(static_cast<uint16_t>(request.revents));
}

EventMask HostDescription::Poll() {
  if (kind_ == Kind::kRegular) return kEventIn | kEventOut;
  const EventMask ready = ReadyNow();
  Watch((kEventIn | kEventOut | kEventPri | kEventRdHup) & ~ready);
  return ready;
}

// A watch that is armed for these events already stays: it will fire.
void HostDescription::Watch(EventMask events) {
  if (watch_id_ == 0) return;
  absl::MutexLock lock(&mutex_);
  if ((events & ~watched_) == 0) return;
  watched_ |= events;
  options_.notifier->Arm(watch_id_, fd_.get(), watched_);
}

void HostDescription::OnHostEvents(EventMask events) {
  {
    absl::MutexLock lock(&mutex_);
    // The watch was one-shot: what it was armed for and has not come must be armed again, but not
    // after a hang-up, which would fire for ever and wakes everybody anyway.
    const bool over = (events & (kEventHup | kEventErr)) != 0;
    watched_ = over ? 0 : watched_ & ~events;
    if (watched_ != 0) options_.notifier->Arm(watch_id_, fd_.get(), watched_);
  }
  wait_queue_.Notify(events);
}

Result<size_t> HostDescription::Once(UserIo& io, size_t n, int64_t offset, Direction direction,
                                     int flags) {
  const bool reads = direction == Direction::kRead;
  return io.Direct(n, reads ? Access::kWrite : Access::kRead,
                   [&](absl::Span<const struct iovec> vectors) -> Result<size_t> {
                     const int count = static_cast<int>(vectors.size());
                     ssize_t moved;
                     do {
                       moved = reads ? preadv2(fd_.get(), vectors.data(), count, offset, flags)
                                     : pwritev2(fd_.get(), vectors.data(), count, offset, flags);
                     } while (moved < 0 && errno == EINTR && kind_ == Kind::kRegular);
                     if (moved >= 0) return static_cast<size_t>(moved);
                     return errno == EINTR ? Errno::kAGAIN : LastHostErrno();
                   });
}

Result<size_t> HostDescription::TransferPolled(const CallContext& ctx, UserIo& io, int64_t offset,
                                               Direction direction) {
  TRY(ctx.RequireBlocking());
  size_t n = io.remaining();
  if (kind_ != Kind::kRegular) {
    const bool reads = direction == Direction::kRead;
    const EventMask wanted =
        reads ? kEventIn | kEventHup | kEventErr | kEventRdHup : kEventOut | kEventErr | kEventHup;
    if ((ReadyNow() & wanted) == 0) {
      Watch(reads ? kEventIn : kEventOut);
      // Ready between the two: whoever waits is told by the watch.
      return Errno::kAGAIN;
    }
    if (!reads) n = std::min(n, kPipeBuf);
  }
  Result<size_t> moved = Once(io, n, offset, direction, 0);
  if (!moved.ok() && moved.error() == Errno::kAGAIN) Watch(kEventIn | kEventOut);
  return moved;
}

Result<size_t> HostDescription::Transfer(const CallContext& ctx, UserIo& io, int64_t offset,
                                         Direction direction) {
  if (io.remaining() == 0) return size_t{0};
  if (!nowait_.load(std::memory_order_relaxed)) return TransferPolled(ctx, io, offset, direction);
  // Regular files may wait for the disk, but only on the task's own thread.
  const int flags = kind_ == Kind::kRegular && ctx.may_block ? 0 : RWF_NOWAIT;
  Result<size_t> moved = Once(io, io.remaining(), offset, direction, flags);
  if (moved.ok()) return moved;
  if (moved.error() == Errno::kOPNOTSUPP && flags != 0) {
    nowait_.store(false, std::memory_order_relaxed);
    return TransferPolled(ctx, io, offset, direction);
  }
  if (moved.error() != Errno::kAGAIN) return moved;
  if (kind_ == Kind::kRegular) {
    TRY(ctx.RequireBlocking());
    return moved;
  }
  Watch(direction == Direction::kRead ? kEventIn : kEventOut);
  return moved;
}

Result<size_t> HostDescription::Read(const CallContext& ctx, UserIo& io, int64_t offset) {
  return Transfer(ctx, io, offset, Direction::kRead);
}

Result<size_t> HostDescription::Write(const CallContext& ctx, UserIo& io, int64_t offset) {
  return Transfer(ctx, io, offset, Direction::kWrite);
}

}  // namespace ringfence::sentry
