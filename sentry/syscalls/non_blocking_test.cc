// What a service thread answers itself and what it hands back to the task's own thread.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <optional>

#include "sentry/kernel/testing_guest.h"
#include "sentry/syscalls/dispatcher.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMost = 4 * kHugePageSize;  // of what a service thread maps or unmaps
constexpr uint64_t kTooMuch = kMost + kPageSize;
constexpr uint64_t kSpot = 0x10000000;

// A task whose calls are offered to the service thread, and made by its own when that declines.
class Caller {
 public:
  explicit Caller(Task& task) : task_(task) {}

  // Nothing when the call is handed back.
  std::optional<int64_t> Offer(platform::SyscallRequest request) {
    int64_t result = 0;
    if (!dispatcher_.ServeNonBlocking(task_, request, &result)) return std::nullopt;
    return result;
  }
  int64_t Make(platform::SyscallRequest request) { return dispatcher_.Dispatch(task_, request); }

 private:
  Task& task_;
  TableDispatcher dispatcher_{{}};
};

// Runs `test` as a system call of a process.
void AsCaller(const std::function<void(Caller&, Task&)>& test) {
  TestKernel kernel;
  kernel.Run([&](Guest& guest) {
    guest.Call([&](Task& task) -> int64_t {
      Caller caller(task);
      test(caller, task);
      return 0;
    });
  });
}

platform::SyscallRequest MapAt(uint64_t address, uint64_t length, uint64_t more_flags = 0) {
  const uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | more_flags;
  return {SYS_mmap, {address, length, PROT_READ | PROT_WRITE, flags, ~uint64_t{0}, 0}};
}

bool IsMapped(Task& task, uint64_t address) {
  return task.mm().Mincore(VirtAddr(address), kPageSize).ok();
}

TEST_CASE("mmap of at most 8 MiB is served by the service thread") {
  AsCaller([](Caller& caller, Task& task) {
    CHECK(caller.Offer(MapAt(kSpot, kMost)) == int64_t{kSpot});
    CHECK(IsMapped(task, kSpot + kMost - kPageSize));
  });
}

TEST_CASE("mmap of more is handed back, and nothing is mapped or lost by the attempt") {
  AsCaller([](Caller& caller, Task& task) {
    for (const uint64_t length : {kMost + 1, kTooMuch, ~uint64_t{0}}) {
      CHECK_FALSE(caller.Offer(MapAt(kSpot, length)).has_value());
      CHECK_FALSE(IsMapped(task, kSpot));
    }
    CHECK_FALSE(caller.Offer(MapAt(kSpot, kTooMuch, MAP_POPULATE)).has_value());
    CHECK(caller.Make(MapAt(kSpot, kTooMuch)) == int64_t{kSpot});
    CHECK(IsMapped(task, kSpot + kMost));
  });
}

TEST_CASE("munmap: 8 MiB by the service thread, more by the task") {
  AsCaller([](Caller& caller, Task& task) {
    CHECK(caller.Make(MapAt(kSpot, 2 * kTooMuch)) == int64_t{kSpot});
    CHECK(caller.Offer({SYS_munmap, {kSpot, kMost}}) == 0);
    CHECK_FALSE(IsMapped(task, kSpot));
    const uint64_t rest = kSpot + kMost;
    for (const uint64_t length : {kMost + 1, kTooMuch, ~uint64_t{0}}) {
      CHECK_FALSE(caller.Offer({SYS_munmap, {rest, length}}).has_value());
      CHECK(IsMapped(task, rest));
    }
    CHECK(caller.Make({SYS_munmap, {rest, kTooMuch}}) == 0);
    CHECK_FALSE(IsMapped(task, rest));
  });
}

TEST_CASE("mprotect: 8 MiB by the service thread, more by the task") {
  AsCaller([](Caller& caller, Task& task) {
    CHECK(caller.Make(MapAt(kSpot, kTooMuch)) == int64_t{kSpot});
    const auto can_write = [&](uint64_t address) {
      const uint64_t word = 1;
      return task.mm().CopyOut(VirtAddr(address), &word, sizeof(word)).ok();
    };
    CHECK(caller.Offer({SYS_mprotect, {kSpot, kMost, PROT_READ}}) == 0);
    CHECK_FALSE(can_write(kSpot));
    CHECK_FALSE(caller.Offer({SYS_mprotect, {kSpot, kMost + 1, PROT_READ}}).has_value());
    CHECK(can_write(kSpot + kMost));
    CHECK(caller.Make({SYS_mprotect, {kSpot, kTooMuch, PROT_READ}}) == 0);
    CHECK_FALSE(can_write(kSpot + kMost));
  });
}

