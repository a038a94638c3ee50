// path_resolution(7) and open(2) over tmpfs.
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

TEST_CASE("plain names, dots and slashes") {
  TreeFixture t;
  REQUIRE(t.Mkdir("/a") == Errno{});
  REQUIRE(t.Mkdir("a/b/") == Errno{});
  REQUIRE(t.Create("/a/b/f", "hello") == Errno{});
  CHECK(t.Contents("/a/./b//../b/f") == "hello");
  CHECK(t.Contents("/../../a/b/f") == "hello");
  CHECK(t.StatError("") == Errno::kNOENT);
  CHECK(t.StatError("/a/b/f/") == Errno::kNOTDIR);
  CHECK(t.StatError("/a/b/f/.") == Errno::kNOTDIR);
  CHECK(t.StatError("/a/b/f/..") == Errno::kNOTDIR);
  CHECK(t.StatError("/a/x/..") == Errno::kNOENT);
  CHECK(t.StatError("/") == Errno{});
  CHECK(t.StatError("///") == Errno{});
  CHECK(t.Mkdir("/") == Errno::kEXIST);
  CHECK(t.Mkdir("/a/.") == Errno::kEXIST);
  CHECK(t.Mkdir("/a/..") == Errno::kEXIST);
  CHECK(t.Mkdir("/a") == Errno::kEXIST);
}

TEST_CASE("names of 255 bytes, of any byte, and paths that are too long") {
  TreeFixture t;
  const std::string longest(255, 'x');
  CHECK(t.Create("/" + longest, "1") == Errno{});
  CHECK(t.Contents("/" + longest) == "1");
  CHECK(t.Create("/" + longest + "x") == Errno::kNAMETOOLONG);
  CHECK(t.StatError("/" + longest + "x/y") == Errno::kNAMETOOLONG);
  CHECK(t.Mkdir("/" + std::string(256, 'y')) == Errno::kNAMETOOLONG);
  std::string path;
  while (path.size() < 4095) path += "/.";
  path.resize(4095);
  CHECK(t.StatError(path) == Errno{});
  CHECK(t.StatError(path + "/") == Errno::kNAMETOOLONG);
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/' || byte == '.') continue;
    const std::string name = std::string("/") + static_cast<char>(byte);
    CHECK(t.Create(name, std::to_string(byte)) == Errno{});
    CHECK(t.Contents(name) == std::to_string(byte));
  }
  CHECK(t.List("/").size() == 254);
}

TEST_CASE("symlinks: relative, absolute, nested, dangling, with slashes") {
  TreeFixture t;
  t.Mkdir("/d");
  t.Mkdir("/d/e");
  t.Create("/d/e/f", "x");
  CHECK(t.Symlink("e/f", "/d/rel") == Errno{});
  CHECK(t.Symlink("/d/e", "/abs") == Errno{});
  CHECK(t.Symlink("../d/e/", "/d/slash") == Errno{});
  CHECK(t.Symlink("nowhere", "/dangling") == Errno{});
  CHECK(t.Contents("/d/rel") == "x");
  CHECK(t.Contents("/abs/f") == "x");
  CHECK(t.Contents("/abs/../e/f") == "x");
  CHECK(t.Contents("/d/slash/f") == "x");
  CHECK(t.Contents("/d/slash//f") == "x");
  CHECK(t.StatError("/dangling") == Errno::kNOENT);
  CHECK(t.StatError("/dangling", false) == Errno{});
  CHECK(S_ISLNK(t.Stat("/abs", false)->mode));
  CHECK(S_ISDIR(t.Stat("/abs/", false)->mode));
  CHECK(t.StatError("/d/rel/", false) == Errno::kNOTDIR);
  CHECK(*Vfs::ReadLink(t.ctx, t.base, "/d/rel") == "e/f");
  CHECK(ErrorOf(Vfs::ReadLink(t.ctx, t.base, "/d/e/f")) == Errno::kINVAL);
  CHECK(t.Symlink("", "/empty") == Errno::kNOENT);
  CHECK(t.Mkdir("/dangling") == Errno::kEXIST);
}

TEST_CASE("symlink loops end after 40 links") {
  TreeFixture t;
  t.Symlink("loop", "/loop");
  CHECK(t.StatError("/loop") == Errno::kLOOP);
  CHECK(t.StatError("/loop/x") == Errno::kLOOP);
  CHECK(t.OpenError("/loop", O_CREAT | O_WRONLY) == Errno::kLOOP);
  t.Create("/l0", "end");
  for (int i = 1; i <= 41; ++i) {
    t.Symlink("l" + std::to_string(i - 1), "/l" + std::to_string(i));
  }
  CHECK(t.Contents("/l40") == "end");
  CHECK(t.StatError("/l41") == Errno::kLOOP);
  t.Symlink("two", "/one");
  t.Symlink("one", "/two");
  CHECK(t.StatError("/one") == Errno::kLOOP);
}

