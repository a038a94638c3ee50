#include "sentry/fs/pipe/pipe.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "platform/base/addr.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysResource = 24;
constexpr size_t kFirstRing = 4096;

// The capacities of all pipes.
std::atomic<uint64_t> total_capacity{0};

// Counts `more` bytes if they are within the limit.
bool Reserve(uint64_t more) {
  uint64_t old = total_capacity.load(std::memory_order_relaxed);
  do {
    if (old + more > Pipe::kSoftTotal) return false;
  } while (!total_capacity.compare_exchange_weak(old, old + more, std::memory_order_relaxed));
  return true;
}

void Release(uint64_t bytes) { total_capacity.fetch_sub(bytes, std::memory_order_relaxed); }

}  // namespace

Pipe::Pipe() : capacity_(kDefaultCapacity) {
  if (Reserve(kDefaultCapacity)) return;
  capacity_ = kMinCapacity;
  total_capacity.fetch_add(kMinCapacity, std::memory_order_relaxed);
}

Pipe::~Pipe() { Release(capacity_); }

size_t Pipe::RoomLocked() const { return capacity_ > used_ ? capacity_ - used_ : 0; }

// Makes the ring hold `bytes`: most pipes carry little, so it starts at a page.
void Pipe::GrowLocked(size_t bytes) {
  if (bytes <= ring_.size()) return;
  size_t size = std::max(ring_.size(), kFirstRing);
  while (size < bytes) size *= 2;
  std::vector<std::byte> larger(size);
  const size_t first = std::min(used_, ring_.size() - head_);
  if (used_ != 0) {
    std::memcpy(larger.data(), ring_.data() + head_, first);
    std::memcpy(larger.data() + first, ring_.data(), used_ - first);
  }
  ring_ = std::move(larger);
  head_ = 0;
}

// Copies `n` bytes behind what is there and counts them only when all came.
bool Pipe::FillPieceLocked(UserIo& io, size_t n) {
  size_t done = 0;
  while (done < n) {
    const size_t tail = (head_ + used_ + done) % ring_.size();
    const size_t want = std::min(n - done, ring_.size() - tail);
    const size_t got = io.Read(ring_.data() + tail, want).value_or(0);
    if (got < want) return false;
    done += got;
  }
  used_ += n;
  return true;
}

// Page by page like Linux, the odd part first: what of a page is before a fault is not written.
Result<size_t> Pipe::FillLocked(UserIo& io, size_t n) {
  GrowLocked(used_ + n);
  size_t done = 0;
  size_t piece = n % kAtomic;
  while (done < n) {
    if (piece == 0) piece = kAtomic;
    if (!FillPieceLocked(io, piece)) return done != 0 ? Result<size_t>(done) : Errno::kFAULT;
    done += piece;
    piece = 0;
  }
  return done;
}

void Pipe::SkipLocked(size_t n) {
  used_ -= n;
  head_ = used_ == 0 ? 0 : (head_ + n) % ring_.size();
}

Result<size_t> Pipe::DrainLocked(UserIo& io, size_t n) {
  size_t done = 0;
  while (done < n) {
    const size_t want = std::min(n - done, ring_.size() - head_);
    Result<size_t> moved = io.Write(ring_.data() + head_, want);
    if (!moved.ok() && done == 0) return moved;
    const size_t got = moved.value_or(0);
    SkipLocked(got);
    done += got;
    if (got < want) break;
  }
  return done;
}

Result<size_t> Pipe::Read(UserIo& io, bool packets) {
  if (io.remaining() == 0) return size_t{0};
  size_t done = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (used_ == 0) {
      if (writers_ != 0) return Errno::kAGAIN;
      return size_t{0};
    }
    size_t n = std::min<uint64_t>(io.remaining(), used_);
    const bool packet = packets && !packets_.empty();
    const size_t packet_size = packet ? packets_.front() : 0;
    if (packet) n = std::min(n, packet_size);
    done = TRY(DrainLocked(io, n));
    if (packet) {
      SkipLocked(packet_size - done);
      packets_.pop_front();
    } else {
      // Packets read as a stream: the boundaries that went by are gone.
      for (size_t left = done; left != 0 && !packets_.empty();) {
        const size_t part = std::min(left, packets_.front());
        left -= part;
        packets_.front() -= part;
        if (packets_.front() == 0) packets_.pop_front();
      }
    }
  }
  wait_queue_.Notify(kEventOut);
  return done;
}

Result<size_t> Pipe::Peek(UserIo& io) const {
  absl::ReaderMutexLock lock(&mutex_);
  if (used_ == 0) return writers_ != 0 ? Result<size_t>(Errno::kAGAIN) : size_t{0};
  const size_t n = std::min<uint64_t>(io.remaining(), used_);
  size_t done = 0;
  while (done < n) {
    const size_t at = (head_ + done) % ring_.size();
    const size_t want = std::min(n - done, ring_.size() - at);
    const size_t got = TRY(io.Write(ring_.data() + at, want));
    done += got;
    if (got < want) break;
  }
  return done;
}

