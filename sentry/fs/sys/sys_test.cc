#include "sentry/fs/sys/sys.h"

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

class Machine final : public ProcSource {
 public:
  std::vector<int32_t> Processes() const override { return {}; }
  std::vector<int32_t> Threads(int32_t) const override { return {}; }
  std::optional<TaskSnapshot> Find(int32_t) const override { return std::nullopt; }
  void SetComm(int32_t, std::string_view) const override {}
  void SetOomScoreAdjust(int32_t, int32_t, AndMinimum) const override {}
  SystemSnapshot System() const override {
    SystemSnapshot system;
    system.cpus = cpus;
    system.memory_bytes = uint64_t{1} << 30;
    system.memory_free_bytes = uint64_t{1} << 29;
    return system;
  }
  std::vector<MountNamespace::MountInfo> Mounts(const FsContext&) const override { return {}; }
  uint32_t cpus = 3;
};

struct SysFixture : TreeFixture {
  SysFixture() {
    Mkdir("/sys");
    REQUIRE(ns->Mount(MakeSysFs(&machine), *Vfs::Resolve(ctx, base, "/sys"), "sysfs", 0).ok());
  }
  std::string Cpu(std::string_view rest) {
    return Contents("/sys/devices/system/cpu/" + std::string(rest));
  }
  Machine machine;
};

TEST_CASE("the CPUs are those of the sandbox") {
  SysFixture t;
  CHECK(t.Cpu("online") == "0-2\n");
  CHECK(t.List("/sys/devices/system/cpu").size() == 6 + 3);
  CHECK(t.Cpu("cpu2/topology/core_id") == "2\n");
  CHECK(t.Cpu("cpu2/topology/thread_siblings") == "4\n");
  CHECK(t.Cpu("cpu2/topology/package_cpus_list") == "0-2\n");
  CHECK(t.StatError("/sys/devices/system/cpu/cpu3") == Errno::kNOENT);
  CHECK(t.StatError("/sys/devices/system/cpu/cpu03") == Errno::kNOENT);
  t.machine.cpus = 1;
  CHECK(t.Cpu("possible") == "0\n");
  t.machine.cpus = 40;
  CHECK(t.Cpu("cpu33/topology/thread_siblings") == "00000002,00000000\n");
}

TEST_CASE("one memory node has all of it") {
  SysFixture t;
  CHECK(t.Contents("/sys/devices/system/node/node0/cpulist") == "0-2\n");
  CHECK(t.Contents("/sys/devices/system/node/node0/meminfo") ==
        "Node 0 MemTotal:        1048576 kB\nNode 0 MemFree:          524288 kB\n"
        "Node 0 MemUsed:          524288 kB\n");
}

TEST_CASE("links, empty directories, nothing to write") {
  SysFixture t;
  CHECK(t.Contents("/sys/class/net/lo/mtu") == "65536\n");
  CHECK(t.List("/sys/fs/cgroup").empty());
  CHECK(t.List("/sys/block").empty());
  CHECK(t.OpenError("/sys/new", O_CREAT | O_WRONLY) != Errno{});
  CHECK(t.Contents("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") == "2097152\n");
}

}  // namespace
}  // namespace ringfence::sentry