TEST_CASE("O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY") {
  TreeFixture t;
  t.Mkdir("/d");
  t.Symlink("target", "/link");
  CHECK(t.OpenError("/link", O_CREAT | O_EXCL | O_WRONLY) == Errno::kEXIST);
  CHECK(t.OpenError("/link", O_CREAT | O_NOFOLLOW | O_WRONLY) == Errno::kLOOP);
  CHECK(t.OpenError("/link", O_CREAT | O_WRONLY) == Errno{});
  CHECK(t.StatError("/target") == Errno{});
  CHECK(t.OpenError("/link", O_NOFOLLOW | O_RDONLY) == Errno::kLOOP);
  CHECK(t.OpenError("/target", O_CREAT | O_EXCL | O_WRONLY) == Errno::kEXIST);
  CHECK(t.OpenError("/d", O_CREAT | O_RDONLY) == Errno::kISDIR);
  CHECK(t.OpenError("/d", O_WRONLY) == Errno::kISDIR);
  CHECK(t.OpenError("/d", O_CREAT | O_EXCL) == Errno::kEXIST);
  CHECK(t.OpenError("/d/", O_CREAT | O_WRONLY) == Errno::kISDIR);
  CHECK(t.OpenError("/new/", O_CREAT | O_WRONLY) == Errno::kISDIR);
  CHECK(t.OpenError("/target", O_DIRECTORY | O_RDONLY) == Errno::kNOTDIR);
  CHECK(t.OpenError("/d", O_DIRECTORY | O_RDONLY) == Errno{});
  CHECK(t.OpenError("/d", O_CREAT | O_DIRECTORY) == Errno::kINVAL);
  CHECK(t.OpenError("/nodir/f", O_CREAT | O_WRONLY) == Errno::kNOENT);
  CHECK(t.OpenError("/target/f", O_CREAT | O_WRONLY) == Errno::kNOTDIR);
  CHECK(t.OpenError(".", O_RDONLY) == Errno{});
  CHECK(t.OpenError("/..", O_RDONLY | O_CREAT) == Errno::kISDIR);
}

TEST_CASE("O_PATH sees symlinks and moves no data") {
  TreeFixture t;
  t.Create("/f", "data");
  t.Symlink("f", "/link");
  FileRef link = *t.Open("/link", O_PATH | O_NOFOLLOW);
  CHECK(S_ISLNK(link->GetAttr(t.ctx)->mode));
  FileRef file = *t.Open("/link", O_PATH | O_RDWR | O_TRUNC);
  CHECK(S_ISREG(file->GetAttr(t.ctx)->mode));
  CHECK(ErrorOf(ReadFrom(t.ctx, *file, 1)) == Errno::kBADF);
  CHECK_FALSE(file->readable());
  CHECK(t.Contents("/f") == "data");
  CHECK(t.OpenError("/f", O_PATH | O_DIRECTORY) == Errno::kNOTDIR);
}

TEST_CASE("RESOLVE_* of openat2") {
  TreeFixture t;
  t.Mkdir("/d");
  t.Create("/d/f");
  t.Create("/out");
  t.Symlink("/d/f", "/d/abs");
  t.Symlink("../out", "/d/up");
  t.Symlink("f", "/d/rel");
  PathBase in_d{t.context.get(), *Vfs::Resolve(t.ctx, t.base, "/d")};
  const auto open = [&](const char* path, uint64_t resolve) {
    return ErrorOf(Vfs::Open(t.ctx, in_d, path, O_RDONLY, 0, resolve));
  };
  CHECK(open("rel", RESOLVE_BENEATH) == Errno{});
  CHECK(open("../out", RESOLVE_BENEATH) == Errno::kXDEV);
  CHECK(open("up", RESOLVE_BENEATH) == Errno::kXDEV);
  CHECK(open("abs", RESOLVE_BENEATH) == Errno::kXDEV);
  CHECK(open("/out", RESOLVE_BENEATH) == Errno::kXDEV);
  CHECK(open("/f", RESOLVE_IN_ROOT) == Errno{});
  CHECK(open("../../f", RESOLVE_IN_ROOT) == Errno{});
  CHECK(open("up", RESOLVE_IN_ROOT) == Errno::kNOENT);
  CHECK(open("abs", RESOLVE_IN_ROOT) == Errno::kNOENT);
  CHECK(open("rel", RESOLVE_NO_SYMLINKS) == Errno::kLOOP);
  CHECK(open("f", RESOLVE_NO_SYMLINKS) == Errno{});
  CHECK(open("f", RESOLVE_CACHED) == Errno::kAGAIN);
  CHECK(open("f", RESOLVE_BENEATH | RESOLVE_IN_ROOT) == Errno::kINVAL);
}

