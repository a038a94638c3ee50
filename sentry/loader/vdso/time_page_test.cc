#include "sentry/loader/vdso/time_page.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

int64_t HostNow(int clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return ts.tv_sec * int64_t{1000000000} + ts.tv_nsec;
}

struct Fixture {
  MemoryPlatform platform;
  FrameRun run = *platform.memory().Allocate(1);
  TimePage page{&platform.memory(), run.first, 0, 0};
  ~Fixture() { platform.memory().Unref(run); }
};

// The smallest distance of a few attempts: a preempted thread says nothing about the clock.
int64_t DistanceToHost(TimePage& page, int clock) {
  int64_t best = INT64_MAX;
  for (int i = 0; i < 50; ++i) {
    const int64_t before = HostNow(clock);
    const int64_t ours = *page.Now(clock);
    const int64_t after = HostNow(clock);
    const int64_t off = ours < before ? before - ours : ours > after ? ours - after : 0;
    best = std::min(best, off);
  }
  return best;
}

TEST_CASE("every clock agrees with the host's") {
  Fixture f;
  usleep(200000);
  for (int i = 0; i < 3; ++i) {
    f.page.Update();
    usleep(60000);
  }
  for (int clock :
       {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI}) {
    INFO("clock " << clock);
    CHECK(DistanceToHost(f.page, clock) < 3000);
  }
  for (int clock : {CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE}) {
    CHECK(std::abs(*f.page.Now(clock) - HostNow(clock)) < 30000000);
  }
  CHECK(f.page.Now(CLOCK_PROCESS_CPUTIME_ID).error() == Errno::kINVAL);
  CHECK(f.page.Now(-1).error() == Errno::kINVAL);
}

TEST_CASE("no clock steps back across updates, whoever reads") {
  Fixture f;
  std::atomic<bool> stop{false};
  std::atomic<int> backwards{0};
  std::thread reader([&] {
    int64_t last[12] = {};
    while (!stop) {
      for (int clock : {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_REALTIME}) {
        const int64_t now = *f.page.Now(clock);
        if (now < last[clock]) ++backwards;
        last[clock] = now;
      }
    }
  });
  for (int i = 0; i < 100; ++i) {
    f.page.Update();
    usleep(10000);
  }
  stop = true;
  reader.join();
  CHECK(backwards == 0);
}

TEST_CASE("the sequence count is even at rest and counts updates") {
  Fixture f;
  const uint32_t before = f.page.data().seq;
  CHECK(before % 2 == 0);
  usleep(120000);
  f.page.Update();
  CHECK(f.page.data().seq == before + 2);
  f.page.Update();
  CHECK(f.page.data().seq == before + 2);
}

}  // namespace
}  // namespace ringfence::sentry
