#include "sentry/boot/mount_tree.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "platform/fake/fake_platform.h"
#include "sentry/fs/dev/dev.h"
#include "sentry/fs/testing/fixture.h"
#include "sentry/fs/testing/memory_gofer.h"
#include "sentry/fs/tty/devpts.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMemory = uint64_t{1} << 30;

// No processes at all.
class EmptySource final : public ProcSource {
 public:
  std::vector<int32_t> Processes() const override { return {}; }
  std::vector<int32_t> Threads(int32_t) const override { return {}; }
  std::optional<TaskSnapshot> Find(int32_t) const override { return std::nullopt; }
  void SetComm(int32_t, std::string_view) const override {}
  void SetOomScoreAdjust(int32_t, int32_t, AndMinimum) const override {}
  SystemSnapshot System() const override { return {}; }
  std::vector<MountNamespace::MountInfo> Mounts(const FsContext&) const override { return {}; }
};

struct Fixture {
  Fixture() { RegisterMemoryDevices(devices, &platform.memory()); }

  MountTree Tree() {
    return MountTree({.memory = &platform.memory(),
                      .gofer = &gofer,
                      .devices = &devices,
                      .processes = &processes,
                      .devpts = devpts,
                      .memory_bytes = kMemory,
                      .log = [this](std::string_view line) { log.emplace_back(line); },
                      .root = root});
  }
  // Attributes of the root and of the file system made with mount(2)'s `data`.
  Result<FsAttributes> Make(std::string_view type, std::string_view data,
                            Attributes* root = nullptr) {
    const std::shared_ptr<FileSystem> fs = TRY(Tree().MakeFileSystem(ctx, type, data));
    if (root != nullptr) *root = TRY(fs->root()->GetAttr(ctx));
    return fs->StatFs(ctx);
  }

  platform::FakePlatform platform;
  DeviceRegistry devices;
  EmptySource processes;
  std::shared_ptr<Devpts> devpts = Devpts::Create({});
  MemoryGofer gofer;
  RootLayers root;
  std::vector<std::string> log;
  CallContext ctx = RootContext();
};

std::vector<std::string> Lines(MountNamespace& ns) {
  std::vector<std::string> lines;
  for (const MountNamespace::MountInfo& mount : ns.List(ns.root())) {
    lines.push_back(mount.path + " " + mount.type + " " + mount.options);
  }
  return lines;
}

// "/", then what boot mounts below it.
std::vector<std::string> Expected(const std::string& root) {
  return {root,
          "/dev devtmpfs rw,nosuid",
          "/proc proc rw,nosuid,nodev,noexec",
          "/sys sysfs rw,nosuid,nodev,noexec",
          "/tmp tmpfs rw,nosuid,nodev",
          "/dev/shm tmpfs rw,nosuid,nodev",
          "/dev/pts devpts rw,nosuid,noexec"};
}

TEST_CASE(
    "a sandbox sees the gofer's tree below a writable one, and its own /dev, /proc and /tmp") {
  Fixture f;
  for (const char* path : {"/dev", "/proc", "/sys", "/tmp", "/bin"}) f.gofer.AddDirectory(path);
  const auto ns = f.Tree().Make();
  REQUIRE(ns.ok());
  CHECK(Lines(**ns) == Expected("/ overlay rw"));
  CHECK(f.log.empty());

  const FsContext fs((*ns)->root(), (*ns)->root(), 022);
  const PathBase base{.fs = &fs, .start = nullptr};
  for (const char* path : {"/tmp", "/dev/shm"}) {
    const DentryRef dentry = *Vfs::Resolve(f.ctx, base, path, {});
    CHECK(dentry->inode()->GetAttr(f.ctx)->mode == (S_IFDIR | 01777));
    CHECK(Vfs::Mkdir(f.ctx, base, std::string(path) + "/x", 0755).ok());
  }
  CHECK(Vfs::Mkdir(f.ctx, base, "/bin/x", 0755).ok());
  CHECK(Vfs::Open(f.ctx, base, "/dev/null", O_RDWR, 0, 0).ok());
  const FsAttributes attributes = *(*ns)->root()->inode()->fs()->StatFs(f.ctx);
  CHECK(attributes.type == 0x794c7630);
  CHECK(attributes.blocks * attributes.bsize == kMemory / 2);
  CHECK(attributes.files == kMemory / 2 / 4096);
}

TEST_CASE("the root can be read-only") {
  Fixture f;
  f.root.kind = RootLayers::Upper::kNone;
  for (const char* path : {"/dev", "/proc", "/sys", "/tmp", "/bin"}) f.gofer.AddDirectory(path);
  const auto ns = f.Tree().Make();
  REQUIRE(ns.ok());
  CHECK(Lines(**ns) == Expected("/ goferfs ro"));
  const FsContext fs((*ns)->root(), (*ns)->root(), 022);
  const PathBase base{.fs = &fs, .start = nullptr};
  CHECK(ErrorOf(Vfs::Mkdir(f.ctx, base, "/bin/x", 0755)) == Errno::kROFS);
}

