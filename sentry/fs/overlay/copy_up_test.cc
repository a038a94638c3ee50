// What is read, and what is copied when it is first changed.
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include <catch2/catch.hpp>

#include "sentry/fs/overlay/test_tree.h"
#include "sentry/vfs/testing.h"

namespace ringfence::sentry {
namespace {

using Names = std::vector<std::string>;

void Fill(TreeFixture& lower) {
  lower.Mkdir("/etc", 0751);
  lower.Create("/etc/passwd", "root");
  lower.Mkdir("/etc/deep");
  lower.Mkdir("/etc/deep/er");
  lower.Create("/etc/deep/er/file", "content");
  lower.Symlink("passwd", "/etc/link");
  lower.Create("/etc/one", "twice");
  lower.Link("/etc/one", "/etc/two");
}

TEST_CASE("what is not changed is the lower tree's") {
  OverlayTree t(Fill);
  CHECK(t.Contents("/etc/deep/er/file") == "content");
  CHECK(t.Contents("/etc/link") == "root");
  CHECK(t.List("/etc/deep") == Names{"er"});
  const Attributes lower = *t.below.Stat("/etc/passwd");
  const Attributes shown = *t.Stat("/etc/passwd");
  CHECK(shown.ino == lower.ino);
  CHECK(shown.dev == t.overlay->device_id());
  CHECK(shown.mode == lower.mode);
  CHECK(t.above.List("/").empty());
  CHECK(t.StatError("/etc/none") == Errno::kNOENT);
}

TEST_CASE("the upper tree is not asked for names in directories it does not have") {
  TreeFixture lower;
  Fill(lower);
  auto upper = std::make_shared<FakeFs>();
  const Result<std::shared_ptr<OverlayFs>> fs =
      OverlayFs::Create({.lower = lower.fs, .upper = upper, .new_upper = false});
  REQUIRE(fs.ok());
  const auto ns = MountNamespace::Create(*fs, "overlay");
  const FsContext context(ns->root(), ns->root(), 022);
  const PathBase base{.fs = &context, .start = nullptr};
  for (const char* path : {"/etc/deep/er/file", "/etc/deep/er/none", "/etc/deep/er/file/x"}) {
    static_cast<void>(Vfs::Resolve(lower.ctx, base, path));
  }
  CHECK(upper->top->lookups == 1);  // "etc"
}

TEST_CASE(
    "a write copies the file and the directories above, and nothing of it shows but the data") {
  OverlayTree t(Fill);
  SetAttrRequest times;
  times.atime = Timespec{1000, 1};
  times.mtime = Timespec{2000, 2};
  const Attributes before = *t.Stat("/etc/deep/er/file"), above = *t.Stat("/etc/deep/er");
  REQUIRE(t.Append("/etc/deep/er/file", "!") == Errno{});
  CHECK(t.Contents("/etc/deep/er/file") == "content!");
  const Attributes after = *t.Stat("/etc/deep/er/file");
  CHECK(after.ino == before.ino);
  CHECK(after.dev == before.dev);
  CHECK(after.mode == before.mode);
  CHECK(after.nlink == 1);
  CHECK(t.Stat("/etc")->mode == (S_IFDIR | 0751));
  const Attributes directory = *t.Stat("/etc/deep/er");
  CHECK(directory.ino == above.ino);
  CHECK(directory.mtime.sec == above.mtime.sec);
  CHECK(directory.mtime.nsec == above.mtime.nsec);
  CHECK(t.below.Contents("/etc/deep/er/file") == "content");
  CHECK(t.HasUpper("/etc/deep/er/file"));
  CHECK_FALSE(t.HasUpper("/etc/passwd"));
  CHECK(t.LowerIsUnchanged());

  t.Remount();
  CHECK(t.Contents("/etc/deep/er/file") == "content!");
  CHECK(t.Stat("/etc/deep/er/file")->ino == before.ino);
  CHECK(t.Stat("/etc/deep/er")->ino == above.ino);
  CHECK(t.List("/etc/deep/er") == Names{"file"});
}

TEST_CASE("owner, mode, times and extended attributes come along; setuid stays until a write") {
  OverlayTree t([](TreeFixture& lower) {
    lower.Create("/f", "data");
    const DentryRef f = *Vfs::Resolve(lower.ctx, lower.base, "/f");
    SetAttrRequest request;
    request.mode = 06755;
    request.uid = 1000;
    request.gid = 100;
    REQUIRE(f->inode()->SetAttr(lower.ctx, request).ok());
    request = {};
    request.atime = Timespec{1000, 1};
    request.mtime = Timespec{2000, 2};
    REQUIRE(f->inode()->SetAttr(lower.ctx, request).ok());
    REQUIRE(f->inode()->SetXattr(lower.ctx, "user.a", "1", 0).ok());
    REQUIRE(f->inode()->SetXattr(lower.ctx, "trusted.b", "2", 0).ok());
  });
  const DentryRef f = *Vfs::Resolve(t.ctx, t.base, "/f");
  CHECK(*f->inode()->GetXattr(t.ctx, "user.a") == "1");
  REQUIRE(f->inode()->SetXattr(t.ctx, "user.c", "3", 0).ok());
  CHECK(t.HasUpper("/f"));
  const Attributes attr = *t.Stat("/f");
  CHECK(attr.mode == (S_IFREG | 06755));
  CHECK(attr.uid == 1000);
  CHECK(attr.gid == 100);
  CHECK(attr.atime.sec == t.below.Stat("/f")->atime.sec);
  CHECK(attr.atime.nsec == t.below.Stat("/f")->atime.nsec);
  CHECK(attr.mtime.sec == 2000);
  CHECK(attr.mtime.nsec == 2);
  Names names = *f->inode()->ListXattr(t.ctx);
  std::sort(names.begin(), names.end());
  CHECK(names == Names{"trusted.b", "user.a", "user.c"});
  CHECK(*f->inode()->GetXattr(t.ctx, "trusted.b") == "2");
}

TEST_CASE("what the overlay notes for itself is neither shown nor settable") {
  OverlayTree t(Fill);
  REQUIRE(t.Chmod("/etc/passwd", 0600) == Errno{});
  REQUIRE(t.above.Stat("/etc/passwd").ok());
  Inode& raw = *(*Vfs::Resolve(t.above.ctx, t.above.base, "/etc/passwd"))->inode();
  CHECK(raw.GetXattr(t.ctx, "trusted.overlay.origin").ok());
  Inode& shown = *(*Vfs::Resolve(t.ctx, t.base, "/etc/passwd"))->inode();
  CHECK(shown.ListXattr(t.ctx)->empty());
  for (const char* name : {"trusted.overlay.origin", "trusted.overlay.opaque"}) {
    CHECK(ErrorOf(shown.GetXattr(t.ctx, name)) == Errno::kOPNOTSUPP);
    CHECK(ErrorOf(shown.SetXattr(t.ctx, name, "y", 0)) == Errno::kOPNOTSUPP);
    CHECK(ErrorOf(shown.RemoveXattr(t.ctx, name)) == Errno::kOPNOTSUPP);
  }
  CHECK(ErrorOf(Vfs::Mknod(t.ctx, t.base, "/w", S_IFCHR | 0600, 0)) == Errno::kPERM);
}

TEST_CASE("holes are not copied, and truncation copies only what stays") {
  OverlayTree t([](TreeFixture& lower) {
    const FileRef file = *lower.Open("/sparse", O_CREAT | O_RDWR);
    const int64_t far = int64_t{1} << 30;
    REQUIRE(WriteTo(lower.ctx, *file, "begin").ok());
    REQUIRE(WriteTo(lower.ctx, *file, "end", &far).ok());
    REQUIRE(file->Truncate(lower.ctx, uint64_t{2} << 30).ok());
    lower.Create("/long", std::string(1 << 20, 'x'));
    lower.Create("/gone", std::string(1 << 20, 'x'));
  });
  REQUIRE(t.Chmod("/sparse", 0600) == Errno{});
  const Attributes sparse = *t.Stat("/sparse");
  CHECK(sparse.size == uint64_t{2} << 30);
  CHECK(sparse.blocks == 16);
  const FileRef file = *t.Open("/sparse", O_RDONLY);
  const int64_t far = int64_t{1} << 30;
  CHECK(*ReadFrom(t.ctx, *file, 5) == "begin");
  CHECK(*ReadFrom(t.ctx, *file, 4, &far) == std::string("end\0", 4));

  SetAttrRequest request;
  request.size = 3;
  REQUIRE(t.SetAttr("/long", request) == Errno{});
  CHECK(t.Contents("/long") == "xxx");
  CHECK(t.Create("/gone", "new") == Errno{});
  CHECK(t.Contents("/gone") == "new");
  CHECK(t.Stat("/gone")->blocks == 8);
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("a file opened for reading shows what is written to the copy") {
  OverlayTree t(Fill);
  const FileRef file = *t.Open("/etc/passwd", O_RDONLY);
  CHECK(*ReadFrom(t.ctx, *file, 2) == "ro");
  REQUIRE(t.Append("/etc/passwd", ":x") == Errno{});
  CHECK(*ReadFrom(t.ctx, *file, 10) == "ot:x");
  CHECK(*file->Seek(t.ctx, 0, SEEK_END) == 6);
  CHECK(*file->Seek(t.ctx, -5, SEEK_CUR) == 1);
  CHECK(*ReadFrom(t.ctx, *file, 2) == "oo");
  CHECK(file->GetAttr(t.ctx)->size == 6);
  CHECK(ErrorOf(file->Seek(t.ctx, INT64_MAX, SEEK_CUR)) == Errno::kINVAL);
}

TEST_CASE("a file without a name is copied up without one") {
  OverlayTree t(Fill);
  const FileRef file = *t.Open("/etc/deep/er/file", O_RDONLY);
  CHECK(t.Unlink("/etc/deep/er/file") == Errno{});
  CHECK(file->GetAttr(t.ctx)->nlink == 0);
  CHECK(t.Rmdir("/etc/deep/er") == Errno{});
  SetAttrRequest request;
  request.mode = 0600;
  CHECK(Vfs::SetAttr(t.ctx, file->dentry(), request).ok());
  CHECK(file->GetAttr(t.ctx)->mode == (S_IFREG | 0600));
  CHECK(*ReadFrom(t.ctx, *file, 10) == "content");
  const FileRef again = *Vfs::OpenDentry(t.ctx, file->dentry(), O_RDWR);
  CHECK(WriteTo(t.ctx, *again, "C").ok());
  CHECK(t.List("/etc/deep").empty());
  CHECK(ErrorOf(file->dentry()->parent()->inode()->Link(t.ctx, "x", *file->inode())) ==
        Errno::kNOENT);
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("two names of a lower file become two files") {
  OverlayTree t(Fill);
  const uint64_t ino = t.Stat("/etc/two")->ino;
  CHECK(t.Stat("/etc/one")->ino == ino);
  REQUIRE(t.Append("/etc/one", "!") == Errno{});
  CHECK(t.Contents("/etc/two") == "twice");
  CHECK(t.Stat("/etc/two")->ino == ino);
  CHECK(t.Stat("/etc/one")->ino != ino);
}

TEST_CASE("symlinks and special files are copied as they are") {
  OverlayTree t([](TreeFixture& lower) {
    lower.Symlink("/target", "/link");
    Vfs::Mknod(lower.ctx, lower.base, "/fifo", S_IFIFO | 0640, 0).value();
    Vfs::Mknod(lower.ctx, lower.base, "/device", S_IFBLK | 0640, 0x0103).value();
  });
  for (const char* path : {"/link", "/fifo", "/device"}) {
    ResolveFlags flags;
    flags.follow_last = false;
    const DentryRef dentry = *Vfs::Resolve(t.ctx, t.base, path, flags);
    SetAttrRequest request;
    request.uid = 7;
    REQUIRE(Vfs::SetAttr(t.ctx, dentry, request).ok());
    const Attributes now = *t.Stat(path, false), lower = *t.below.Stat(path, false);
    CHECK(now.uid == 7);
    CHECK(now.mode == lower.mode);
    CHECK(now.rdev == lower.rdev);
    CHECK(now.ino == lower.ino);
  }
  CHECK(*Vfs::ReadLink(t.ctx, t.base, "/link") == "/target");
}

TEST_CASE("a copy that cannot fit is refused before anything is copied") {
  Tmpfs::Options small;
  small.max_bytes = 64 << 10;
  OverlayTree t(
      [](TreeFixture& lower) {
        lower.Create("/large", std::string(128 << 10, 'x'));
        lower.Create("/small", std::string(8 << 10, 'x'));
      },
      small);
  CHECK(t.OpenError("/large", O_RDWR) == Errno::kNOSPC);
  CHECK(t.Chmod("/large", 0600) == Errno::kNOSPC);
  CHECK(t.overlay->StatFs(t.ctx)->bfree == 16);
  CHECK(t.Contents("/large").size() == 128 << 10);
  CHECK(t.OpenError("/large", O_RDWR | O_TRUNC) == Errno{});
  CHECK(t.Append("/small", "y") == Errno{});
  CHECK(t.Contents("/small").size() == (8 << 10) + 1);
}

TEST_CASE("a copy is given up when its caller is to end, and nothing is left of it") {
  const std::string content(1'000'000, 'x');
  OverlayTree t([&](TreeFixture& lower) {
    lower.Mkdir("/dir");
    lower.Create("/dir/large", content);
  });
  t.ctx.tid = 7;
  int asked = 0;
  t.caller_ends = [&](const CallContext& caller) {
    CHECK(caller.tid == 7);
    return ++asked == 3;
  };
  const uint64_t room = t.overlay->StatFs(t.ctx)->bfree;
  CHECK(t.Append("/dir/large", "y") == Errno::kINTR);
  CHECK(asked == 3);
  CHECK(t.overlay->StatFs(t.ctx)->bfree == room);
  CHECK(t.above.List("/dir").empty());
  CHECK((t.Contents("/dir/large") == content));
  CHECK(t.Append("/dir/large", "y") == Errno{});
  CHECK((t.Contents("/dir/large") == content + "y"));
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("a service thread copies nothing") {
  OverlayTree t(Fill);
  t.ctx.may_block = false;
  CHECK(t.Contents("/etc/passwd") == "root");
  CHECK(t.Append("/etc/passwd", "x") == Errno::kWOULDBLOCK_RETRY_ON_TASK);
  CHECK(t.Unlink("/etc/passwd") == Errno::kWOULDBLOCK_RETRY_ON_TASK);
  CHECK(t.Rename("/etc/deep", "/etc/shallow") == Errno::kWOULDBLOCK_RETRY_ON_TASK);
  CHECK(t.above.List("/").empty());
  t.ctx.may_block = true;
  CHECK(t.Append("/etc/passwd", "x") == Errno{});
  t.ctx.may_block = false;
  CHECK(t.Append("/etc/passwd", "y") == Errno{});
  CHECK(t.Create("/etc/new", "z") == Errno{});
  CHECK(t.Contents("/etc/passwd") == "rootxy");
}

TEST_CASE("the upper tree must be writable") {
  TreeFixture lower;
  auto upper = std::make_shared<FakeFs>();
  upper->is_read_only = true;
  CHECK(ErrorOf(OverlayFs::Create({.lower = lower.fs, .upper = upper})) == Errno::kROFS);
}

}  // namespace
}  // namespace ringfence::sentry
