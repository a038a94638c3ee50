// What a tmpfs charges for, and gives back: inodes, further names, extended attributes, pages.
#include <sys/statfs.h>
#include <sys/xattr.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kInodes = 16, kPages = 8;
constexpr uint64_t kRoom = 1024;  // of an inode, or of a name beyond the first

struct SmallTree : TreeFixture {
  SmallTree() : TreeFixture({.max_bytes = kPages * kPageSize, .max_inodes = kInodes}) {}

  uint64_t FreeInodes() { return fs->StatFs(ctx)->ffree; }
  uint64_t FreePages() { return fs->StatFs(ctx)->bfree; }
  Errno SetXattr(std::string_view path, const std::string& name, size_t bytes) {
    const Result<DentryRef> dentry = Vfs::Resolve(ctx, base, path);
    REQUIRE(dentry.ok());
    return ErrorOf((*dentry)->inode()->SetXattr(ctx, name, std::string(bytes, 'x'), 0));
  }
  Errno RemoveXattr(std::string_view path, const std::string& name) {
    return ErrorOf((*Vfs::Resolve(ctx, base, path))->inode()->RemoveXattr(ctx, name));
  }
  Errno Truncate(std::string_view path, uint64_t size) {
    SetAttrRequest request;
    request.size = size;
    return ErrorOf(Vfs::SetAttr(ctx, *Vfs::Resolve(ctx, base, path), request));
  }
};

TEST_CASE_METHOD(SmallTree, "files, directories, links and nodes take an inode each") {
  CHECK(FreeInodes() == kInodes - 1);  // the root
  REQUIRE(Create("/f") == Errno{});
  REQUIRE(Mkdir("/d") == Errno{});
  REQUIRE(Symlink("f", "/s") == Errno{});
  CHECK(FreeInodes() == kInodes - 4);
  REQUIRE(Link("/f", "/d/again") == Errno{});  // a name costs as much
  CHECK(FreeInodes() == kInodes - 5);
  REQUIRE(Unlink("/f") == Errno{});
  CHECK(FreeInodes() == kInodes - 4);
  REQUIRE(Unlink("/d/again") == Errno{});
  REQUIRE(Unlink("/s") == Errno{});
  REQUIRE(Rmdir("/d") == Errno{});
  CHECK(FreeInodes() == kInodes - 1);
}

TEST_CASE_METHOD(SmallTree, "names run out, and a failed one leaves nothing behind") {
  REQUIRE(Create("/f") == Errno{});
  for (uint64_t i = 2; i < kInodes; ++i) REQUIRE(Link("/f", "/" + std::to_string(i)) == Errno{});
  CHECK(FreeInodes() == 0);
  CHECK(Link("/f", "/more") == Errno::kNOSPC);
  CHECK(Create("/more") == Errno::kNOSPC);
  CHECK(Mkdir("/more") == Errno::kNOSPC);
  CHECK(Symlink("f", "/more") == Errno::kNOSPC);
  CHECK(StatError("/more") == Errno::kNOENT);
  CHECK(Stat("/f")->nlink == kInodes - 1);
  REQUIRE(Unlink("/5") == Errno{});
  CHECK(Mkdir("/more") == Errno{});
}

TEST_CASE_METHOD(SmallTree, "renaming over a name gives its charge back") {
  REQUIRE(Create("/a") == Errno{});
  REQUIRE(Create("/b") == Errno{});
  REQUIRE(Link("/b", "/c") == Errno{});
  CHECK(FreeInodes() == kInodes - 4);
  REQUIRE(Rename("/a", "/b") == Errno{});  // /c is left of the old one
  CHECK(FreeInodes() == kInodes - 3);
  REQUIRE(Rename("/b", "/c") == Errno{});
  CHECK(FreeInodes() == kInodes - 2);
}

TEST_CASE_METHOD(SmallTree, "a file that is open keeps its inode until it is closed") {
  REQUIRE(Create("/f", "x") == Errno{});
  {
    const FileRef file = *Open("/f", O_RDONLY);
    REQUIRE(Unlink("/f") == Errno{});
    CHECK(FreeInodes() == kInodes - 2);
    CHECK(FreePages() == kPages - 1);
  }
  CHECK(FreeInodes() == kInodes - 1);
  CHECK(FreePages() == kPages);
}

