// A tree that the host changes as well: what it does is seen at the next open and stat.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "test/goferfs/fixture.h"

namespace ringfence::sentry {
namespace {

namespace fs = std::filesystem;

struct Shared : GoferFixture {
  Shared() {
    host.Directory("dir");
    host.File("dir/file", "content");
    GoferFs::Options options;
    options.owner = GoferFs::Owner::kShared;
    options.access = GENERATE(GoferFs::Access::kReadOnly, GoferFs::Access::kReadWrite);
    Mount(options);
  }
};

TEST_CASE("sizes, modes and contents") {
  Shared f;
  CHECK(f.Stat("/dir/file")->size == 7);
  CHECK(f.Contents("/dir/file").value() == "content");
  f.host.File("dir/file", "something longer");
  CHECK(f.Stat("/dir/file")->size == 16);
  CHECK(f.Contents("/dir/file").value() == "something longer");
  fs::permissions(f.host / "dir/file", fs::perms::owner_read);
  CHECK(f.Stat("/dir/file")->mode == (S_IFREG | 0400));
  // Open files, too.
  const FileRef file = f.Open("/dir/file").value();
  REQUIRE(truncate((f.host / "dir/file").c_str(), 3) == 0);
  CHECK(file->GetAttr(f.ctx)->size == 3);
  CHECK(ReadFrom(f.ctx, *file, 100).value() == "som");
}

TEST_CASE("names that come, go and are replaced") {
  Shared f;
  CHECK(ErrorOf(f.Stat("/dir/new")) == Errno::kNOENT);
  CHECK(f.List("/dir")->size() == 1);
  f.host.File("dir/new", "x");
  CHECK(f.Stat("/dir/new")->size == 1);
  CHECK(f.List("/dir")->size() == 2);
  const FileRef file = f.Open("/dir/file").value();
  f.host.File("other", "replacement");
  fs::rename(f.host / "other", f.host / "dir/file");
  CHECK(f.Contents("/dir/file").value() == "replacement");
  CHECK(ReadFrom(f.ctx, *file, 100).value() == "content");
  CHECK(file->dentry()->unlinked());
  fs::remove(f.host / "dir/file");
  CHECK(ErrorOf(f.Stat("/dir/file")) == Errno::kNOENT);
  CHECK(ErrorOf(f.Open("/dir/file")) == Errno::kNOENT);
  fs::create_directory(f.host / "dir/file");
  CHECK(f.Stat("/dir/file")->mode == (S_IFDIR | 0755));
}

TEST_CASE("the same file stays the same object") {
  Shared f;
  const InodeRef first = Vfs::Resolve(f.ctx, f.base, "/dir/file").value()->inode();
  f.host.File("dir/file", "changed");
  CHECK(Vfs::Resolve(f.ctx, f.base, "/dir/file").value()->inode() == first);
  fs::create_hard_link(f.host / "dir/file", f.host / "second");
  CHECK(Vfs::Resolve(f.ctx, f.base, "/second").value()->inode() == first);
  CHECK(f.Stat("/dir/file")->nlink == 2);
}

TEST_CASE("a file renamed by the host is still its object for who has it open") {
  Shared f;
  const FileRef file = f.Open("/dir/file").value();
  fs::rename(f.host / "dir/file", f.host / "dir/elsewhere");
  CHECK(ErrorOf(f.Stat("/dir/file")) == Errno::kNOENT);
  CHECK(f.Stat("/dir/elsewhere")->ino == file->GetAttr(f.ctx)->ino);
  CHECK(ReadFrom(f.ctx, *file, 100).value() == "content");
}

TEST_CASE("races of the sandbox with the host over a name") {
  GoferFixture f;
  f.host.File("file", "x");
  f.MountWritable(GoferFs::Owner::kShared);
  // Known to be missing, and then it is there.
  CHECK(ErrorOf(f.Stat("/new")) == Errno::kNOENT);
  f.host.File("new", "of the host");
  CHECK(ErrorOf(Vfs::Mkdir(f.ctx, f.base, "/new", 0755)) == Errno::kEXIST);
  CHECK(f.Contents("/new").value() == "of the host");
  CHECK(ErrorOf(f.Open("/new", O_CREAT | O_EXCL | O_RDWR)) == Errno::kEXIST);
  // Known to be there, and then it is not.
  CHECK(f.Stat("/file").ok());
  fs::remove(f.host / "file");
  CHECK(ErrorOf(Vfs::Unlink(f.ctx, f.base, "/file")) == Errno::kNOENT);
  CHECK(ErrorOf(f.Stat("/file")) == Errno::kNOENT);
  CHECK(Vfs::Mkdir(f.ctx, f.base, "/file", 0755).ok());
}

TEST_CASE("a tree that is one file") {
  GoferFixture f;
  f.host.File("file", "content");
  f.host.Directory("root");
  f.host.File("root/mountpoint", "");
  GoferFs::Options options;
  options.client =
      std::make_shared<CountingClient>(gofer::Tree::Make(f.host.Open("root"), {}).value());
  f.ns = MountNamespace::Create(GoferFs::Create(options).value(), "root");
  f.context = std::make_shared<FsContext>(f.ns->root(), f.ns->root(), 022);
  f.base.fs = f.context.get();
  options.client = std::make_shared<CountingClient>(
      gofer::Tree::Make(f.host.Open("file"), {}, gofer::Access::kReadWrite).value());
  options.access = GoferFs::Access::kReadWrite;
  options.owner = GoferFs::Owner::kShared;
  const DentryRef target = Vfs::Resolve(f.ctx, f.base, "/mountpoint").value();
  CHECK(f.ns->Mount(GoferFs::Create(options).value(), f.ns->root(), "file", 0).error() ==
        Errno::kNOTDIR);
  REQUIRE(f.ns->Mount(GoferFs::Create(options).value(), target, "file", 0).ok());
  CHECK(f.Contents("/mountpoint").value() == "content");
  const FileRef file = f.Open("/mountpoint", O_WRONLY | O_APPEND).value();
  CHECK(WriteTo(f.ctx, *file, "+").ok());
  CHECK(f.OnHost("file") == "content+");
  CHECK(ErrorOf(f.Open("/mountpoint/x")) == Errno::kNOTDIR);
  CHECK(ErrorOf(Vfs::Unlink(f.ctx, f.base, "/mountpoint")) == Errno::kROFS);
}

}  // namespace
}  // namespace ringfence::sentry
