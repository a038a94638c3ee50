#include "sentry/fs/proc/proc.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "sentry/fs/proc/proc_inode.h"
#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

// Two processes: 1 with threads 1 and 5, and 7, a zombie.
class ScriptedSource final : public ProcSource {
 public:
  explicit ScriptedSource(TreeFixture* tree) : tree_(tree), fds(std::make_shared<FdTable>()) {}
  std::vector<int32_t> Processes() const override { return {1, 7}; }
  std::vector<int32_t> Threads(int32_t tgid) const override {
    return tgid == 1 ? std::vector<int32_t>{1, 5} : std::vector<int32_t>{tgid};
  }
  std::optional<TaskSnapshot> Find(int32_t tid) const override {
    if (gone || (tid != 1 && tid != 5 && tid != 7)) return std::nullopt;
    TaskSnapshot task;
    task.tid = tid;
    task.tgid = tid == 7 ? 7 : 1;
    task.comm = "some (name)";
    task.state = tid == 7 ? 'Z' : 'S';
    task.creds = owner;
    if (tid != 7) {
      task.waits_in = "pause";
      task.fds = fds;
      task.fs = tree_->context;
    }
    task.limits[7] = {1024, ~uint64_t{0}};
    return task;
  }
  void SetComm(int32_t, std::string_view) const override {}
  void SetOomScoreAdjust(int32_t, int32_t, AndMinimum) const override {}
  SystemSnapshot System() const override {
    SystemSnapshot system;
    system.hostname = "box";
    system.memory_bytes = 1 << 30;
    system.memory_free_bytes = 1 << 29;
    system.uptime_ns = 12'340'000'000;
    system.cpus = 2;
    return system;
  }
  std::vector<MountNamespace::MountInfo> Mounts(const FsContext& fs) const override {
    return tree_->ns->List(fs.root());
  }
  TreeFixture* const tree_;
  const CredentialsRef owner = std::make_shared<Credentials>();
  const std::shared_ptr<FdTable> fds;
  bool gone = false;
};

struct ProcFixture {
  ProcFixture() : source(&tree) {
    tree.ctx.tgid = 1;
    tree.ctx.tid = 5;
    REQUIRE(tree.Mkdir("/proc") == Errno{});
    auto target = Vfs::Resolve(tree.ctx, tree.base, "/proc");
    REQUIRE(target.ok());
    REQUIRE(tree.ns->Mount(MakeProcFs(&source), *target, "proc", 0).ok());
  }
  std::string Link(std::string_view path) {
    auto target = Vfs::ReadLink(tree.ctx, tree.base, path);
    return target.ok() ? *target : std::string(ErrnoName(target.error()));
  }
  TreeFixture tree;
  ScriptedSource source;
};

TEST_CASE_METHOD(ProcFixture, "the root lists system files and processes") {
  const std::vector<std::string> names = tree.List("/proc");
  for (const char* name : {"self", "meminfo", "cpuinfo", "sys", "1", "7"}) {
    CHECK(std::count(names.begin(), names.end(), name) == 1);
  }
  CHECK(tree.StatError("/proc/2") == Errno::kNOENT);
  CHECK(tree.StatError("/proc/01") == Errno::kNOENT);
  CHECK(tree.StatError("/proc/99999999999") == Errno::kNOENT);
}

TEST_CASE_METHOD(ProcFixture, "self follows the caller") {
  CHECK(Link("/proc/self") == "1");
  CHECK(Link("/proc/thread-self") == "1/task/5");
  CHECK(tree.Contents("/proc/self/comm") == "some (name)\n");
}

TEST_CASE_METHOD(ProcFixture, "system files") {
  CHECK(tree.Contents("/proc/uptime") == "12.34 24.68\n");
  CHECK(absl::StartsWith(tree.Contents("/proc/meminfo"), "MemTotal:        1048576 kB\n"));
  CHECK(tree.Contents("/proc/sys/kernel/hostname") == "box\n");
  CHECK(tree.Contents("/proc/sys/kernel/ostype") == "Linux\n");
  CHECK(absl::StartsWith(tree.Contents("/proc/version"), "Linux version 6."));
  const std::string cpus = tree.Contents("/proc/cpuinfo");
  CHECK(cpus.find("processor\t: 1\n") != std::string::npos);
  CHECK(cpus.find(" sse2") != std::string::npos);
}