void Pipe::Unread(absl::Span<const std::byte> bytes) {
  if (bytes.empty()) return;
  {
    absl::MutexLock lock(&mutex_);
    GrowLocked(used_ + bytes.size());
    head_ = (head_ + ring_.size() - bytes.size()) % ring_.size();
    const size_t first = std::min(bytes.size(), ring_.size() - head_);
    std::memcpy(ring_.data() + head_, bytes.data(), first);
    std::memcpy(ring_.data(), bytes.data() + first, bytes.size() - first);
    used_ += bytes.size();
    if (!packets_.empty()) packets_.push_front(bytes.size());
  }
  wait_queue_.Notify(kEventIn);
}

Result<size_t> Pipe::Write(UserIo& io, bool packets) {
  if (io.remaining() == 0) return size_t{0};  // also without readers
  size_t done = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (readers_ == 0) return Errno::kPIPE;
    size_t n = io.remaining();
    if (packets) n = std::min<size_t>(n, kAtomic);
    const size_t room = RoomLocked();
    const size_t before = used_;
    if (packets && packets_.size() >= capacity_ / kAtomic) return Errno::kAGAIN;
    if (room == 0 || (n <= kAtomic && room < n)) return Errno::kAGAIN;
    n = std::min(n, room);
    done = TRY(FillLocked(io, n));
    // Every byte is in a packet as long as one boundary is known.
    if (packets && packets_.empty() && before != 0) packets_.push_back(before);
    if (packets || !packets_.empty()) packets_.push_back(done);
  }
  wait_queue_.Notify(kEventIn);
  return done;
}

Result<uint64_t> Pipe::SetCapacity(const CallContext& ctx, uint64_t bytes) {
  if (bytes > (uint64_t{1} << 31)) return Errno::kINVAL;
  const uint64_t capacity = std::bit_ceil(std::max(bytes, uint64_t{kPageSize}));
  absl::MutexLock lock(&mutex_);
  if (capacity > capacity_ && capacity > kMaxCapacity &&
      !ctx.creds->HasCapability(kCapSysResource)) {
    return Errno::kPERM;
  }
  if (capacity < used_) return Errno::kBUSY;
  if (capacity > capacity_ && !Reserve(capacity - capacity_)) return Errno::kPERM;
  if (capacity < capacity_) Release(capacity_ - capacity);
  capacity_ = capacity;
  return capacity;
}

uint64_t Pipe::capacity() const {
  absl::ReaderMutexLock lock(&mutex_);
  return capacity_;
}

uint64_t Pipe::available() const {
  absl::ReaderMutexLock lock(&mutex_);
  return used_;
}

EventMask Pipe::Poll(bool reader, bool writer, uint64_t quiet_generation) const {
  absl::ReaderMutexLock lock(&mutex_);
  EventMask events = 0;
  if (reader) {
    if (used_ != 0) events |= kEventIn;
    if (writers_ == 0 && writer_generation_ != quiet_generation) events |= kEventHup;
  }
  if (writer) {
    if (RoomLocked() >= kAtomic) events |= kEventOut;
    if (readers_ == 0) events |= kEventErr;
  }
  return events;
}

Pipe::Ends Pipe::OpenEnd(bool reader, bool writer) {
  Ends opened;
  {
    absl::MutexLock lock(&mutex_);
    readers_ += reader ? 1 : 0;
    writers_ += writer ? 1 : 0;
    reader_generation_ += reader ? 1 : 0;
    writer_generation_ += writer ? 1 : 0;
    opened = {readers_, writers_, reader_generation_, writer_generation_};
  }
  wait_queue_.Notify(kEventIn | kEventOut);
  return opened;
}

void Pipe::CloseEnd(bool reader, bool writer) {
  EventMask events = 0;
  {
    absl::MutexLock lock(&mutex_);
    readers_ -= reader ? 1 : 0;
    writers_ -= writer ? 1 : 0;
    if (reader && readers_ == 0) events |= kEventErr | kEventOut;
    if (writer && writers_ == 0) events |= kEventHup | kEventIn;
    // A fifo's data goes with its last end.
    if (readers_ == 0 && writers_ == 0) {
      used_ = head_ = 0;
      std::vector<std::byte>().swap(ring_);
      packets_.clear();
    }
  }
  if (events != 0) wait_queue_.Notify(events);
}

Pipe::Ends Pipe::ends() const {
  absl::ReaderMutexLock lock(&mutex_);
  return Ends{readers_, writers_, reader_generation_, writer_generation_};
}

}  // namespace ringfence::sentry
