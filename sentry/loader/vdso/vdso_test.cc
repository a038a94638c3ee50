// The vDSO's machine code, run on the host: loaded at a random address with its time page before
// it, symbols found through DT_HASH as the C library does.
#include "sentry/loader/vdso/vdso.h"

#include <elf.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <string>

#include "sentry/loader/vdso/image.h"
#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

int64_t Ns(const struct timespec& ts) { return ts.tv_sec * int64_t{1000000000} + ts.tv_nsec; }

int64_t HostNow(int clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return Ns(ts);
}

struct Loaded {
  MemoryPlatform platform;
  FrameRun run = *platform.memory().Allocate(1);
  TimePage time{&platform.memory(), run.first, 0, 0};
  std::byte* base = nullptr;
  size_t bytes = 0;
  std::map<std::string, void*> symbols;
  std::map<std::string, std::string> versions;

  Loaded() {
    const auto image = VdsoImage();
    bytes = kPageSize + ((image.size() + kPageMask) & ~kPageMask);
    base = static_cast<std::byte*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(base != MAP_FAILED);
    memcpy(base + kPageSize, image.data(), image.size());
    Refresh();
    FindSymbols();
  }
  ~Loaded() {
    munmap(base, bytes);
    platform.memory().Unref(run);
  }
  void Refresh() { memcpy(base, &time.data(), sizeof(VdsoTimeData)); }
  VdsoTimeData* page() { return reinterpret_cast<VdsoTimeData*>(base); }

  void FindSymbols() {
    const std::byte* elf = base + kPageSize;
    const auto* header = reinterpret_cast<const Elf64_Ehdr*>(elf);
    const auto* phdrs = reinterpret_cast<const Elf64_Phdr*>(elf + header->e_phoff);
    std::map<int64_t, uint64_t> dynamic;
    for (int i = 0; i < header->e_phnum; ++i) {
      if (phdrs[i].p_type != PT_DYNAMIC) continue;
      const auto* d = reinterpret_cast<const Elf64_Dyn*>(elf + phdrs[i].p_vaddr);
      for (; d->d_tag != DT_NULL; ++d) dynamic[d->d_tag] = d->d_un.d_val;
    }
    REQUIRE(dynamic.count(DT_HASH) == 1);
    REQUIRE(dynamic.count(DT_RELA) == 0);
    const auto* symtab = reinterpret_cast<const Elf64_Sym*>(elf + dynamic[DT_SYMTAB]);
    const auto* strings = reinterpret_cast<const char*>(elf + dynamic[DT_STRTAB]);
    const uint32_t count = reinterpret_cast<const uint32_t*>(elf + dynamic[DT_HASH])[1];
    for (uint32_t i = 1; i < count; ++i) {
      symbols[strings + symtab[i].st_name] =
          base + kPageSize + static_cast<size_t>(symtab[i].st_value);
    }
  }
  template <typename F>
  F* Get(const char* name) {
    REQUIRE(symbols.count(name) == 1);
    return reinterpret_cast<F*>(symbols[name]);
  }
};

TEST_CASE("all names of vdso(7) are there") {
  Loaded vdso;
  for (std::string name : {"clock_gettime", "gettimeofday", "time", "getcpu", "clock_getres"}) {
    CHECK(vdso.symbols.count(name) == 1);
    CHECK(vdso.symbols["__vdso_" + name] == vdso.symbols[name]);
  }
  CHECK(vdso.symbols.count("LINUX_2.6") == 1);
}