TEST_CASE_METHOD(ProcFixture, "a process without memory has nothing to show") {
  CHECK(tree.Contents("/proc/7/smaps").empty());
  CHECK(tree.Contents("/proc/7/numa_maps").empty());
  CHECK(tree.Contents("/proc/7/oom_score") == "0\n");
  CHECK(tree.Contents("/proc/7/wchan") == "0");
}

TEST_CASE_METHOD(ProcFixture, "where a task sleeps") {
  CHECK(tree.Contents("/proc/1/wchan") == "sys_pause");
  tree.ctx = UserContext(1000, 1000);
  CHECK(tree.Contents("/proc/1/wchan") == "0");
}

TEST_CASE("masks and lists of bits") {
  std::vector<bool> bits(3, true);
  CHECK(MaskText(bits) == "7");
  CHECK(ListText(bits) == "0-2");
  bits.resize(40);
  bits[33] = true;
  CHECK(MaskText(bits) == "00000002,00000007");
  CHECK(ListText(bits) == "0-2,33");
  CHECK(MaskText({}) == "0");
  CHECK(ListText({}).empty());
}

TEST_CASE("names are escaped as seq_file does") {
  CHECK(EscapedText("a b\tc\n\\#", " \t\n\\#") == "a\\040b\\011c\\012\\134\\043");
  CHECK(EscapedText("a b\n", "\n") == "a b\\012");
}

TEST_CASE_METHOD(ProcFixture, "stat has 52 fields after the name") {
  const std::string stat = tree.Contents("/proc/1/stat");
  const std::string rest = stat.substr(stat.rfind(')') + 2);
  CHECK(std::vector<std::string>(absl::StrSplit(rest, ' ')).size() == 50);
  CHECK(absl::StartsWith(stat, "1 (some (name)) S "));
  CHECK(absl::StartsWith(tree.Contents("/proc/7/stat"), "7 (some (name)) Z "));
  CHECK(tree.Contents("/proc/7/maps").empty());
  CHECK(tree.Contents("/proc/1/limits")
            .find("Max open files            1024                 "
                  "unlimited            files") != std::string::npos);
}

TEST_CASE_METHOD(ProcFixture, "descriptors are links that can be followed") {
  REQUIRE(tree.Create("/file", "content") == Errno{});
  const FileRef file = *tree.Open("/file", O_RDONLY);
  REQUIRE(source.fds->Install(file, false, 1024).ok());
  CHECK(tree.List("/proc/self/fd") == std::vector<std::string>{"0"});
  CHECK(Link("/proc/self/fd/0") == "/file");
  CHECK(tree.Contents("/proc/self/fd/0") == "content");
  CHECK(absl::StartsWith(tree.Contents("/proc/self/fdinfo/0"), "pos:\t0\nflags:\t0"));
  CHECK(tree.StatError("/proc/self/fd/1", false) == Errno::kNOENT);
  REQUIRE(tree.Unlink("/file") == Errno{});
  CHECK(Link("/proc/self/fd/0") == "/file (deleted)");
}

TEST_CASE_METHOD(ProcFixture, "a file of a process that has gone answers ESRCH") {
  const FileRef file = *tree.Open("/proc/1/stat", O_RDONLY);
  source.gone = true;
  CHECK(ErrorOf(ReadFrom(tree.ctx, *file, 100)) == Errno::kSRCH);
  CHECK(tree.StatError("/proc/1") == Errno::kNOENT);
}

TEST_CASE_METHOD(ProcFixture, "memory of others' processes is private") {
  tree.ctx = UserContext(1000, 1000);
  CHECK(tree.OpenError("/proc/1/environ", O_RDONLY) == Errno::kACCES);
  for (const char* name : {"maps", "smaps", "smaps_rollup", "numa_maps"}) {
    CHECK(tree.OpenError(std::string("/proc/1/") + name, O_RDONLY) == Errno::kACCES);
  }
  CHECK(Link("/proc/1/cwd") == "EACCES");
}

TEST_CASE_METHOD(ProcFixture, "threads are below task and nowhere else") {
  CHECK(tree.List("/proc/1/task") == std::vector<std::string>{"1", "5"});
  CHECK(tree.StatError("/proc/1/task/5/task") == Errno::kNOENT);
  CHECK(tree.StatError("/proc/1/task/7") == Errno::kNOENT);
  CHECK(tree.Contents("/proc/1/mounts").find("proc /proc proc") != std::string::npos);
}

}  // namespace
}  // namespace ringfence::sentry
