// How many calls to the gofer an operation costs.
#include <sys/stat.h>

#include <algorithm>

#include "test/goferfs/fixture.h"

namespace ringfence::sentry {
namespace {

// What `ls -lR` (sorted) and `find` (in the order of the directory) do; returns how many entries.
size_t WalkTree(GoferFixture& f, const std::string& path, bool sorted) {
  std::vector<std::string> names = f.List(path).value();
  size_t count = names.size();
  if (sorted) std::sort(names.begin(), names.end());
  std::vector<std::string> below;
  for (const std::string& name : names) {
    const std::string child = path + "/" + name;
    const uint32_t mode = f.Stat(child)->mode;
    if (S_ISLNK(mode)) CHECK(Vfs::ReadLink(f.ctx, f.base, child).ok());
    if (S_ISDIR(mode)) below.push_back(child);
  }
  for (const std::string& child : below) count += WalkTree(f, child, sorted);
  return count;
}

int Total(const Calls& calls) {
  int total = 0;
  for (const auto& [name, count] : calls) total += count;
  return total;
}

TEST_CASE("a walk through a tree costs a call for many directories and none for files") {
  GoferFixture f;
  for (int i = 0; i < 200; ++i) {
    const std::string package = "doc/package" + std::to_string(i * 7919 % 1000);
    f.host.Directory(package + "/examples/more");
    f.host.File(package + "/copyright", "x");
    f.host.File(package + "/examples/one", "x");
    f.host.File(package + "/examples/two", "x");
    f.host.Symlink(package + "/changelog", "copyright");
  }
  f.Mount();
  const bool sorted = GENERATE(false, true);
  CHECK(WalkTree(f, "/doc", sorted) == 200 * 7);
  Calls calls = f.client->TakeCalls();
  CHECK(calls["ReadLink"] == 0);
  CHECK(calls["Open"] == 0);
  CHECK(calls["ReadDir"] == 1);
  CHECK(calls["Walk"] <= calls["ReadTree"]);
  // 601 directories; natively 601 opens.
  INFO("ReadTree " << calls["ReadTree"] << ", Walk " << calls["Walk"]);
  CHECK(Total(calls) <= 30);
  CHECK(f.client->directories_ahead <= 700);
  // Once more, and nobody is asked.
  CHECK(WalkTree(f, "/doc", sorted) == 200 * 7);
  CHECK(Total(f.client->TakeCalls()) == 0);
}

TEST_CASE("a program that lists one directory in ten does not make the gofer read the others") {
  GoferFixture f;
  for (int i = 0; i < 300; ++i) f.host.Directory("d/" + std::to_string(i));
  f.Mount();
  const std::vector<std::string> names = f.List("/d").value();
  for (size_t i = 0; i < names.size(); i += 10) CHECK(f.List("/d/" + names[i]).ok());
  CHECK(f.client->directories_ahead <= 75);
}

TEST_CASE("a directory and its parent only: one extra listing at most") {
  GoferFixture f;
  for (int i = 0; i < 50; ++i) f.host.Directory("d/" + std::to_string(i));
  f.Mount();
  CHECK(f.List("/d")->size() == 50);
  CHECK(f.List("/d/7").ok());
  CHECK(f.client->directories_ahead <= 2);
}

TEST_CASE("calls of lookups") {
  GoferFixture f;
  f.host.Directory("a/b");
  f.host.File("a/b/c", "x");
  f.Mount();
  CHECK(f.Stat("/a/b/c").ok());
  CHECK(f.client->TakeCalls() == Calls{{"Walk", 3}});
  CHECK(f.Stat("/a/b/c").ok());
  CHECK(f.client->TakeCalls().empty());
  // What is missing is known to be missing.
  CHECK(ErrorOf(f.Stat("/a/b/none")) == Errno::kNOENT);
  CHECK(f.client->TakeCalls() == Calls{{"Walk", 1}});
  CHECK(ErrorOf(f.Stat("/a/b/none")) == Errno::kNOENT);
  CHECK(f.client->TakeCalls().empty());
}

TEST_CASE("a listing answers for the names it has and those it has not") {
  GoferFixture f;
  f.host.Directory("a/sub");
  f.host.File("a/file", "x");
  f.Mount();
  CHECK(f.List("/a")->size() == 2);
  CHECK(f.client->TakeCalls() == Calls{{"Walk", 1}, {"ReadDir", 1}});
  CHECK(f.Stat("/a/file")->size == 1);
  CHECK(ErrorOf(f.Stat("/a/none")) == Errno::kNOENT);
  CHECK(f.Stat("/a/sub")->mode == (S_IFDIR | 0755));
  CHECK(f.List("/a")->size() == 2);
  CHECK(f.client->TakeCalls().empty());
}

TEST_CASE("calls of opening, reading and opening again") {
  GoferFixture f;
  f.host.Directory("a/b");
  f.host.File("a/b/c", "content");
  f.host.File("a/b/d", "more");
  f.Mount();
  CHECK(f.Contents("/a/b/c").value() == "content");
  CHECK(f.client->TakeCalls() == Calls{{"Walk", 3}, {"Open", 1}});
  CHECK(f.Contents("/a/b/c").value() == "content");
  CHECK(f.client->TakeCalls().empty());
  // From a listing: no walk to the file first.
  CHECK(f.List("/a/b")->size() == 2);
  f.client->TakeCalls();
  CHECK(f.Contents("/a/b/d").value() == "more");
  CHECK(f.client->TakeCalls() == Calls{{"Open", 1}});
}

TEST_CASE("a file below directories that were only listed: one walk, one open") {
  GoferFixture f;
  f.host.Directory("a/b/c/d");
  f.host.File("a/b/c/d/file", "content");
  f.Mount();
  CHECK(WalkTree(f, "/a", false) == 4);
  f.client->TakeCalls();
  CHECK(f.Contents("/a/b/c/d/file").value() == "content");
  const Calls calls = f.client->TakeCalls();
  CHECK(Total(calls) <= 2);
}

TEST_CASE("symlinks come with their targets") {
  GoferFixture f;
  f.host.Directory("usr/lib");
  f.host.File("usr/lib/x", "content");
  f.host.Symlink("lib", "usr/lib");
  f.Mount();
  CHECK(f.Contents("/lib/x").value() == "content");
  CHECK(f.client->TakeCalls() == Calls{{"Walk", 4}, {"Open", 1}});
}

TEST_CASE("calls of changes in a tree that the sandbox owns") {
  GoferFixture f;
  f.host.Directory("d");
  f.MountWritable();
  CHECK(f.List("/d")->empty());
  f.client->TakeCalls();
  // Created, written, read, closed: one call each, the first with a walk to the directory.
  CHECK(f.WriteFile("/d/a", "content").ok());
  f.client->TakeCalls();
  for (int i = 0; i < 20; ++i) CHECK(f.WriteFile("/d/f" + std::to_string(i), "content").ok());
  CHECK(f.client->TakeCalls() == Calls{{"Make", 20}});
  CHECK(f.Stat("/d/f7")->size == 7);
  CHECK(f.Stat("/d")->nlink == 2);
  CHECK(f.client->TakeCalls().empty());
  CHECK(f.Contents("/d/f7").value() == "content");
  CHECK(f.client->TakeCalls() == Calls{{"Open", 1}});
  // Written once more: truncated, and opened.
  CHECK(f.WriteFile("/d/f7", "again").ok());
  CHECK(f.client->TakeCalls() == Calls{{"SetAttr", 1}, {"Open", 1}});
  for (int i = 0; i < 10; ++i) {
    CHECK(Vfs::Unlink(f.ctx, f.base, "/d/f" + std::to_string(i)).ok());
  }
  CHECK(f.client->TakeCalls() == Calls{{"Unlink", 10}});
  CHECK(Vfs::Mkdir(f.ctx, f.base, "/d/sub", 0755).ok());
  CHECK(Vfs::Rename(f.ctx, f.base, "/d/f15", f.base, "/d/sub/f", 0).ok());
  CHECK(Vfs::Symlink(f.ctx, "f", f.base, "/d/sub/l").ok());
  CHECK(Vfs::Link(f.ctx, f.base, "/d/sub/f", f.base, "/d/sub/g", 0).ok());
  // A name that was never heard of is asked for once.
  CHECK(f.client->TakeCalls() == Calls{{"Make", 2}, {"Rename", 1}, {"Link", 1}, {"Walk", 3}});
  CHECK(Vfs::ReadLink(f.ctx, f.base, "/d/sub/l").value() == "f");
  CHECK(f.client->TakeCalls().empty());
}

TEST_CASE("a listing taken before names changed still answers for the others") {
  GoferFixture f;
  for (int i = 0; i < 50; ++i) f.host.File("f" + std::to_string(i), "x");
  f.MountWritable();
  CHECK(f.List("/")->size() == 50);
  f.client->TakeCalls();
  for (int i = 0; i < 40; ++i) CHECK(Vfs::Unlink(f.ctx, f.base, "/f" + std::to_string(i)).ok());
  CHECK(f.client->TakeCalls() == Calls{{"Unlink", 40}});
  CHECK(f.List("/")->size() == 10);
  CHECK(f.client->TakeCalls() == Calls{{"ReadDir", 1}});
}

TEST_CASE("calls of changes in a shared tree") {
  GoferFixture f;
  f.host.Directory("d");
  f.MountWritable(GoferFs::Owner::kShared);
  CHECK(f.WriteFile("/d/first", "x").ok());
  f.client->TakeCalls();
  // Looked for, and made.
  CHECK(f.WriteFile("/d/file", "content").ok());
  Calls calls = f.client->TakeCalls();
  CHECK(calls["Walk"] == 1);
  CHECK(calls["Make"] == 1);
  CHECK(Total(calls) == 2);
  CHECK(f.Stat("/d/file")->size == 7);
  CHECK(f.client->TakeCalls() == Calls{{"Walk", 1}});
  CHECK(Vfs::Unlink(f.ctx, f.base, "/d/file").ok());
  CHECK(f.client->TakeCalls() == Calls{{"Unlink", 1}});
}

TEST_CASE("nodes are given back") {
  GoferFixture f;
  for (int i = 0; i < 100; ++i) f.host.Directory("d/" + std::to_string(i) + "/e");
  f.Mount();
  WalkTree(f, "/d", false);
  CHECK(f.client->nodes() < 40);
  f.base.fs = nullptr;
  f.context.reset();
  f.ns.reset();
  CHECK(f.client->nodes() == 1);
}

}  // namespace
}  // namespace ringfence::sentry
