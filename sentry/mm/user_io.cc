#include "sentry/mm/user_io.h"

#include <algorithm>
#include <cstring>

namespace ringfence::sentry {

UserIo::UserIo(MemoryManager* mm, std::vector<Segment> segments)
    : mm_(mm), segments_(std::move(segments)) {
  for (const Segment& segment : segments_) remaining_ += segment.length;
  Advance(0);
}

UserIo::UserIo(MemoryManager* mm, VirtAddr addr, uint64_t length)
    : UserIo(mm, std::vector<Segment>{{addr, length}}) {}

UserIo::UserIo(absl::Span<std::byte> buffer) : buffer_(buffer), remaining_(buffer.size()) {}

// Moves the position on by n, which is at most remaining_, and over empty segments.
void UserIo::Advance(uint64_t n) {
  done_ += n;
  remaining_ -= n;
  if (mm_ == nullptr) return;
  while (segment_ < segments_.size()) {
    const uint64_t left = segments_[segment_].length - segment_offset_;
    if (n < left) {
      segment_offset_ += n;
      return;
    }
    n -= left;
    ++segment_;
    segment_offset_ = 0;
  }
}

// Calls move(addr, bytes already moved, bytes) for each piece of guest memory.
template <typename Move>
Result<size_t> UserIo::ForEachPiece(size_t n, Move move) {
  n = std::min<uint64_t>(n, remaining_);
  size_t done = 0;
  while (done < n) {
    const Segment& segment = segments_[segment_];
    const size_t part = std::min<uint64_t>(n - done, segment.length - segment_offset_);
    const auto at = segment.addr.Add(segment_offset_);
    const Result<size_t> moved = at.ok() ? move(*at, done, part) : Result<size_t>(Errno::kFAULT);
    if (!moved.ok()) {
      if (done == 0) return moved.error();
      break;
    }
    Advance(*moved);
    done += *moved;
    if (*moved < part) break;
  }
  return done;
}

Result<size_t> UserIo::Write(const void* src, size_t n) {
  if (mm_ == nullptr) {
    n = std::min<uint64_t>(n, remaining_);
    if (n != 0) memcpy(buffer_.data() + done_, src, n);
    Advance(n);
    return n;
  }
  const auto* bytes = static_cast<const std::byte*>(src);
  return ForEachPiece(n, [&](VirtAddr at, size_t offset, size_t part) {
    return mm_->CopyOutSome(at, bytes + offset, part);
  });
}

Result<size_t> UserIo::Read(void* dst, size_t n) {
  if (mm_ == nullptr) {
    n = std::min<uint64_t>(n, remaining_);
    if (n != 0) memcpy(dst, buffer_.data() + done_, n);
    Advance(n);
    return n;
  }
  auto* bytes = static_cast<std::byte*>(dst);
  return ForEachPiece(n, [&](VirtAddr at, size_t offset, size_t part) {
    return mm_->CopyInSome(bytes + offset, at, part);
  });
}

Result<size_t> UserIo::WriteZeros(size_t n) {
  if (mm_ == nullptr) {
    n = std::min<uint64_t>(n, remaining_);
    if (n != 0) memset(buffer_.data() + done_, 0, n);
    Advance(n);
    return n;
  }
  static constexpr std::byte kZeros[kPageSize] = {};
  size_t done = 0;
  n = std::min<uint64_t>(n, remaining_);
  while (done < n) {
    const size_t part = std::min(n - done, sizeof(kZeros));
    const auto moved = Write(kZeros, part);
    if (!moved.ok()) return done == 0 ? moved : Result<size_t>(done);
    done += *moved;
    if (*moved < part) break;
  }
  return done;
}

Result<size_t> UserIo::Direct(size_t n, Access access, HostIo io) {
  n = std::min<uint64_t>(n, remaining_);
  if (n == 0) return size_t{0};
  if (mm_ == nullptr) {
    const struct iovec whole { buffer_.data() + done_, n };
    const size_t moved = TRY(io(absl::MakeConstSpan(&whole, 1)));
    Advance(std::min(moved, n));
    return moved;
  }
  // All segments that fit into one vector: a readv of small pieces is one host call.
  std::vector<std::unique_ptr<MemoryManager::Pinned>> pins;
  std::vector<struct iovec> iovecs;
  size_t bytes = 0;
  size_t segment = segment_;
  uint64_t offset = segment_offset_;
  constexpr size_t kMaxIovecs = 256;
  while (bytes < n && segment < segments_.size() && iovecs.size() < kMaxIovecs) {
    const uint64_t left = segments_[segment].length - offset;
    if (left == 0) {
      ++segment;
      offset = 0;
      continue;
    }
    const size_t part = std::min<uint64_t>(n - bytes, left);
    const auto at = segments_[segment].addr.Add(offset);
    auto pinned = at.ok() ? mm_->Pin(*at, part, access)
                          : Result<std::unique_ptr<MemoryManager::Pinned>>(at.error());
    if (!pinned.ok()) {
      if (bytes == 0) return pinned.error();
      break;
    }
    for (const struct iovec& v : (*pinned)->iovecs()) {
      if (iovecs.size() == kMaxIovecs) break;
      iovecs.push_back(v);
      bytes += v.iov_len;
      offset += v.iov_len;
    }
    pins.push_back(std::move(*pinned));
  }
  const size_t moved = TRY(io(iovecs));
  Advance(std::min(moved, bytes));
  return moved;
}

}  // namespace ringfence::sentry