TEST_CASE_METHOD(SmallTree, "a temporary file is charged once, also when it gets a name") {
  {
    const FileRef file = *Open("/", O_TMPFILE | O_RDWR);
    CHECK(FreeInodes() == kInodes - 2);
    REQUIRE(file->inode() != nullptr);
    REQUIRE(ns->root()->inode()->Link(ctx, "named", *file->inode()).ok());
    CHECK(FreeInodes() == kInodes - 2);
  }
  CHECK(FreeInodes() == kInodes - 2);
  { const FileRef file = *Open("/", O_TMPFILE | O_RDWR); }
  CHECK(FreeInodes() == kInodes - 2);
}

TEST_CASE_METHOD(SmallTree, "extended attributes take room that inodes would have") {
  REQUIRE(Create("/f") == Errno{});
  REQUIRE(SetXattr("/f", "user.a", 4 * kRoom) == Errno{});
  CHECK(FreeInodes() == kInodes - 2 - 5);            // and a little for the name
  REQUIRE(SetXattr("/f", "user.a", 10) == Errno{});  // a shorter value
  CHECK(FreeInodes() == kInodes - 2 - 1);
  CHECK(SetXattr("/f", "user.b", kInodes * kRoom) == Errno::kNOSPC);
  CHECK(FreeInodes() == kInodes - 2 - 1);
  REQUIRE(RemoveXattr("/f", "user.a") == Errno{});
  CHECK(FreeInodes() == kInodes - 2);
  REQUIRE(SetXattr("/f", "user.a", 4 * kRoom) == Errno{});
  REQUIRE(Unlink("/f") == Errno{});
  CHECK(FreeInodes() == kInodes - 1);
}

TEST_CASE_METHOD(SmallTree, "attributes of one file are bounded however much room there is") {
  TreeFixture large;
  REQUIRE(large.Create("/f") == Errno{});
  Inode& file = *(*Vfs::Resolve(large.ctx, large.base, "/f"))->inode();
  const std::string value(60 * 1024, 'x');
  CHECK(file.SetXattr(large.ctx, "user.a", value, 0).ok());
  CHECK(file.SetXattr(large.ctx, "user.b", value, 0).ok());
  CHECK(ErrorOf(file.SetXattr(large.ctx, "user.c", value, 0)) == Errno::kNOSPC);
  CHECK(file.SetXattr(large.ctx, "user.b", "short", 0).ok());
  CHECK(file.SetXattr(large.ctx, "user.c", value, 0).ok());
}

TEST_CASE_METHOD(SmallTree,
                 "pages are charged when they are made, and truncation gives them back") {
  REQUIRE(Create("/f", std::string(3 * kPageSize, 'x')) == Errno{});
  CHECK(FreePages() == kPages - 3);
  REQUIRE(Truncate("/f", kPageSize + 1) == Errno{});
  CHECK(FreePages() == kPages - 2);
  REQUIRE(Truncate("/f", uint64_t{1} << 30) == Errno{});  // a hole costs nothing
  CHECK(FreePages() == kPages - 2);
  REQUIRE(Truncate("/f", 0) == Errno{});
  CHECK(FreePages() == kPages);
}

TEST_CASE_METHOD(SmallTree, "a full tree takes what fits, then says so, and recovers") {
  REQUIRE(Create("/f") == Errno{});
  const FileRef file = *Open("/f", O_RDWR);
  const std::string all((kPages + 3) * kPageSize, 'x');
  CHECK(*WriteTo(ctx, *file, all) == kPages * kPageSize);
  CHECK(FreePages() == 0);
  CHECK(ErrorOf(WriteTo(ctx, *file, "x")) == Errno::kNOSPC);
  const int64_t begin = 0;
  CHECK(WriteTo(ctx, *file, "over what is there", &begin).ok());
  CHECK(Create("/g", "x") == Errno::kNOSPC);
  REQUIRE(Truncate("/f", kPageSize) == Errno{});
  CHECK(Create("/g", "x") == Errno{});
}

TEST_CASE_METHOD(SmallTree, "a link whose target is too long for the inode takes pages") {
  REQUIRE(Symlink("short", "/s") == Errno{});
  CHECK(FreePages() == kPages);
  REQUIRE(Symlink(std::string(500, 'x'), "/long") == Errno{});
  CHECK(FreePages() == kPages - 1);
  REQUIRE(Create("/f", std::string((kPages - 1) * kPageSize, 'x')) == Errno{});
  const uint64_t inodes = FreeInodes();
  CHECK(Symlink(std::string(500, 'x'), "/more") == Errno::kNOSPC);
  CHECK(FreeInodes() == inodes);
  REQUIRE(Unlink("/long") == Errno{});
  CHECK(FreePages() == 1);
}

}  // namespace
}  // namespace ringfence::sentry
