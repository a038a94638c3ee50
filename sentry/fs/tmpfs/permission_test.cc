// Who may do what: path_resolution(7), inode(7), chmod(2), chown(2), utimensat(2), unlink(2).
#include "sentry/vfs/permission.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

constexpr Errno kOk{};

Attributes Owned(uint32_t mode, Uid uid, Gid gid) {
  Attributes attributes;
  attributes.mode = mode;
  attributes.uid = uid;
  attributes.gid = gid;
  return attributes;
}

Errno Check(const CallContext& ctx, const Attributes& attributes, uint32_t mask) {
  return ErrorOf(CheckMode(*ctx.creds, attributes, mask));
}

CallContext With(CallContext ctx, std::initializer_list<int> capabilities) {
  auto creds = std::make_shared<Credentials>(*ctx.creds);
  for (const int capability : capabilities) creds->effective |= uint64_t{1} << capability;
  ctx.creds = std::move(creds);
  return ctx;
}

// A tree that root made, used by others.
struct Fixture : TreeFixture {
  void Make(std::string_view path, uint32_t mode, Uid uid, Gid gid) {
    ctx = RootContext();
    if (S_ISDIR(mode)) {
      REQUIRE(Mkdir(path) == kOk);
    } else {
      REQUIRE(Create(path, "content") == kOk);
    }
    SetAttrRequest request;
    request.uid = uid;
    request.gid = gid;
    REQUIRE(Change(path, request) == kOk);
    request = {};
    request.mode = mode & 07777;
    REQUIRE(Change(path, request) == kOk);
  }
  Errno Change(std::string_view path, const SetAttrRequest& request) {
    return ErrorOf(Vfs::SetAttr(ctx, Vfs::Resolve(ctx, base, path).value(), request));
  }
  Errno Chmod(std::string_view path, uint32_t mode) {
    SetAttrRequest request;
    request.mode = mode;
    return Change(path, request);
  }
  Errno Chown(std::string_view path, std::optional<Uid> uid, std::optional<Gid> gid) {
    SetAttrRequest request;
    request.uid = uid;
    request.gid = gid;
    return Change(path, request);
  }
  uint32_t ModeOf(std::string_view path) { return Stat(path)->mode & 07777; }
};

TEST_CASE("the first class that fits decides: owner, group, others") {
  const Attributes file = Owned(S_IFREG | 0640, 10, 20);
  CHECK(Check(UserContext(10, 99), file, kMayRead | kMayWrite) == kOk);
  CHECK(Check(UserContext(10, 99), file, kMayExec) == Errno::kACCES);
  CHECK(Check(UserContext(11, 20), file, kMayRead) == kOk);
  CHECK(Check(UserContext(11, 20), file, kMayWrite) == Errno::kACCES);
  CHECK(Check(UserContext(11, 99, {5, 20}), file, kMayRead) == kOk);
  CHECK(Check(UserContext(11, 99), file, kMayRead) == Errno::kACCES);
  // An owner or member with fewer rights than the others gets the fewer.
  const Attributes odd = Owned(S_IFREG | 0007, 10, 20);
  CHECK(Check(UserContext(10, 99), odd, kMayRead) == Errno::kACCES);
  CHECK(Check(UserContext(11, 20), odd, kMayRead) == Errno::kACCES);
  CHECK(Check(UserContext(11, 99), odd, kMayRead | kMayWrite | kMayExec) == kOk);
}

TEST_CASE("capabilities: override, but never execute what nobody may; search and read only") {
  const Attributes none = Owned(S_IFREG | 0000, 1, 1), some = Owned(S_IFREG | 0001, 1, 1),
                   directory = Owned(S_IFDIR | 0000, 1, 1);
  const CallContext all = With(UserContext(9, 9), {kCapDacOverride});
  CHECK(Check(all, none, kMayRead | kMayWrite) == kOk);
  CHECK(Check(all, none, kMayExec) == Errno::kACCES);
  CHECK(Check(all, some, kMayExec) == kOk);
  CHECK(Check(all, directory, kMayRead | kMayWrite | kMayExec) == kOk);
  const CallContext search = With(UserContext(9, 9), {kCapDacReadSearch});
  CHECK(Check(search, none, kMayRead) == kOk);
  CHECK(Check(search, none, kMayWrite) == Errno::kACCES);
  CHECK(Check(search, some, kMayExec) == kOk);                       // as others
  CHECK(Check(search, some, kMayExec | kMayRead) == Errno::kACCES);  // the two do not add up
  CHECK(Check(search, Owned(S_IFREG | 0100, 1, 1), kMayExec) == Errno::kACCES);
  CHECK(Check(search, directory, kMayRead | kMayExec) == kOk);
  CHECK(Check(search, directory, kMayWrite) == Errno::kACCES);
}

