#include "sentry/vfs/file_locks.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace ringfence::sentry {
namespace {

bool Overlap(const RecordRange& a, const RecordRange& b) {
  return a.start <= b.end && b.start <= a.end;
}

// Do they overlap, or does one begin where the other ends?
bool Touch(const RecordRange& a, const RecordRange& b) {
  const auto behind = [](int64_t end) {
    return end == std::numeric_limits<int64_t>::max() ? end : end + 1;
  };
  return a.start <= behind(b.end) && b.start <= behind(a.end);
}

}  // namespace

const RecordLock* FileLocks::FindConflictLocked(const RecordLock& wanted) const {
  for (const RecordLock& lock : records_) {
    if (lock.owner == wanted.owner || !Overlap(lock.range, wanted.range)) continue;
    if (lock.exclusive || wanted.exclusive) return &lock;
  }
  return nullptr;
}

std::optional<RecordLock> FileLocks::FindConflict(const RecordLock& wanted) const {
  absl::ReaderMutexLock lock(&mutex_);
  const RecordLock* found = FindConflictLocked(wanted);
  return found == nullptr ? std::nullopt : std::optional<RecordLock>(*found);
}

// Takes the range away from the owner's locks; one in whose middle it lies becomes two.
Result<void> FileLocks::CutOutLocked(const RecordLock& hole) {
  std::vector<RecordLock> kept;
  for (const RecordLock& lock : records_) {
    if (lock.owner != hole.owner || !Overlap(lock.range, hole.range)) {
      kept.push_back(lock);
      continue;
    }
    RecordLock part = lock;
    if (lock.range.start < hole.range.start) {
      part.range = {lock.range.start, hole.range.start - 1};
      kept.push_back(part);
    }
    if (lock.range.end > hole.range.end) {
      part.range = {hole.range.end + 1, lock.range.end};
      kept.push_back(part);
    }
  }
  if (kept.size() > kMaxLocks) return Errno::kNOLCK;
  records_ = std::move(kept);
  return Ok();
}

// Joins neighbours of the same owner and kind.
void FileLocks::AddLocked(RecordLock lock) {
  std::erase_if(records_, [&lock](const RecordLock& other) {
    if (other.owner != lock.owner || other.exclusive != lock.exclusive ||
        !Touch(other.range, lock.range)) {
      return false;
    }
    lock.range.start = std::min(lock.range.start, other.range.start);
    lock.range.end = std::max(lock.range.end, other.range.end);
    return true;
  });
  records_.push_back(lock);
}

Result<void> FileLocks::Lock(const RecordLock& wanted) {
  {
    absl::MutexLock lock(&mutex_);
    if (FindConflictLocked(wanted) != nullptr) return Errno::kAGAIN;
    if (records_.size() >= kMaxLocks) return Errno::kNOLCK;
    TRY(CutOutLocked(wanted));
    AddLocked(wanted);
  }
  if (!wanted.exclusive) queue_.Notify(kEventIn);  // it may have been exclusive before
  return Ok();
}

Result<void> FileLocks::Unlock(const RecordLock& range) {
  {
    absl::MutexLock lock(&mutex_);
    TRY(CutOutLocked(range));
  }
  queue_.Notify(kEventIn);
  return Ok();
}

void FileLocks::UnlockAll(uint64_t owner) {
  {
    absl::MutexLock lock(&mutex_);
    const auto has_owner = [owner](const RecordLock& r) { return r.owner == owner; };
    if (std::erase_if(records_, has_owner) == 0) return;
  }
  queue_.Notify(kEventIn);
}

Result<void> FileLocks::LockWhole(const void* file, bool exclusive) {
  Result<void> result;
  bool gone = false;
  {
    absl::MutexLock lock(&mutex_);
    for (const WholeLock& own : wholes_) {
      if (own.file == file && own.exclusive == exclusive) return Ok();
    }
    gone = std::erase_if(wholes_, [file](const WholeLock& w) { return w.file == file; }) != 0;
    const auto in_the_way = [exclusive](const WholeLock& w) { return exclusive || w.exclusive; };
    if (std::any_of(wholes_.begin(), wholes_.end(), in_the_way)) {
      result = Errno::kAGAIN;
    } else if (wholes_.size() >= kMaxLocks) {
      result = Errno::kNOLCK;
    } else {
      wholes_.push_back({file, exclusive});
    }
  }
  if (gone) queue_.Notify(kEventIn);
  return result;
}

void FileLocks::UnlockWhole(const void* file) {
  {
    absl::MutexLock lock(&mutex_);
    if (std::erase_if(wholes_, [file](const WholeLock& w) { return w.file == file; }) == 0) return;
  }
  queue_.Notify(kEventIn);
}

}  // namespace ringfence::sentry
