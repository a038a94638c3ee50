// rename(2), link(2), unlink(2), rmdir(2): the matrices of kinds and places.
#include <linux/fs.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

constexpr Errno kOk{};

// Makes one object of a kind: f file, d empty directory, D full directory, l symlink, - nothing.
void Make(TreeFixture& t, char kind, const std::string& path) {
  switch (kind) {
    case 'f':
      REQUIRE(t.Create(path, path) == kOk);
      break;
    case 'd':
      REQUIRE(t.Mkdir(path) == kOk);
      break;
    case 'D':
      REQUIRE(t.Mkdir(path) == kOk);
      REQUIRE(t.Create(path + "/inner") == kOk);
      break;
    case 'l':
      REQUIRE(t.Symlink("nowhere", path) == kOk);
      break;
    default:
      break;
  }
}

struct RenameCase {
  char source, target;
  uint32_t flags;
  Errno expected;
};

TEST_CASE("the rename matrix, within a directory and between two") {
  const RenameCase cases[] = {
      {'-', '-', 0, Errno::kNOENT},
      {'-', 'f', 0, Errno::kNOENT},
      {'f', '-', 0, kOk},
      {'f', 'f', 0, kOk},
      {'f', 'l', 0, kOk},
      {'f', 'd', 0, Errno::kISDIR},
      {'f', 'D', 0, Errno::kISDIR},
      {'l', 'f', 0, kOk},
      {'l', '-', 0, kOk},
      {'d', '-', 0, kOk},
      {'d', 'd', 0, kOk},
      {'d', 'D', 0, Errno::kNOTEMPTY},
      {'d', 'f', 0, Errno::kNOTDIR},
      {'d', 'l', 0, Errno::kNOTDIR},
      {'D', 'd', 0, kOk},
      {'f', 'f', RENAME_NOREPLACE, Errno::kEXIST},
      {'f', '-', RENAME_NOREPLACE, kOk},
      {'f', 'd', RENAME_EXCHANGE, kOk},
      {'D', 'f', RENAME_EXCHANGE, kOk},
      {'d', 'D', RENAME_EXCHANGE, kOk},
      {'f', '-', RENAME_EXCHANGE, Errno::kNOENT},
      {'f', 'f', RENAME_EXCHANGE | RENAME_NOREPLACE, Errno::kINVAL},
      {'f', 'f', 8, Errno::kINVAL},
  };
  for (const RenameCase& c : cases) {
    for (const char* to : {"/p/b", "/q/b"}) {
      CAPTURE(c.source, c.target, c.flags, to);
      TreeFixture t;
      t.Mkdir("/p");
      t.Mkdir("/q");
      Make(t, c.source, "/p/a");
      Make(t, c.target, to);
      const uint64_t moved = t.Stat("/p/a", false).ok() ? t.Stat("/p/a", false)->ino : 0;
      CHECK(t.Rename("/p/a", to, c.flags) == c.expected);
      if (c.expected != kOk) continue;
      CHECK(t.Stat(to, false)->ino == moved);
      CHECK(t.StatError("/p/a", false) == ((c.flags & RENAME_EXCHANGE) != 0 ? kOk : Errno::kNOENT));
      uint64_t subdirectories = 0;
      for (const char* dir : {"/p", "/q"}) subdirectories += t.Stat(dir)->nlink - 2;
      uint64_t expected_dirs = 0;
      for (const char* path : {"/p/a", "/p/b", "/q/b"}) {
        if (t.Stat(path, false).ok() && S_ISDIR(t.Stat(path, false)->mode)) ++expected_dirs;
      }
      CHECK(subdirectories == expected_dirs);
    }
  }
}

TEST_CASE("rename into an own subtree, onto an ancestor, onto itself") {
  TreeFixture t;
  t.Mkdir("/a");
  t.Mkdir("/a/b");
  t.Mkdir("/a/b/c");
  t.Create("/a/b/f", "x");
  CHECK(t.Rename("/a", "/a/new") == Errno::kINVAL);
  CHECK(t.Rename("/a", "/a/b/c/new") == Errno::kINVAL);
  CHECK(t.Rename("/a/b/c", "/a") == Errno::kNOTEMPTY);
  CHECK(t.Rename("/a", "/a/b", RENAME_EXCHANGE) == Errno::kINVAL);
  CHECK(t.Rename("/a/b/c", "/a", RENAME_EXCHANGE) == Errno::kINVAL);
  CHECK(t.Rename("/a/b/f", "/a/b/f") == kOk);
  CHECK(t.Rename("/a/b", "/a/b") == kOk);
  CHECK(t.Link("/a/b/f", "/a/b/g") == kOk);
  CHECK(t.Rename("/a/b/f", "/a/b/g") == kOk);
  CHECK(t.StatError("/a/b/f") == kOk);  // same inode: nothing happens
  CHECK(t.Rename("/a/b/.", "/z") == Errno::kBUSY);
  CHECK(t.Rename("/a/b/..", "/z") == Errno::kBUSY);
  CHECK(t.Rename("/a/b", "/") == Errno::kBUSY);
  CHECK(t.Rename("/a/b/f/", "/a/x") == Errno::kNOTDIR);
  CHECK(t.Rename("/a/b/f", "/a/x/") == Errno::kNOTDIR);
  CHECK(t.Rename("/a/b/c/", "/a/x/") == kOk);
}