TEST_CASE("a path goes only through directories that may be searched") {
  Fixture t;
  t.Make("/d", S_IFDIR | 0700, 10, 10);
  t.Make("/d/f", S_IFREG | 0666, 10, 10);
  t.ctx = UserContext(11, 11);
  CHECK(t.StatError("/d") == kOk);
  CHECK(t.StatError("/d/f") == Errno::kACCES);
  CHECK(t.StatError("/d/none") == Errno::kACCES);
  CHECK(t.StatError("/d/..") == Errno::kACCES);
  CHECK(t.StatError("/d/.") == Errno::kACCES);
  t.ctx = UserContext(10, 10);
  CHECK(t.Contents("/d/f") == "content");
  // Search without read: names that are known, no listing.
  CHECK(t.Chmod("/d", 0100) == kOk);
  CHECK(t.Contents("/d/f") == "content");
  CHECK(t.OpenError("/d", O_RDONLY) == Errno::kACCES);
  // Read without search: names, nothing else.
  CHECK(t.Chmod("/d", 0400) == kOk);
  CHECK(t.List("/d") == std::vector<std::string>{"f"});
  CHECK(t.StatError("/d/f") == Errno::kACCES);
}

TEST_CASE("opening asks for what the flags say") {
  Fixture t;
  t.Make("/r", S_IFREG | 0444, 10, 10);
  t.Make("/w", S_IFREG | 0222, 10, 10);
  t.ctx = UserContext(10, 10);
  CHECK(t.OpenError("/r", O_RDONLY) == kOk);
  CHECK(t.OpenError("/r", O_WRONLY) == Errno::kACCES);
  CHECK(t.OpenError("/r", O_RDWR) == Errno::kACCES);
  CHECK(t.OpenError("/r", O_RDONLY | O_TRUNC) == Errno::kACCES);
  CHECK(t.OpenError("/w", O_WRONLY | O_TRUNC) == kOk);
  CHECK(t.OpenError("/w", O_RDONLY) == Errno::kACCES);
  CHECK(t.OpenError("/w", O_PATH) == kOk);
  // A file that is being made may be opened for whatever, whatever its mode says.
  t.Make("/d", S_IFDIR | 0777, 0, 0);
  t.ctx = UserContext(10, 10);
  CHECK(t.OpenError("/d/new", O_CREAT | O_RDWR, 0000) == kOk);
  CHECK(t.OpenError("/d/new", O_CREAT | O_RDWR, 0000) == Errno::kACCES);
  CHECK(t.OpenError("/r", O_RDONLY | O_NOATIME) == kOk);
  t.ctx = UserContext(11, 11);
  CHECK(t.OpenError("/r", O_RDONLY | O_NOATIME) == Errno::kPERM);
}

TEST_CASE("names change only in directories that may be written") {
  Fixture t;
  t.Make("/d", S_IFDIR | 0755, 10, 10);
  t.Make("/d/f", S_IFREG | 0666, 11, 11);
  t.Make("/open", S_IFDIR | 0777, 0, 0);
  t.ctx = UserContext(11, 11);
  CHECK(t.Create("/d/g") == Errno::kACCES);
  CHECK(t.Mkdir("/d/g") == Errno::kACCES);
  CHECK(t.Unlink("/d/f") == Errno::kACCES);
  CHECK(t.Rename("/d/f", "/open/f") == Errno::kACCES);
  CHECK(t.Link("/d/f", "/d/g") == Errno::kACCES);
  CHECK(t.Symlink("x", "/d/g") == Errno::kACCES);
  // The owner of the directory removes what is not theirs.
  t.ctx = UserContext(10, 10);
  CHECK(t.Unlink("/d/f") == kOk);
}

