// open(2), dup(2), close(2), close_range(2), fcntl(2): which numbers, and who is told.
#include "sentry/vfs/fd_table.h"

#include <fcntl.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "sentry/vfs/testing.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kLimit = 1024;

struct Fixture {
  FileRef File(uint32_t flags = 0) { return std::make_shared<FakeFile>(&counts, flags); }
  int Install(uint32_t minimum = 0, uint32_t limit = kLimit, bool cloexec = false) {
    const Result<Fd> fd = table.Install(File(), cloexec, limit, minimum);
    return fd.ok() ? ToInt(*fd) : -static_cast<int>(fd.error());
  }
  std::vector<int> Open() {
    std::vector<int> numbers;
    for (const Fd fd : table.List()) numbers.push_back(ToInt(fd));
    return numbers;
  }
  FileCounts counts;
  FdTable table;
};

TEST_CASE("the lowest free number is given") {
  Fixture f;
  for (int i = 0; i < 5; ++i) CHECK(f.Install() == i);
  CHECK(f.table.Close(Fd{3}).ok());
  CHECK(f.table.Close(Fd{1}).ok());
  CHECK(f.Install() == 1);
  CHECK(f.Install() == 3);
  CHECK(f.Install() == 5);
  // F_DUPFD: from a minimum on, and the numbers below stay free.
  CHECK(f.table.Close(Fd{2}).ok());
  CHECK(f.Install(4) == 6);
  CHECK(f.Install(100) == 100);
  CHECK(f.Install() == 2);
  CHECK(f.Install() == 7);
  CHECK(f.Open() == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 100});
}

TEST_CASE("limits: EMFILE when full, EINVAL for a minimum beyond, EBADF for dup2") {
  Fixture f;
  for (int i = 0; i < 8; ++i) CHECK(f.Install(0, 8) == i);
  CHECK(f.Install(0, 8) == -EMFILE);
  CHECK(f.Install(3, 8) == -EMFILE);
  CHECK(f.Install(8, 8) == -EINVAL);
  CHECK(f.Install(0, 0) == -EMFILE);
  CHECK(f.table.InstallAt(Fd{8}, f.File(), false, 8).error() == Errno::kBADF);
  CHECK(f.table.InstallAt(Fd{-1}, f.File(), false, 8).error() == Errno::kBADF);
  CHECK(f.table.InstallAt(Fd{7}, f.File(), false, 8).ok());
  // Nobody gets beyond nr_open, whatever the limit says.
  CHECK(f.Install(1 << 20, ~0u) == -EINVAL);
  CHECK(f.table.InstallAt(Fd{1 << 20}, f.File(), false, ~0u).error() == Errno::kBADF);
  CHECK(f.table.Close(Fd{5}).ok());
  CHECK(f.Install(0, 8) == 5);
}

TEST_CASE("numbers that are not open") {
  Fixture f;
  CHECK(f.Install() == 0);
  for (const int number : {-1, 1, 1023, INT32_MAX, INT32_MIN}) {
    CHECK(f.table.Get(Fd{number}).error() == Errno::kBADF);
    CHECK(f.table.Close(Fd{number}).error() == Errno::kBADF);
    CHECK(f.table.GetCloexec(Fd{number}).error() == Errno::kBADF);
    CHECK(f.table.SetCloexec(Fd{number}, true).error() == Errno::kBADF);
  }
  CHECK(f.table.Close(Fd{0}).ok());
  CHECK(f.table.Close(Fd{0}).error() == Errno::kBADF);
}

TEST_CASE("O_PATH descriptors move no data") {
  Fixture f;
  const Fd fd = f.table.Install(f.File(O_PATH), false, kLimit).value();
  CHECK(f.table.Get(fd).ok());
  CHECK(f.table.GetUsable(fd).error() == Errno::kBADF);
}