TEST_CASE("brk: gives back 8 MiB by the service thread, more by the task; growing is quick") {
  AsCaller([](Caller& caller, Task& task) {
    task.mm().SetBrkStart(VirtAddr(kSpot));
    const auto end = int64_t{kSpot + 2 * kTooMuch};
    CHECK(caller.Offer({SYS_brk, {static_cast<uint64_t>(end)}}) == end);
    CHECK(caller.Offer({SYS_brk, {0}}) == end);
    const auto less = end - int64_t{kMost};
    CHECK(caller.Offer({SYS_brk, {static_cast<uint64_t>(less)}}) == less);
    CHECK_FALSE(caller.Offer({SYS_brk, {kSpot}}).has_value());
    CHECK(task.mm().Brk(VirtAddr(0)) == VirtAddr(static_cast<uint64_t>(less)));
    CHECK(caller.Make({SYS_brk, {kSpot}}) == int64_t{kSpot});
  });
}

TEST_CASE("what is wrong with a call is said without an exit, whatever its size") {
  AsCaller([](Caller& caller, Task&) {
    const auto wrong = -static_cast<int64_t>(Errno::kINVAL);
    CHECK(caller.Offer(MapAt(kSpot + 1, kTooMuch)) == wrong);
    CHECK(caller.Offer({SYS_munmap, {kSpot + 1, kTooMuch}}) == wrong);
    CHECK(caller.Offer({SYS_mprotect, {kSpot + 1, kTooMuch, PROT_READ}}) == wrong);
  });
}

TEST_CASE("limits of the caller are asked and set by the service thread") {
  AsCaller([](Caller& caller, Task& task) {
    const RLimit wanted{.cur = 100, .max = 200};
    RLimit found;
    CHECK(task.mm().CopyOut(VirtAddr(kGuestData), &wanted, sizeof(wanted)).ok());
    CHECK(caller.Offer({SYS_setrlimit, {RLIMIT_NOFILE, kGuestData}}) == 0);
    const uint64_t old = kGuestData + sizeof(wanted);
    CHECK(caller.Offer({SYS_prlimit64, {0, RLIMIT_NOFILE, 0, old}}) == 0);
    CHECK(task.mm().CopyIn(&found, VirtAddr(old), sizeof(found)).ok());
    CHECK((found.cur == 100 && found.max == 200));
    CHECK(caller.Offer({SYS_prlimit64, {0, RLIMIT_FSIZE, kGuestData, old}}) == 0);
    CHECK(task.group().GetLimit(Resource::kFsize).cur == 100);
    CHECK(task.group().file_size_limit.load() == 100);
    CHECK(caller.Offer({SYS_prlimit64, {0, kNumResources, 0, old}}) ==
          -static_cast<int64_t>(Errno::kINVAL));
  });
}

TEST_CASE("limits of processes that may end, and the one that has a timer, are the task's") {
  AsCaller([](Caller& caller, Task& task) {
    const auto self = static_cast<uint64_t>(task.tgid());
    const RLimit wanted{.cur = 100, .max = 200};
    CHECK(task.mm().CopyOut(VirtAddr(kGuestData), &wanted, sizeof(wanted)).ok());
    CHECK_FALSE(caller.Offer({SYS_prlimit64, {self, RLIMIT_FSIZE, kGuestData, 0}}).has_value());
    CHECK_FALSE(caller.Offer({SYS_prlimit64, {0, RLIMIT_CPU, kGuestData, 0}}).has_value());
    CHECK_FALSE(caller.Offer({SYS_setrlimit, {RLIMIT_CPU, kGuestData}}).has_value());
    CHECK(task.group().GetLimit(Resource::kCpu).cur == kRlimInfinity);
    CHECK(caller.Make({SYS_prlimit64, {self, RLIMIT_CPU, kGuestData, 0}}) == 0);
    CHECK(task.group().GetLimit(Resource::kCpu).cur == 100);
  });
}

}  // namespace
}  // namespace ringfence::sentry