TEST_CASE("the sticky bit: own names only, or one's own directory") {
  Fixture t;
  t.Make("/s", S_IFDIR | 01777, 10, 10);
  for (const char* name : {"/s/a", "/s/b", "/s/c", "/s/d"}) t.Make(name, S_IFREG | 0666, 11, 11);
  t.Make("/s/mine", S_IFREG | 0666, 12, 12);
  t.ctx = UserContext(12, 12);
  CHECK(t.Unlink("/s/a") == Errno::kPERM);
  CHECK(t.Rename("/s/a", "/s/z") == Errno::kPERM);
  CHECK(t.Rename("/s/mine", "/s/a") == Errno::kPERM);
  CHECK(t.Rename("/s/mine", "/s/mine2") == kOk);
  t.ctx = UserContext(11, 11);
  CHECK(t.Unlink("/s/a") == kOk);
  t.ctx = UserContext(10, 10);
  CHECK(t.Unlink("/s/b") == kOk);
  t.ctx = With(UserContext(13, 13), {kCapFowner});
  CHECK(t.Unlink("/s/c") == kOk);
}

TEST_CASE("chmod: the owner or CAP_FOWNER; set-group-ID only for one's own groups") {
  Fixture t;
  t.Make("/f", S_IFREG | 0644, 10, 20);
  t.ctx = UserContext(11, 20);
  CHECK(t.Chmod("/f", 0777) == Errno::kPERM);
  t.ctx = UserContext(10, 99);
  CHECK(t.Chmod("/f", 06755) == kOk);
  CHECK(t.ModeOf("/f") == 04755);
  t.ctx = UserContext(10, 99, {20});
  CHECK(t.Chmod("/f", 06755) == kOk);
  CHECK(t.ModeOf("/f") == 06755);
  t.ctx = With(UserContext(11, 11), {kCapFowner});
  CHECK(t.Chmod("/f", 0600) == kOk);
}

TEST_CASE("chown: only with CAP_CHOWN, the group by the owner within their groups") {
  Fixture t;
  t.Make("/f", S_IFREG | 0644, 10, 20);
  t.ctx = UserContext(10, 20, {30});
  CHECK(t.Chown("/f", Uid{11}, {}) == Errno::kPERM);
  CHECK(t.Chown("/f", Uid{10}, {}) == kOk);
  CHECK(t.Chown("/f", {}, Gid{40}) == Errno::kPERM);
  CHECK(t.Chown("/f", {}, Gid{30}) == kOk);
  t.ctx = UserContext(11, 30);
  CHECK(t.Chown("/f", {}, Gid{30}) == Errno::kPERM);
  t.ctx = With(UserContext(11, 30), {kCapChown});
  CHECK(t.Chown("/f", Uid{50}, Gid{60}) == kOk);
  CHECK(t.Stat("/f")->uid == 50);
  CHECK(t.Stat("/f")->gid == 60);
}

TEST_CASE("a new owner takes set-user-ID away, also from root, not from directories") {
  Fixture t;
  t.Make("/f", S_IFREG | 06755, 10, 20);
  t.Make("/locking", S_IFREG | 02644, 10, 20);  // set-group-ID without x: mandatory locking once
  t.Make("/d", S_IFDIR | 06755, 10, 20);
  CHECK(t.Chown("/f", Uid{11}, {}) == kOk);
  CHECK(t.ModeOf("/f") == 0755);
  CHECK(t.Chown("/locking", Uid{11}, {}) == kOk);
  CHECK(t.ModeOf("/locking") == 02644);
  CHECK(t.Chown("/d", Uid{11}, {}) == kOk);
  CHECK(t.ModeOf("/d") == 06755);
}

TEST_CASE("a write or truncation takes set-user-ID away, unless CAP_FSETID") {
  Fixture t;
  t.Make("/f", S_IFREG | 06777, 10, 20);
  const FileRef root = t.Open("/f", O_WRONLY).value();
  CHECK(WriteTo(t.ctx, *root, "x").ok());
  CHECK(t.ModeOf("/f") == 06777);
  t.ctx = UserContext(11, 21);
  const FileRef file = t.Open("/f", O_WRONLY).value();
  CHECK(t.ModeOf("/f") == 06777);
  CHECK(WriteTo(t.ctx, *file, "x").ok());
  CHECK(t.ModeOf("/f") == 0777);
  t.Make("/g", S_IFREG | 06777, 10, 20);
  t.ctx = UserContext(11, 21);
  CHECK(t.OpenError("/g", O_WRONLY | O_TRUNC) == kOk);
  CHECK(t.ModeOf("/g") == 0777);
}