TEST_CASE("each close flushes, the last reference drops") {
  Fixture f;
  FileRef file = f.File();
  CHECK(f.table.Install(file, false, kLimit).ok());
  CHECK(f.table.Install(file, false, kLimit).ok());
  CHECK(f.table.Close(Fd{0}).ok());
  CHECK(f.counts.flushed == 1);
  CHECK(f.counts.owner == f.table.owner_id());
  file.reset();
  CHECK(f.counts.dropped == 0);
  // dup2 onto it closes it.
  FileCounts other;
  CHECK(f.table.InstallAt(Fd{1}, std::make_shared<FakeFile>(&other), false, kLimit).ok());
  CHECK(f.counts.flushed == 2);
  CHECK(f.counts.dropped == 1);
  CHECK(other.flushed == 0);
}

TEST_CASE("close on exec") {
  Fixture f;
  CHECK(f.Install() == 0);
  CHECK(f.Install(0, kLimit, true) == 1);
  CHECK(f.Install() == 2);
  CHECK(f.table.GetCloexec(Fd{1}).value());
  CHECK_FALSE(f.table.GetCloexec(Fd{2}).value());
  CHECK(f.table.SetCloexec(Fd{2}, true).ok());
  f.table.CloseOnExec();
  CHECK(f.Open() == std::vector<int>{0});
  CHECK(f.counts.dropped == 2);
  // The flag went with the descriptor.
  CHECK(f.Install() == 1);
  CHECK_FALSE(f.table.GetCloexec(Fd{1}).value());
}

TEST_CASE("close_range, to the end of all numbers") {
  Fixture f;
  for (int i = 0; i < 10; ++i) f.Install();
  f.table.CloseRange(7, ~0u, true);
  CHECK(f.table.GetCloexec(Fd{7}).value());
  CHECK_FALSE(f.table.GetCloexec(Fd{6}).value());
  f.table.CloseRange(2, 4, false);
  CHECK(f.Open() == std::vector<int>{0, 1, 5, 6, 7, 8, 9});
  CHECK(f.Install() == 2);
  f.table.CloseRange(6, ~0u, false);
  f.table.CloseRange(5000, 6000, false);
  CHECK(f.Open() == std::vector<int>{0, 1, 2, 5});
}

TEST_CASE("a copy shares files, not numbers") {
  Fixture f;
  f.Install();
  f.Install(0, kLimit, true);
  const std::shared_ptr<FdTable> copy = f.table.Clone();
  CHECK(copy->owner_id() != f.table.owner_id());
  CHECK(copy->GetCloexec(Fd{1}).value());
  CHECK(copy->Get(Fd{0}).value() == f.table.Get(Fd{0}).value());
  CHECK(copy->Close(Fd{0}).ok());
  CHECK(f.table.Get(Fd{0}).ok());
  CHECK(f.counts.dropped == 0);
  CHECK(ToInt(copy->Install(f.File(), false, kLimit).value()) == 0);
}

TEST_CASE("the end of a table flushes and drops what is left") {
  FileCounts counts;
  {
    FdTable table;
    CHECK(table.Install(std::make_shared<FakeFile>(&counts), false, kLimit).ok());
    CHECK(table.Install(std::make_shared<FakeFile>(&counts), false, kLimit, 500).ok());
  }
  CHECK(counts.flushed == 2);
  CHECK(counts.dropped == 2);
}

TEST_CASE("threads that open and close at once never share a number") {
  FdTable table;
  std::atomic<int> owners[16] = {};
  std::atomic<bool> shared = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      FileCounts counts;
      for (int i = 0; i < 2000; ++i) {
        const Fd fd = table.Install(std::make_shared<FakeFile>(&counts), false, kLimit).value();
        if (owners[ToInt(fd)].fetch_add(1) != 0) shared = true;
        owners[ToInt(fd)].fetch_sub(1);
        if (!table.Close(fd).ok()) shared = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(shared);
  CHECK(table.List().empty());
}

}  // namespace
}  // namespace ringfence::sentry
