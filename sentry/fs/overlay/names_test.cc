// Names that are removed, made and moved, and how directories list them.
#include <linux/fs.h>

#include <catch2/catch.hpp>
#include <set>

#include "sentry/fs/overlay/test_tree.h"
#include "sentry/vfs/dcache.h"

namespace ringfence::sentry {
namespace {

using Names = std::vector<std::string>;

void Fill(TreeFixture& lower) {
  lower.Mkdir("/d");
  for (const char* name : {"/d/a", "/d/b", "/d/c"}) lower.Create(name, name);
  lower.Mkdir("/d/sub");
  lower.Create("/d/sub/x", "x");
  lower.Mkdir("/d/empty");
}

Names Sorted(Names names) {
  std::sort(names.begin(), names.end());
  return names;
}

TEST_CASE("a removed name stays away, and can be made anew") {
  OverlayTree t(Fill);
  REQUIRE(t.Unlink("/d/a") == Errno{});
  CHECK(t.StatError("/d/a") == Errno::kNOENT);
  CHECK(Sorted(t.List("/d")) == Names{"b", "c", "empty", "sub"});
  t.Remount();
  CHECK(t.StatError("/d/a") == Errno::kNOENT);
  CHECK(t.Unlink("/d/a") == Errno::kNOENT);
  REQUIRE(t.Create("/d/a", "new") == Errno{});
  CHECK(t.Contents("/d/a") == "new");
  CHECK(t.Stat("/d/a")->ino != t.below.Stat("/d/a")->ino);
  CHECK(Sorted(t.List("/d")) == Names{"a", "b", "c", "empty", "sub"});
  // Another time, now with something in both trees.
  REQUIRE(t.Unlink("/d/a") == Errno{});
  t.Remount();
  CHECK(t.StatError("/d/a") == Errno::kNOENT);
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("a directory made where one was removed is empty") {
  OverlayTree t(Fill);
  CHECK(t.Rmdir("/d/sub") == Errno::kNOTEMPTY);
  REQUIRE(t.Unlink("/d/sub/x") == Errno{});
  REQUIRE(t.Rmdir("/d/sub") == Errno{});
  REQUIRE(t.Rmdir("/d/empty") == Errno{});
  REQUIRE(t.Mkdir("/d/sub") == Errno{});
  CHECK(t.List("/d/sub").empty());
  t.Remount();
  CHECK(t.List("/d/sub").empty());
  CHECK(t.StatError("/d/sub/x") == Errno::kNOENT);
  CHECK(t.Stat("/d/sub")->nlink == 2);
  CHECK(t.StatError("/d/empty") == Errno::kNOENT);
  REQUIRE(t.Create("/d/empty", "a file") == Errno{});
  t.Remount();
  CHECK(t.Contents("/d/empty") == "a file");
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("a renamed file leaves nothing behind") {
  OverlayTree t(Fill);
  const uint64_t ino = t.Stat("/d/a")->ino;
  REQUIRE(t.Rename("/d/a", "/d/b") == Errno{});
  CHECK(t.StatError("/d/a") == Errno::kNOENT);
  CHECK(t.Contents("/d/b") == "/d/a");
  CHECK(t.Stat("/d/b")->ino == ino);
  REQUIRE(t.Rename("/d/b", "/d/z") == Errno{});
  REQUIRE(t.Rename("/d/z", "/d/a") == Errno{});
  t.Remount();
  CHECK(Sorted(t.List("/d")) == Names{"a", "c", "empty", "sub"});
  CHECK(t.Contents("/d/a") == "/d/a");
  CHECK(t.Stat("/d/a")->ino == ino);
  CHECK(t.Rename("/d/a", "/d/c", RENAME_NOREPLACE) == Errno::kEXIST);
  CHECK(t.Rename("/d/a", "/d/b", RENAME_NOREPLACE) == Errno{});
  CHECK(t.Rename("/d/b", "/d/sub") == Errno::kISDIR);
  CHECK(t.Rename("/d/b", "/d/sub", RENAME_EXCHANGE) == Errno{});
  CHECK(t.Contents("/d/sub") == "/d/a");
  CHECK(t.Contents("/d/b/x") == "x");
  t.Remount();
  CHECK(t.Contents("/d/sub") == "/d/a");
  CHECK(t.Contents("/d/b/x") == "x");
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("a renamed directory takes its contents along") {
  OverlayTree t(Fill);
  const uint64_t ino = t.Stat("/d/sub")->ino;
  REQUIRE(t.Mkdir("/e") == Errno{});
  REQUIRE(t.Rename("/d/sub", "/e/sub2") == Errno{});
  CHECK(t.Contents("/e/sub2/x") == "x");
  CHECK(t.StatError("/d/sub") == Errno::kNOENT);
  CHECK(t.Stat("/e/sub2")->ino == ino);
  REQUIRE(t.Append("/e/sub2/x", "y") == Errno{});
  t.Remount();
  CHECK(t.Contents("/e/sub2/x") == "xy");
  CHECK(t.Stat("/e/sub2")->ino == ino);
  // The whole of a merged directory, with moved ones in it, and where something was before.
  REQUIRE(t.Rename("/e/sub2", "/d/moved") == Errno{});
  REQUIRE(t.Rename("/d", "/f") == Errno{});
  REQUIRE(t.Mkdir("/d") == Errno{});
  t.Remount();
  CHECK(t.Contents("/f/moved/x") == "xy");
  CHECK(t.Contents("/f/a") == "/d/a");
  CHECK(t.StatError("/f/sub") == Errno::kNOENT);
  CHECK(t.List("/d").empty());
  // Back over the new one, which is opaque.
  CHECK(t.Rename("/f", "/d") == Errno{});
  t.Remount();
  CHECK(t.Contents("/d/moved/x") == "xy");
  CHECK(t.Contents("/d/b") == "/d/b");
  CHECK(Sorted(t.List("/")) == Names{"d", "e"});
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("a directory takes the place of one that only seems empty") {
  OverlayTree t(Fill);
  REQUIRE(t.Mkdir("/new") == Errno{});
  REQUIRE(t.Create("/new/n", "n") == Errno{});
  CHECK(t.Rename("/new", "/d/sub") == Errno::kNOTEMPTY);
  REQUIRE(t.Unlink("/d/sub/x") == Errno{});
  REQUIRE(t.Rename("/new", "/d/sub") == Errno{});
  CHECK(t.List("/d/sub") == Names{"n"});
  REQUIRE(t.Mkdir("/new") == Errno{});
  REQUIRE(t.Rename("/new", "/d/empty") == Errno{});
  t.Remount();
  CHECK(t.List("/d/sub") == Names{"n"});
  CHECK(t.List("/d/empty").empty());
  CHECK(t.LowerIsUnchanged());
}

TEST_CASE("hard links") {
  OverlayTree t(Fill);
  REQUIRE(t.Link("/d/a", "/d/l") == Errno{});
  CHECK(t.Stat("/d/a")->nlink == 2);
  CHECK(t.Stat("/d/l")->ino == t.below.Stat("/d/a")->ino);
  REQUIRE(t.Append("/d/l", "!") == Errno{});
  CHECK(t.Contents("/d/a") == "/d/a!");
  t.Remount();
  const DentryRef a = *Vfs::Resolve(t.ctx, t.base, "/d/a"),
                  l = *Vfs::Resolve(t.ctx, t.base, "/d/l");
  CHECK(a->inode() == l->inode());  // one file: its locks are
  REQUIRE(t.Unlink("/d/a") == Errno{});
  CHECK(t.Stat("/d/l")->nlink == 1);
  CHECK(t.Link("/d/l", "/d/b") == Errno::kEXIST);
  REQUIRE(t.Link("/d/l", "/d/a") == Errno{});  // where a whiteout is
  CHECK(t.Contents("/d/a") == "/d/a!");
}

TEST_CASE("O_TMPFILE") {
  OverlayTree t(Fill);
  const FileRef file = *t.Open("/d", O_TMPFILE | O_RDWR, 0600);
  REQUIRE(WriteTo(t.ctx, *file, "hidden").ok());
  CHECK(file->GetAttr(t.ctx)->nlink == 0);
  const DentryRef directory = *Vfs::Resolve(t.ctx, t.base, "/d");
  REQUIRE(directory->inode()->Link(t.ctx, "named", *file->inode()).ok());
  CHECK(t.Contents("/d/named") == "hidden");
  CHECK((*Vfs::Resolve(t.ctx, t.base, "/d/named"))->inode() == file->inode());
}

TEST_CASE("d_ino is st_ino") {
  OverlayTree t(Fill);
  t.Append("/d/a", "!");
  t.Rename("/d/b", "/d/q");
  t.Rename("/d/sub", "/d/sub2");
  t.Mkdir("/d/new");
  t.Create("/d/file", "");
  t.Create("/d/empty/file", "");
  t.Link("/d/c", "/d/c2");
  for (int round = 0; round < 2; ++round) {
    const FileRef directory = *t.Open("/d", O_RDONLY | O_DIRECTORY);
    int count = 0;
    REQUIRE(directory
                ->ReadDir(t.ctx,
                          [&](const DirEntry& entry) {
                            INFO(entry.name);
                            const Attributes attr = *t.Stat("/d/" + entry.name, false);
                            CHECK(attr.ino == entry.ino);
                            CHECK((attr.mode >> 12) == entry.type);
                            ++count;
                            return true;
                          })
                .ok());
    CHECK(count == 10);
    t.Remount();
  }
}

// Lists with a small buffer, doing something to each name as it comes.
Names ListAndDo(OverlayTree& t, const std::string& path,
                const std::function<void(const std::string&)>& act) {
  const FileRef directory = *t.Open(path, O_RDONLY | O_DIRECTORY);
  Names names;
  for (bool more = true; more;) {
    int n = 0;
    std::string got;
    REQUIRE(directory
                ->ReadDir(t.ctx,
                          [&](const DirEntry& entry) {
                            if (n == 1) return false;
                            ++n;
                            got = entry.name;
                            return true;
                          })
                .ok());
    more = n != 0;
    if (!more || got == "." || got == "..") continue;
    names.push_back(got);
    act(path + "/" + got);
  }
  return names;
}

TEST_CASE("a directory that changes while it is listed tells every name once") {
  const auto fill = [](TreeFixture& lower) {
    lower.Mkdir("/d");
    for (int i = 0; i < 100; ++i) lower.Create("/d/lower" + std::to_string(i), "x");
  };
  const auto prepare = [](OverlayTree& t) {
    for (int i = 0; i < 100; ++i) t.Create("/d/upper" + std::to_string(i), "y");
    for (int i = 0; i < 50; ++i) t.Unlink("/d/lower" + std::to_string(2 * i));
  };
  {
    OverlayTree t(fill);  // not merged yet when it is opened
    const Names names = ListAndDo(
        t, "/d", [&t](const std::string& path) { CHECK(t.Chmod(path, 0600) == Errno{}); });
    CHECK(names.size() == 100);
    CHECK(std::set<std::string>(names.begin(), names.end()).size() == 100);
  }
  {
    OverlayTree t(fill);
    prepare(t);
    const Names names = ListAndDo(
        t, "/d", [&t](const std::string& path) { CHECK(t.Append(path, "!") == Errno{}); });
    CHECK(names.size() == 150);
    CHECK(std::set<std::string>(names.begin(), names.end()).size() == 150);
  }
  {
    OverlayTree t(fill);
    prepare(t);
    CHECK(ListAndDo(t, "/d", [&t](const std::string& path) {
            CHECK(t.Unlink(path) == Errno{});
          }).size() == 150);
    CHECK(t.Rmdir("/d") == Errno{});
  }
  {
    OverlayTree t(fill);  // seekdir
    prepare(t);
    const FileRef directory = *t.Open("/d", O_RDONLY | O_DIRECTORY);
    std::vector<std::pair<std::string, int64_t>> seen;
    REQUIRE(directory
                ->ReadDir(t.ctx,
                          [&](const DirEntry& entry) {
                            seen.emplace_back(entry.name, entry.next_offset);
                            return true;
                          })
                .ok());
    REQUIRE(seen.size() == 152);
    for (size_t i = 0; i + 1 < seen.size(); ++i) {
      REQUIRE(*directory->Seek(t.ctx, seen[i].second, SEEK_SET) == seen[i].second);
      std::string next;
      REQUIRE(directory
                  ->ReadDir(t.ctx,
                            [&](const DirEntry& entry) {
                              if (!next.empty()) return false;
                              next = entry.name;
                              return true;
                            })
                  .ok());
      CHECK(next == seen[i + 1].first);
    }
  }
}

TEST_CASE("without room for a whiteout nothing happens to the name") {
  Tmpfs::Options small;
  small.max_inodes = 5;  // the root, /d, two more, and a bit for attributes
  OverlayTree t(Fill, small);
  REQUIRE(t.Append("/d/a", "!") == Errno{});
  REQUIRE(t.Unlink("/d/b") == Errno{});
  CHECK(t.Unlink("/d/c") == Errno::kNOSPC);
  CHECK(t.Unlink("/d/a") == Errno::kNOSPC);
  CHECK(t.Rename("/d/a", "/d/b") == Errno::kNOSPC);
  CHECK(t.Rename("/d/a", "/d/z") == Errno::kNOSPC);
  CHECK(t.Rmdir("/d/empty") == Errno::kNOSPC);
  CHECK(t.Create("/d/b") == Errno::kNOSPC);
  CHECK(t.Mkdir("/d/b") == Errno::kNOSPC);
  for (int round = 0; round < 2; ++round) {
    CHECK(t.Contents("/d/a") == "/d/a!");
    CHECK(t.Contents("/d/c") == "/d/c");
    CHECK(t.StatError("/d/b") == Errno::kNOENT);
    CHECK(Sorted(t.List("/d")) == Names{"a", "c", "empty", "sub"});
    t.Remount();
  }
  CHECK(Sorted(t.above.List("/d")) == Names{"a", "b"});
}

TEST_CASE("names of any bytes") {
  OverlayTree t(Fill);
  for (int c = 1; c < 256; ++c) {
    if (c == '/') continue;
    const std::string name = "/d/" + std::string(1, static_cast<char>(c)) + "\xff.";
    REQUIRE(t.Create(name, name) == Errno{});
    REQUIRE(t.Contents(name) == name);
    REQUIRE(t.Unlink(name) == Errno{});
  }
  // Like those that the overlay uses for a moment.
  REQUIRE(t.Create("/d/.ringfence-whiteout-1", "mine") == Errno{});
  REQUIRE(t.Unlink("/d/a") == Errno{});
  REQUIRE(t.Create("/d/a", "") == Errno{});
  CHECK(t.Contents("/d/.ringfence-whiteout-1") == "mine");
}

TEST_CASE("a very deep lower tree") {
  constexpr int kDepth = 20000;
  OverlayTree t([](TreeFixture& lower) {
    InodeRef at = lower.fs->root();
    for (int i = 0; i < kDepth; ++i) at = *at->Mkdir(lower.ctx, "d", 0755);
  });
  InodeRef at = t.overlay->root();
  for (int i = 0; i < kDepth; ++i) at = *at->Lookup(t.ctx, "d");
  CHECK(at->Create(t.ctx, "f", S_IFREG | 0600, 0).ok());  // copies up all of it
}

// A bound socket is found by its inode: as long as it holds its name, looking the name up again
// must give the same one, however many names have passed through the cache.
TEST_CASE("a socket's name outlives the cache of names while it is held") {
  OverlayTree t([](TreeFixture& lower) { lower.Mkdir("/run"); });
  const Result<DentryRef> bound = Vfs::MakeSocket(t.ctx, t.base, "/run/s", 0777);
  REQUIRE(bound.ok());
  REQUIRE(t.Mkdir("/many") == Errno{});
  REQUIRE(t.Create("/many/first") == Errno{});
  const std::weak_ptr<Inode> first = (*Vfs::Resolve(t.ctx, t.base, "/many/first"))->inode();
  const size_t names = Superblock::kMaxCached + 2000;
  for (size_t i = 0; i < names; ++i) {
    REQUIRE(t.Create("/many/" + std::to_string(i)) == Errno{});
  }
  CHECK(first.expired());  // the cache was full
  const Result<DentryRef> again = Vfs::Resolve(t.ctx, t.base, "/run/s");
  REQUIRE(again.ok());
  CHECK((*again)->inode() == (*bound)->inode());
  CHECK(t.Stat("/many/first").ok());
}

}  // namespace
}  // namespace ringfence::sentry