TEST_CASE("set-group-ID directories hand on their group") {
  Fixture t;
  t.Make("/g", S_IFDIR | 02777, 10, 20);
  t.ctx = UserContext(11, 11);
  CHECK(t.Create("/g/f") == kOk);
  CHECK(t.Stat("/g/f")->gid == 20);
  CHECK(t.Mkdir("/g/d") == kOk);
  CHECK(t.Stat("/g/d")->gid == 20);
  CHECK((t.ModeOf("/g/d") & S_ISGID) != 0);
  // Not a way to get a program that runs with that group.
  CHECK(t.Open("/g/p", O_CREAT | O_WRONLY, 02755).ok());
  CHECK((t.ModeOf("/g/p") & S_ISGID) == 0);
  t.Make("/plain", S_IFDIR | 0777, 10, 20);
  t.ctx = UserContext(11, 11);
  CHECK(t.Create("/plain/f") == kOk);
  CHECK(t.Stat("/plain/f")->gid == 11);
}

TEST_CASE("times: any by the owner, now by who may write") {
  Fixture t;
  t.Make("/f", S_IFREG | 0666, 10, 10);
  SetAttrRequest set, now, half;
  set.atime = set.mtime = Timespec{1, 2};
  now.atime_now = now.mtime_now = true;
  half.mtime_now = true;
  t.ctx = UserContext(11, 11);
  CHECK(t.Change("/f", set) == Errno::kPERM);
  CHECK(t.Change("/f", half) == Errno::kPERM);
  CHECK(t.Change("/f", now) == kOk);
  t.ctx = UserContext(10, 10);
  CHECK(t.Change("/f", set) == kOk);
  CHECK(t.Stat("/f")->mtime.sec == 1);
  CHECK(t.Chmod("/f", 0444) == kOk);
  t.ctx = UserContext(11, 11);
  CHECK(t.Change("/f", now) == Errno::kACCES);
}

TEST_CASE("truncation needs write permission and a regular file") {
  Fixture t;
  t.Make("/f", S_IFREG | 0444, 10, 10);
  t.Make("/d", S_IFDIR | 0777, 10, 10);
  SetAttrRequest request;
  request.size = 3;
  t.ctx = UserContext(10, 10);
  CHECK(t.Change("/f", request) == Errno::kACCES);
  CHECK(t.Change("/d", request) == Errno::kISDIR);
  CHECK(t.Chmod("/f", 0600) == kOk);
  CHECK(t.Change("/f", request) == kOk);
  CHECK(t.Contents("/f") == "con");
}

TEST_CASE("device nodes need CAP_MKNOD, fifos and sockets do not") {
  Fixture t;
  t.Make("/d", S_IFDIR | 0777, 0, 0);
  t.ctx = UserContext(10, 10);
  CHECK(ErrorOf(Vfs::Mknod(t.ctx, t.base, "/d/c", S_IFCHR | 0666, 1)) == Errno::kPERM);
  CHECK(ErrorOf(Vfs::Mknod(t.ctx, t.base, "/d/p", S_IFIFO | 0666, 0)) == kOk);
  CHECK(ErrorOf(Vfs::Mknod(t.ctx, t.base, "/d/s", S_IFSOCK | 0666, 0)) == kOk);
  CHECK(ErrorOf(Vfs::Mknod(t.ctx, t.base, "/d/d", S_IFDIR | 0777, 0)) == Errno::kPERM);
  CHECK(ErrorOf(Vfs::Mknod(t.ctx, t.base, "/d/l", S_IFLNK | 0777, 0)) == Errno::kINVAL);
}

TEST_CASE("access") {
  Fixture t;
  t.Make("/f", S_IFREG | 0540, 10, 10);
  const auto access = [&](uint32_t mask) {
    return ErrorOf(Vfs::CheckAccess(t.ctx, Vfs::Resolve(t.ctx, t.base, "/f").value(), mask));
  };
  t.ctx = UserContext(10, 10);
  CHECK(access(0) == kOk);
  CHECK(access(kMayRead | kMayExec) == kOk);
  CHECK(access(kMayWrite) == Errno::kACCES);
  t.ctx = UserContext(11, 11);
  CHECK(access(0) == kOk);
  CHECK(access(kMayRead) == Errno::kACCES);
  t.ctx = RootContext();
  CHECK(access(kMayRead | kMayWrite | kMayExec) == kOk);
}

}  // namespace
}  // namespace ringfence::sentry