TEST_CASE("the upper tree can be a given one, as it was left") {
  Fixture f;
  f.gofer.AddDirectory("/bin");
  Tmpfs::Options options;
  options.memory = &f.platform.memory();
  options.root_mode = 0711;
  f.root.kind = RootLayers::Upper::kGiven;
  f.root.upper = Tmpfs::Create(options);
  for (int round = 0; round < 2; ++round) {
    const auto ns = f.Tree().Make();
    REQUIRE(ns.ok());
    CHECK(Lines(**ns) == Expected("/ overlay rw"));
    const FsContext fs((*ns)->root(), (*ns)->root(), 022);
    const PathBase base{.fs = &fs, .start = nullptr};
    CHECK((*ns)->root()->inode()->GetAttr(f.ctx)->mode == (S_IFDIR | 0711));
    CHECK(ErrorOf(Vfs::Mkdir(f.ctx, base, "/bin/x", 0755)) ==
          (round == 0 ? Errno{} : Errno::kEXIST));
  }
}

TEST_CASE("places that the gofer does not have are made, if the root can be written") {
  Fixture bare;
  const auto made = bare.Tree().Make();
  REQUIRE(made.ok());
  CHECK(Lines(**made) == Expected("/ overlay rw"));
  CHECK(bare.log.empty());

  Fixture read_only;
  read_only.root.kind = RootLayers::Upper::kNone;
  const auto root_only = read_only.Tree().Make();
  REQUIRE(root_only.ok());
  CHECK((*root_only)->List((*root_only)->root()).size() == 1);
  CHECK(read_only.log ==
        std::vector<std::string>{"no devtmpfs at /dev: ENOENT", "no tmpfs at /dev/shm: ENOENT",
                                 "no devpts at /dev/pts: ENOENT", "no proc at /proc: ENOENT",
                                 "no sysfs at /sys: ENOENT", "no tmpfs at /tmp: ENOENT"});
}

TEST_CASE("a place that is no directory is left out and logged") {
  Fixture f;
  for (const char* path : {"/dev", "/proc", "/sys"}) f.gofer.AddDirectory(path);
  f.gofer.AddFile("/tmp", 0644);
  const auto ns = f.Tree().Make();
  REQUIRE(ns.ok());
  CHECK((*ns)->List((*ns)->root()).size() == 6);
  CHECK(f.log == std::vector<std::string>{"no tmpfs at /tmp: ENOTDIR"});
}

TEST_CASE("a gofer that does not answer is named") {
  Fixture f;
  f.gofer.lost = true;
  const auto ns = f.Tree().Make();
  REQUIRE_FALSE(ns.ok());
  CHECK(ns.status().code() == absl::StatusCode::kUnavailable);
  CHECK(ns.status().message() == "the gofer does not serve the root: EIO");
}

TEST_CASE("tmpfs options") {
  Fixture f;
  Attributes root;
  const auto bytes = [&f](std::string_view data) {
    const Result<FsAttributes> fs = f.Make("tmpfs", data);
    REQUIRE(fs.ok());
    return fs->blocks * fs->bsize;
  };
  // Half of memory where nothing is said, as on Linux.
  CHECK(bytes("") == kMemory / 2);
  CHECK(bytes("size=8192") == 8192);
  CHECK(bytes("size=64k") == 64 << 10);
  CHECK(bytes("size=3M") == 3 << 20);
  CHECK(bytes("size=1g") == 1 << 30);
  CHECK(bytes("size=10%") == kMemory / 100 * 10 / 4096 * 4096);
  CHECK(bytes("size=400%") == kMemory);
  CHECK(bytes(",,size=64k,") == 64 << 10);
  CHECK(bytes("size=1m,size=64k") == 64 << 10);  // the last one counts

  REQUIRE(f.Make("tmpfs", "mode=0700,uid=5,gid=6,nr_inodes=2k", &root).ok());
  CHECK(root.mode == (S_IFDIR | 0700));
  CHECK(root.uid == 5);
  CHECK(root.gid == 6);
  CHECK(f.Make("tmpfs", "nr_inodes=2k")->files == 2048);
}

TEST_CASE("the caller owns the root of a tmpfs") {
  Fixture f;
  f.ctx = UserContext(1000, 100);
  Attributes root;
  REQUIRE(f.Make("tmpfs", "", &root).ok());
  CHECK(root.uid == 1000);
  CHECK(root.gid == 100);
}

TEST_CASE("broken options are EINVAL") {
  Fixture f;
  for (const char* data : {"size", "size=", "size=k", "size=x", "size=-1", "size=1kk", "size=%",
                           "size=18446744073709551616", "size=99999999999g", "mode=8",
                           "mode=", "uid=root", "gid=1x", "huge=always", "=1", "size=1k=2"}) {
    INFO(data);
    CHECK(ErrorOf(f.Make("tmpfs", data)) == Errno::kINVAL);
  }
}

TEST_CASE("types that mount(2) knows") {
  Fixture f;
  CHECK(f.Make("proc", "").ok());
  CHECK(f.Make("devtmpfs", "").ok());
  CHECK(ErrorOf(f.Make("ext4", "")) == Errno::kNODEV);
  CHECK(ErrorOf(f.Make("", "")) == Errno::kNODEV);
}

}  // namespace
}  // namespace ringfence::sentry