TEST_CASE("root confinement: chroot and the way up") {
  TreeFixture t;
  t.Mkdir("/jail");
  t.Mkdir("/jail/in");
  t.Create("/secret", "no");
  t.Symlink("/secret", "/jail/abs");
  t.context->SetRoot(*Vfs::Resolve(t.ctx, t.base, "/jail"));
  t.context->SetCwd(t.context->root());
  CHECK(t.StatError("../secret") == Errno::kNOENT);
  CHECK(t.StatError("/../../secret") == Errno::kNOENT);
  CHECK(t.StatError("/abs") == Errno::kNOENT);
  CHECK(t.StatError("/in/../in") == Errno{});
  DentryRef in = *Vfs::Resolve(t.ctx, t.base, "in");
  CHECK(Vfs::PathOf(in, t.context->root()) == "/in");
  CHECK(Vfs::PathOf(t.ns->root(), t.context->root()) == "(unreachable)/");
}

TEST_CASE("mounts are crossed both ways") {
  TreeFixture t;
  t.Mkdir("/m");
  t.Create("/m/hidden");
  auto other = Tmpfs::Create({.memory = &t.platform.memory()});
  DentryRef point = *Vfs::Resolve(t.ctx, t.base, "/m");
  REQUIRE(t.ns->Mount(other, point, "other", 0).ok());
  CHECK(t.StatError("/m/hidden") == Errno::kNOENT);
  CHECK(t.Create("/m/f", "there") == Errno{});
  CHECK(t.Contents("/m/../m/f") == "there");
  CHECK(t.StatError("/m/..") == Errno{});
  CHECK(t.Stat("/m")->dev == other->device_id());
  CHECK(t.Stat("/m/..")->dev == t.fs->device_id());
  CHECK(t.Rmdir("/m") == Errno::kBUSY);
  CHECK(t.Rename("/m", "/n") == Errno::kBUSY);
  CHECK(t.Rename("/m/f", "/f") == Errno::kXDEV);
  CHECK(t.Link("/m/f", "/f") == Errno::kXDEV);
  CHECK(t.OpenError("m/f", O_RDONLY, 0, RESOLVE_NO_XDEV) == Errno::kXDEV);
  DentryRef file = *Vfs::Resolve(t.ctx, t.base, "/m/f");
  CHECK(Vfs::PathOf(file, t.context->root()) == "/m/f");
  auto mounts = t.ns->List(t.context->root());
  REQUIRE(mounts.size() == 2);
  CHECK(mounts[0].path == "/");
  CHECK(mounts[1].path == "/m");
  CHECK(mounts[1].parent_id == mounts[0].id);
  REQUIRE(t.ns->Unmount(*Vfs::Resolve(t.ctx, t.base, "/m"), MNT_DETACH).ok());
  CHECK(t.StatError("/m/hidden") == Errno{});
  CHECK(Vfs::PathOf(file, t.context->root()) == "(unreachable)/f");
  CHECK(ErrorOf(t.ns->Unmount(t.ns->root(), 0)) == Errno::kINVAL);
}

TEST_CASE("a read-only mount refuses changes and lets devices and fifos be written") {
  TreeFixture t;
  t.Mkdir("/m");
  auto other = Tmpfs::Create({.memory = &t.platform.memory()});
  DentryRef root = *Vfs::Resolve(t.ctx, t.base, "/m");
  REQUIRE(ErrorOf(other->root()->Create(t.ctx, "f", S_IFREG | 0666, 0)) == Errno{});
  REQUIRE(ErrorOf(other->root()->Create(t.ctx, "fifo", S_IFIFO | 0666, 0)) == Errno{});
  REQUIRE(t.ns->Mount(other, root, "other", 1 /* MS_RDONLY */).ok());
  CHECK(t.OpenError("/m/f", O_RDONLY) == Errno{});
  CHECK(t.OpenError("/m/f", O_WRONLY) == Errno::kROFS);
  CHECK(t.OpenError("/m/new", O_CREAT | O_WRONLY) == Errno::kROFS);
  CHECK(t.OpenError("/m/f", O_RDONLY | O_TRUNC) == Errno::kROFS);
  CHECK(t.OpenError("/m/fifo", O_RDWR) == Errno{});
  CHECK(t.Mkdir("/m/d") == Errno::kROFS);
  CHECK(t.Mkdir("/m/f") == Errno::kEXIST);
  CHECK(t.Unlink("/m/f") == Errno::kROFS);
  CHECK(t.Rename("/m/f", "/m/g") == Errno::kROFS);
  SetAttrRequest request;
  request.mode = 0600;
  CHECK(ErrorOf(Vfs::SetAttr(t.ctx, *Vfs::Resolve(t.ctx, t.base, "/m/f"), request)) ==
        Errno::kROFS);
  CHECK(ErrorOf(Vfs::CheckAccess(t.ctx, *Vfs::Resolve(t.ctx, t.base, "/m/f"), 2)) == Errno::kROFS);
}

TEST_CASE("detached dentries have names and no path") {
  TreeFixture t;
  DentryRef pipe = Dentry::MakeDetached(t.fs->root(), "pipe:[7]");
  CHECK(Vfs::PathOf(pipe, t.context->root()) == "pipe:[7]");
  CHECK(SamePlace(pipe, pipe));
  CHECK_FALSE(SamePlace(pipe, t.ns->root()));
}

}  // namespace
}  // namespace ringfence::sentry
