// What the dentry cache asks its file system, keeps and forgets.
#include "sentry/vfs/dcache.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "sentry/vfs/testing.h"

namespace ringfence::sentry {
namespace {

struct Fixture {
  explicit Fixture(size_t max_cached = Superblock::kMaxCached)
      : superblock(std::make_shared<Superblock>(fs, max_cached)) {}
  Result<NodeRef> Find(std::string_view name) { return Find(superblock->root(), name); }
  Result<NodeRef> Find(const NodeRef& directory, std::string_view name) {
    return superblock->Lookup(ctx, directory, name);
  }
  Errno ErrorOf(std::string_view name) {
    const Result<NodeRef> found = Find(name);
    return found.ok() ? Errno{} : found.error();
  }
  std::shared_ptr<FakeFs> fs = std::make_shared<FakeFs>();
  std::shared_ptr<Superblock> superblock;
  CallContext ctx;
};

TEST_CASE("found names are asked for once") {
  Fixture f;
  f.fs->top->Add("a");
  const NodeRef a = f.Find("a").value();
  CHECK(f.Find("a").value() == a);
  CHECK(f.fs->top->lookups == 1);
  CHECK(f.superblock->ParentOf(*a) == f.superblock->root());
  CHECK(f.superblock->NameOf(*a) == "a");
}

TEST_CASE("missing names are asked for once, until they appear") {
  Fixture f;
  CHECK(f.ErrorOf("a") == Errno::kNOENT);
  CHECK(f.ErrorOf("a") == Errno::kNOENT);
  CHECK(f.fs->top->lookups == 1);
  const auto made = f.fs->top->Add("a");
  const NodeRef added = f.superblock->Added(f.superblock->root(), "a", made);
  CHECK(f.Find("a").value() == added);
  CHECK(f.fs->top->lookups == 1);
}

TEST_CASE("directories that do not cache are asked every time") {
  Fixture f;
  f.fs->top->cache = false;
  f.fs->top->Add("a");
  CHECK(f.Find("a").ok());
  CHECK(f.Find("a").ok());
  CHECK(f.ErrorOf("b") == Errno::kNOENT);
  CHECK(f.ErrorOf("b") == Errno::kNOENT);
  CHECK(f.fs->top->lookups == 4);
  CHECK(f.superblock->cached() == 0);
  f.fs->top->children.erase("a");
  CHECK(f.ErrorOf("a") == Errno::kNOENT);
}

TEST_CASE("a pinned node of such a directory stays") {
  Fixture f;
  f.fs->top->cache = false;
  f.fs->top->Add("a");
  const NodeRef a = f.Find("a").value();
  CHECK(f.Find("a").value() != a);
  f.superblock->Pin(a);
  CHECK(f.Find("a").value() == a);
}

TEST_CASE("the cache is bounded, and forgets only what nobody holds") {
  Fixture f(100);
  std::vector<NodeRef> held;
  for (int i = 0; i < 5000; ++i) {
    const std::string name = std::to_string(i);
    f.fs->top->Add(name, S_IFREG | 0644);
    const NodeRef node = f.Find(name).value();
    if (i % 500 == 0) held.push_back(node);
  }
  CHECK(f.superblock->cached() <= 100);
  const int asked = f.fs->top->lookups;
  for (size_t i = 0; i < held.size(); ++i) {
    CHECK(f.Find(std::to_string(i * 500)).value() == held[i]);
  }
  CHECK(f.fs->top->lookups == asked);
}

TEST_CASE("negative nodes are bounded too") {
  Fixture f(100);
  for (int i = 0; i < 5000; ++i) CHECK(f.ErrorOf("none" + std::to_string(i)) == Errno::kNOENT);
  CHECK(f.superblock->cached() <= 100);
}

TEST_CASE("what was used lately stays longer than what was not") {
  Fixture f(64);
  f.fs->top->Add("often");
  CHECK(f.Find("often").ok());
  for (int i = 0; i < 1000; ++i) {
    CHECK(f.ErrorOf("none" + std::to_string(i)) == Errno::kNOENT);
    CHECK(f.Find("often").ok());
  }
  CHECK(f.fs->top->lookups == 1001);
}

TEST_CASE("directories with children that are held are not forgotten") {
  Fixture f(16);
  f.fs->top->Add("d")->Add("leaf");
  const NodeRef leaf = f.Find(f.Find("d").value(), "leaf").value();
  for (int i = 0; i < 1000; ++i) CHECK(f.ErrorOf("none" + std::to_string(i)) == Errno::kNOENT);
  const int asked = f.fs->top->lookups;
  CHECK(f.Find(f.Find("d").value(), "leaf").value() == leaf);
  CHECK(f.fs->top->lookups == asked);
  std::string path;
  CHECK(f.superblock->RelativePath(f.superblock->root().get(), leaf.get(), &path));
  CHECK(path == "d/leaf");
}

TEST_CASE("a lookup that raced with a change asks again") {
  Fixture f;
  const auto made = f.fs->top->Add("b");
  // While "a" is not found, it is made.
  f.fs->top->during_lookup = [&] { f.superblock->Added(f.superblock->root(), "b", made); };
  CHECK(f.ErrorOf("a") == Errno::kNOENT);
  CHECK(f.fs->top->lookups == 2);
}

// The node that gave way stayed in the list of cached nodes after it was freed.
TEST_CASE("bug: a node that another one displaces is not cached any more") {
  Fixture f;
  f.fs->top->cache = false;
  f.fs->top->Add("a");
  f.fs->top->Add("b");
  const NodeRef a = f.Find("a").value(), b = f.Find("b").value();
  NodeRef other = f.Find("b").value();
  f.superblock->Pin(other);
  CHECK(f.superblock->cached() == 1);
  f.superblock->Exchanged(a, b);
  CHECK(f.superblock->cached() == 2);
  const std::weak_ptr<Node> gone = std::exchange(other, nullptr);
  CHECK(gone.expired());
  CHECK(f.Find("a").value() == b);
  CHECK(f.Find("b").value() == a);
}

TEST_CASE("removed, moved and exchanged names") {
  Fixture f;
  f.fs->top->Add("a");
  f.fs->top->Add("b");
  f.fs->top->Add("d");
  const NodeRef a = f.Find("a").value(), b = f.Find("b").value(), d = f.Find("d").value();
  f.superblock->Exchanged(a, b);
  CHECK(f.Find("a").value() == b);
  CHECK(f.superblock->NameOf(*a) == "b");
  f.superblock->Moved(a, nullptr, d, "moved");
  CHECK(f.Find(d, "moved").value() == a);
  CHECK(f.superblock->IsAncestor(d.get(), a.get()));
  CHECK_FALSE(f.superblock->IsAncestor(a.get(), d.get()));
  f.superblock->Moved(b, a, d, "moved");
  CHECK(f.superblock->IsUnlinked(*a));
  CHECK(f.Find(d, "moved").value() == b);
  f.superblock->Removed(b);
  CHECK(f.superblock->IsUnlinked(*b));
  std::string path;
  CHECK(f.superblock->RelativePath(f.superblock->root().get(), b.get(), &path));
  CHECK(path == "d/moved");  // where it was
}

TEST_CASE("nothing is found in a directory that was removed") {
  Fixture f;
  f.fs->top->Add("d")->Add("x");
  const NodeRef d = f.Find("d").value();
  f.superblock->Removed(d);
  const Result<NodeRef> found = f.Find(d, "x");
  CHECK_FALSE(found.ok());
  CHECK(found.error() == Errno::kNOENT);
}

TEST_CASE("a chain of a hundred thousand names goes without deep recursion") {
  Fixture f;
  std::shared_ptr<FakeInode> inode = f.fs->top;
  NodeRef node = f.superblock->root();
  for (int i = 0; i < 100000; ++i) {
    inode = std::make_shared<FakeInode>(f.fs.get(), S_IFDIR | 0755);
    node = f.superblock->Added(node, "x", inode);
  }
  f.superblock.reset();
}

TEST_CASE("threads that look up, add and remove at once") {
  Fixture f(32);
  for (int i = 0; i < 64; ++i) f.fs->top->Add(std::to_string(i));
  f.fs->top->cache = true;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  // The fake's counter is not for threads: directories of their own.
  for (int t = 0; t < 4; ++t) {
    const NodeRef directory = f.Find(std::to_string(t)).value();
    const auto inode = f.fs->top->children[std::to_string(t)];
    for (int i = 0; i < 20; ++i) inode->Add(std::to_string(i));
    threads.emplace_back([&f, &wrong, directory, inode] {
      for (int i = 0; i < 5000; ++i) {
        const std::string name = std::to_string(i % 20);
        const Result<NodeRef> found = f.Find(directory, name);
        if (!found.ok() || f.superblock->NameOf(**found) != name) ++wrong;
        if (i % 7 == 0 && found.ok()) f.superblock->Removed(*found);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(f.superblock->cached() <= 32 + 4);
}

}  // namespace
}  // namespace ringfence::sentry