TEST_CASE("clock_gettime of the vDSO agrees with the host and the sentry") {
  Loaded vdso;
  auto* clock_gettime_v = vdso.Get<int(int, struct timespec*)>("__vdso_clock_gettime");
  usleep(100000);
  vdso.time.Update();
  vdso.Refresh();
  for (int clock :
       {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI}) {
    int64_t best = INT64_MAX;
    bool ordered = false;
    for (int i = 0; i < 50; ++i) {
      struct timespec ts {};
      const int64_t sentry_before = *vdso.time.Now(clock);
      const int64_t before = HostNow(clock);
      REQUIRE(clock_gettime_v(clock, &ts) == 0);
      const int64_t after = HostNow(clock);
      const int64_t sentry_after = *vdso.time.Now(clock);
      ordered = ordered || (sentry_before <= Ns(ts) && Ns(ts) <= sentry_after);
      best = std::min(best, Ns(ts) < before  ? before - Ns(ts)
                            : Ns(ts) > after ? Ns(ts) - after
                                             : 0);
    }
    INFO("clock " << clock);
    CHECK(ordered);
    CHECK(best < 5000);
  }
  struct timespec ts {};
  CHECK(clock_gettime_v(CLOCK_MONOTONIC_COARSE, &ts) == 0);
  CHECK(Ns(ts) % kVdsoTickNs == 0);
  CHECK(clock_gettime_v(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
  CHECK(clock_gettime_v(12345, &ts) == -EINVAL);
}

TEST_CASE("what the page cannot say goes to the kernel") {
  Loaded vdso;
  auto* clock_gettime_v = vdso.Get<int(int, struct timespec*)>("__vdso_clock_gettime");
  struct timespec ts {};
  vdso.page()->monotonic_ns = 0;
  vdso.page()->max_delta = 0;
  CHECK(clock_gettime_v(CLOCK_MONOTONIC, &ts) == 0);
  CHECK(std::abs(Ns(ts) - HostNow(CLOCK_MONOTONIC)) < 1000000000);
  vdso.Refresh();
  vdso.page()->monotonic_ns = 0;
  vdso.page()->seq = 1;  // a writer that never ends
  CHECK(clock_gettime_v(CLOCK_MONOTONIC, &ts) == 0);
  CHECK(std::abs(Ns(ts) - HostNow(CLOCK_MONOTONIC)) < 1000000000);
}

TEST_CASE("gettimeofday, time, clock_getres and getcpu") {
  Loaded vdso;
  struct timeval tv {};
  CHECK(vdso.Get<int(struct timeval*, void*)>("__vdso_gettimeofday")(&tv, nullptr) == 0);
  CHECK(std::abs(tv.tv_sec - time(nullptr)) <= 1);
  CHECK(tv.tv_usec < 1000000);
  struct timezone tz {};
  CHECK(vdso.Get<int(struct timeval*, void*)>("gettimeofday")(&tv, &tz) == 0);
  time_t stored = 0;
  const time_t now = vdso.Get<time_t(time_t*)>("__vdso_time")(&stored);
  CHECK(now == stored);
  CHECK(std::abs(now - time(nullptr)) <= 1);
  struct timespec ts {};
  auto* getres = vdso.Get<int(int, struct timespec*)>("__vdso_clock_getres");
  CHECK(getres(CLOCK_MONOTONIC, &ts) == 0);
  CHECK(Ns(ts) == 1);
  CHECK(getres(CLOCK_REALTIME_COARSE, &ts) == 0);
  CHECK(Ns(ts) == kVdsoTickNs);
  unsigned cpu = ~0u, node = ~0u;
  using GetCpu = int(unsigned*, unsigned*, void*);
  CHECK(vdso.Get<GetCpu>("__vdso_getcpu")(&cpu, &node, nullptr) == 0);
  CHECK(cpu < static_cast<unsigned>(sysconf(_SC_NPROCESSORS_CONF)));
}

TEST_CASE("a call costs tens of nanoseconds", "[.][bench]") {
  Loaded vdso;
  auto* clock_gettime_v = vdso.Get<int(int, struct timespec*)>("__vdso_clock_gettime");
  struct timespec ts {};
  const int64_t start = HostNow(CLOCK_MONOTONIC);
  for (int i = 0; i < 1000000; ++i) clock_gettime_v(CLOCK_MONOTONIC, &ts);
  printf("vdso clock_gettime %.1f ns\n", (HostNow(CLOCK_MONOTONIC) - start) / 1e6);
}

}  // namespace
}  // namespace ringfence::sentry
