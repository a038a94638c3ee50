#include "sentry/fs/eventfd/eventfd.h"

#include <fcntl.h>

namespace ringfence::sentry {

EventFd::EventFd(uint64_t count, bool semaphore, uint32_t flags)
    : File(O_RDWR | flags), semaphore_(semaphore), count_(count) {}

Result<size_t> EventFd::Read(const CallContext&, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  if (io.remaining() < sizeof(uint64_t)) return Errno::kINVAL;
  uint64_t value;
  {
    absl::MutexLock lock(&mutex_);
    if (count_ == 0) return Errno::kAGAIN;
    value = semaphore_ ? 1 : count_;
    count_ -= value;
  }
  queue_.Notify(kEventOut);
  // As on Linux the value is taken even when it cannot be stored.
  if (TRY(io.Write(&value, sizeof(value))) != sizeof(value)) return Errno::kFAULT;
  return sizeof(value);
}

Result<size_t> EventFd::Write(const CallContext&, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  if (io.remaining() < sizeof(uint64_t)) return Errno::kINVAL;
  uint64_t value;
  UserIo probe = io;  // EAGAIN must leave `io` where it is
  if (TRY(probe.Read(&value, sizeof(value))) != sizeof(value)) return Errno::kFAULT;
  if (value > kMax) return Errno::kINVAL;
  {
    absl::MutexLock lock(&mutex_);
    if (value > kMax - count_) return Errno::kAGAIN;
    count_ += value;
  }
  io = probe;
  queue_.Notify(kEventIn);
  return sizeof(value);
}

EventMask EventFd::Poll() {
  absl::MutexLock lock(&mutex_);
  EventMask events = 0;
  if (count_ != 0) events |= kEventIn;
  if (count_ < kMax) events |= kEventOut;
  return events;
}

}  // namespace ringfence::sentry
