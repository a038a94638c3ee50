#include "sentry/vfs/file_locks.h"

#include <catch2/catch.hpp>
#include <limits>

namespace ringfence::sentry {
namespace {

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

RecordLock Lock(uint64_t owner, bool exclusive, int64_t start, int64_t end) {
  return {owner, static_cast<int32_t>(owner), exclusive, {start, end}};
}

bool Free(const FileLocks& locks, int64_t start, int64_t end) {
  return !locks.FindConflict(Lock(99, true, start, end)).has_value();
}

TEST_CASE("record locks of two owners") {
  FileLocks locks;
  REQUIRE(locks.Lock(Lock(1, true, 10, 19)).ok());
  CHECK(locks.Lock(Lock(2, false, 19, 30)).error() == Errno::kAGAIN);
  CHECK(locks.Lock(Lock(2, false, 20, 30)).ok());
  CHECK(locks.Lock(Lock(3, false, 25, kEnd)).ok());  // shared with shared
  CHECK(locks.Lock(Lock(3, true, 25, kEnd)).error() == Errno::kAGAIN);
  const auto found = locks.FindConflict(Lock(2, false, 0, kEnd));
  REQUIRE(found.has_value());
  CHECK(found->owner == 1);
  CHECK(found->range.end == 19);
  locks.UnlockAll(1);
  CHECK(!locks.FindConflict(Lock(2, false, 0, kEnd)).has_value());
}

TEST_CASE("unlocking the middle splits, locking the gap joins") {
  FileLocks locks;
  REQUIRE(locks.Lock(Lock(1, true, 0, 99)).ok());
  REQUIRE(locks.Unlock(Lock(1, false, 40, 59)).ok());
  CHECK(Free(locks, 40, 59));
  CHECK(!Free(locks, 39, 39));
  CHECK(!Free(locks, 60, 60));
  REQUIRE(locks.Lock(Lock(1, true, 40, 59)).ok());
  const auto found = locks.FindConflict(Lock(2, true, 50, 50));
  REQUIRE(found.has_value());
  CHECK(found->range.start == 0);
  CHECK(found->range.end == 99);
}

TEST_CASE("an owner converts its own lock") {
  FileLocks locks;
  REQUIRE(locks.Lock(Lock(1, true, 0, kEnd)).ok());
  REQUIRE(locks.Lock(Lock(1, false, 5, 6)).ok());
  CHECK(locks.Lock(Lock(2, false, 5, 6)).ok());
  CHECK(locks.Lock(Lock(2, false, 7, 7)).error() == Errno::kAGAIN);
}

TEST_CASE("the number of locks is bounded") {
  FileLocks locks;
  int64_t at = 0;
  while (locks.Lock(Lock(1, true, at, at)).ok()) at += 2;
  CHECK(at == 2 * static_cast<int64_t>(FileLocks::kMaxLocks));
  locks.UnlockAll(1);
  CHECK(Free(locks, 0, kEnd));
}

TEST_CASE("flock") {
  FileLocks locks;
  const int a = 0, b = 0;
  REQUIRE(locks.LockWhole(&a, true).ok());
  CHECK(locks.LockWhole(&b, false).error() == Errno::kAGAIN);
  REQUIRE(locks.LockWhole(&a, false).ok());
  REQUIRE(locks.LockWhole(&b, false).ok());
  CHECK(locks.LockWhole(&a, true).error() == Errno::kAGAIN);  // and a's lock is lost
  CHECK(locks.LockWhole(&b, true).ok());
  locks.UnlockWhole(&b);
  CHECK(locks.LockWhole(&a, true).ok());
  CHECK(Free(locks, 0, kEnd));  // the two kinds know nothing of each other
}

}  // namespace
}  // namespace ringfence::sentry