TEST_CASE("open files and working directories follow a rename") {
  TreeFixture t;
  t.Mkdir("/a");
  t.Mkdir("/a/b");
  t.Create("/a/b/f", "x");
  t.context->SetCwd(*Vfs::Resolve(t.ctx, t.base, "/a/b"));
  FileRef file = *t.Open("f", O_RDONLY);
  CHECK(t.Rename("/a", "/z") == kOk);
  CHECK(Vfs::PathOf(t.context->cwd(), t.context->root()) == "/z/b");
  CHECK(Vfs::PathOf(file->dentry(), t.context->root()) == "/z/b/f");
  CHECK(t.Contents("f") == "x");
  CHECK(t.StatError("../../a") == Errno::kNOENT);
  CHECK(t.Unlink("f") == kOk);
  CHECK(Vfs::PathOf(file->dentry(), t.context->root()) == "/z/b/f (deleted)");
  CHECK(t.Rmdir("/z/b") == kOk);
  CHECK(t.Create("g") == Errno::kNOENT);  // in a removed directory
  CHECK(t.Mkdir("g") == Errno::kNOENT);
  CHECK(t.StatError(".") == kOk);
  CHECK(t.StatError("..") == kOk);
  CHECK(t.List(".") == std::vector<std::string>{"ENOENT"});
}

TEST_CASE("hard links") {
  TreeFixture t;
  t.Mkdir("/d");
  t.Create("/f", "one");
  CHECK(t.Link("/f", "/d/g") == kOk);
  CHECK(t.Stat("/f")->nlink == 2);
  CHECK(t.Stat("/d/g")->ino == t.Stat("/f")->ino);
  CHECK(t.Link("/d", "/e") == Errno::kPERM);
  CHECK(t.Link("/f", "/d/g") == Errno::kEXIST);
  CHECK(t.Link("/f", "/new/") == Errno::kNOENT);
  CHECK(t.Link("/none", "/e") == Errno::kNOENT);
  CHECK(t.Symlink("/f", "/l") == kOk);
  CHECK(t.Link("/l", "/hard") == kOk);  // the link itself
  CHECK(S_ISLNK(t.Stat("/hard", false)->mode));
  CHECK(t.Link("/l", "/followed", AT_SYMLINK_FOLLOW) == kOk);
  CHECK(t.Stat("/f")->nlink == 3);
  CHECK(t.Link("/f", "/bad", 0x4) == Errno::kINVAL);
  FileRef open = *t.Open("/d/g", O_RDONLY);
  for (const char* path : {"/f", "/d/g", "/followed"}) CHECK(t.Unlink(path) == kOk);
  CHECK(open->GetAttr(t.ctx)->nlink == 0);
  CHECK(*ReadFrom(t.ctx, *open, 10) == "one");
}

TEST_CASE("unlink and rmdir of the wrong things") {
  TreeFixture t;
  t.Mkdir("/d");
  t.Mkdir("/d/e");
  t.Create("/f");
  t.Symlink("d", "/l");
  CHECK(t.Unlink("/d") == Errno::kISDIR);
  CHECK(t.Unlink("/d/") == Errno::kISDIR);
  CHECK(t.Unlink("/f/") == Errno::kNOTDIR);
  CHECK(t.Unlink("/l/") == Errno::kNOTDIR);
  CHECK(t.Unlink("/") == Errno::kISDIR);
  CHECK(t.Unlink("/d/.") == Errno::kISDIR);
  CHECK(t.Unlink("/none") == Errno::kNOENT);
  CHECK(t.Rmdir("/f") == Errno::kNOTDIR);
  CHECK(t.Rmdir("/l") == Errno::kNOTDIR);
  CHECK(t.Rmdir("/d") == Errno::kNOTEMPTY);
  CHECK(t.Rmdir("/d/e/.") == Errno::kINVAL);
  CHECK(t.Rmdir("/d/e/..") == Errno::kNOTEMPTY);
  CHECK(t.Rmdir("/") == Errno::kBUSY);
  CHECK(t.Rmdir("/d/e/") == kOk);
  CHECK(t.Rmdir("/d") == kOk);
  CHECK(t.Unlink("/l") == kOk);
}

TEST_CASE("a directory that was removed has no entries, not even dots") {
  TreeFixture t;
  REQUIRE(t.Mkdir("/d") == Errno{});
  const FileRef open = t.Open("/d", O_RDONLY | O_DIRECTORY).value();
  int count = 0;
  const auto all = [&](const DirEntry&) { return ++count != 0; };
  CHECK(open->ReadDir(t.ctx, all).ok());
  CHECK(count == 2);
  REQUIRE(t.Rmdir("/d") == Errno{});
  CHECK(ErrorOf(open->ReadDir(t.ctx, all)) == Errno::kNOENT);
  CHECK(count == 2);
}

TEST_CASE("O_TMPFILE and its first name") {
  TreeFixture t;
  t.Mkdir("/d");
  CHECK(t.OpenError("/d", O_TMPFILE | O_RDONLY) == Errno::kINVAL);
  FileRef file = *t.Open("/d", O_TMPFILE | O_RDWR, 0600);
  CHECK(file->GetAttr(t.ctx)->nlink == 0);
  CHECK(t.List("/d").empty());
  CHECK(*WriteTo(t.ctx, *file, "secret") == 6);
  PathBase at_file{t.context.get(), file->dentry()};
  CHECK(ErrorOf(Vfs::Link(t.ctx, at_file, "", t.base, "/d/named", AT_EMPTY_PATH)) == kOk);
  CHECK(t.Contents("/d/named") == "secret");
  CHECK(t.Unlink("/d/named") == kOk);
  CHECK(ErrorOf(Vfs::Link(t.ctx, at_file, "", t.base, "/again", AT_EMPTY_PATH)) == Errno::kNOENT);
}

}  // namespace
}  // namespace ringfence::sentry
