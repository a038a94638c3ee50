// An overlay over a goferfs asks the gofer no more than the goferfs alone.
#include "sentry/fs/overlay/overlay.h"

#include <sys/stat.h>

#include <algorithm>

#include "test/goferfs/fixture.h"

namespace ringfence::sentry {
namespace {

enum class Root { kPlain, kOverlay };

struct LayeredFixture : GoferFixture {
  void MountAs(Root root) {
    GoferFs::Options options;
    options.chunks = std::make_shared<ChunkCache>(&platform.memory());
    Mount(options);
    if (root == Root::kPlain) return;
    options.client = client = std::make_shared<CountingClient>(
        gofer::Tree::Make(host.Open(), limits, gofer::Access::kReadOnly).value());
    Tmpfs::Options memory;
    memory.memory = &platform.memory();
    upper = Tmpfs::Create(memory);
    ns = MountNamespace::Create(
        *OverlayFs::Create({.lower = GoferFs::Create(options).value(), .upper = upper}), "overlay");
    context = std::make_shared<FsContext>(ns->root(), ns->root(), 022);
    base.fs = context.get();
    client->TakeCalls();
  }
  ~LayeredFixture() {
    context.reset();
    ns.reset();
    upper.reset();
  }
  std::shared_ptr<Tmpfs> upper;
};

int Total(const Calls& calls) {
  int total = 0;
  for (const auto& [name, count] : calls) total += count;
  return total;
}

// What find does; returns how many entries.
size_t WalkTree(GoferFixture& f, const std::string& path) {
  const std::vector<std::string> names = f.List(path).value();
  size_t count = names.size();
  for (const std::string& name : names) {
    if (S_ISDIR(f.Stat(path + "/" + name)->mode)) count += WalkTree(f, path + "/" + name);
  }
  return count;
}

void FillTree(GoferFixture& f) {
  for (int i = 0; i < 200; ++i) {
    const std::string package = "doc/package" + std::to_string(i * 7919 % 1000);
    f.host.Directory(package + "/examples/more");
    f.host.File(package + "/copyright", "x");
    f.host.File(package + "/examples/one", "x");
    f.host.Symlink(package + "/changelog", "copyright");
  }
}

TEST_CASE("walking through a tree costs the same calls with and without an overlay") {
  std::vector<Calls> calls;
  for (const Root root : {Root::kPlain, Root::kOverlay}) {
    LayeredFixture f;
    FillTree(f);
    f.MountAs(root);
    CHECK(WalkTree(f, "/doc") == 200 * 6);
    CHECK(f.Contents("/doc/package919/copyright").value() == "x");
    CHECK(ErrorOf(f.Stat("/doc/none/none")) == Errno::kNOENT);
    calls.push_back(f.client->TakeCalls());
    CHECK(WalkTree(f, "/doc") == 200 * 6);
    CHECK(f.Contents("/doc/package919/copyright").value() == "x");
    CHECK(f.client->TakeCalls().empty());
  }
  CHECK(calls[0] == calls[1]);
  CHECK(Total(calls[1]) <= 32);
}

TEST_CASE("a walk still reads ahead where directories have been changed") {
  LayeredFixture f;
  FillTree(f);
  f.MountAs(Root::kOverlay);
  for (const char* path : {"/new", "/doc/new", "/doc/package919/new", "/doc/package0/copyright"}) {
    CHECK(f.WriteFile(path, "x").ok());
  }
  f.client->TakeCalls();
  CHECK(WalkTree(f, "/doc") == 200 * 6 + 2);
  CHECK(Total(f.client->TakeCalls()) <= 32);
}

TEST_CASE("reading a file that is not copied up asks the gofer once") {
  LayeredFixture f;
  f.host.Directory("a");
  f.host.File("a/b", "content");
  f.MountAs(Root::kOverlay);
  CHECK(f.Contents("/a/b").value() == "content");
  CHECK(f.client->TakeCalls() == Calls{{"Walk", 2}, {"Open", 1}});
  CHECK(f.Contents("/a/b").value() == "content");
  const FileRef file = f.Open("/a/b").value();
  CHECK(file->GetMappable(f.ctx, false).ok());
  CHECK(f.client->TakeCalls().empty());
}

TEST_CASE("small files made and removed in a directory of the host: hardly a call for each") {
  LayeredFixture f;
  f.host.Directory("a");
  for (int i = 0; i < 100; ++i) f.host.File("a/old" + std::to_string(i), "x");
  f.MountAs(Root::kOverlay);
  for (int i = 0; i < 1000; ++i) CHECK(f.WriteFile("/a/f" + std::to_string(i), "x").ok());
  for (int i = 0; i < 1000; ++i) {
    CHECK(Vfs::Unlink(f.ctx, f.base, "/a/f" + std::to_string(i)).ok());
  }
  CHECK(Total(f.client->TakeCalls()) <= 20);
  CHECK(f.List("/a")->size() == 100);
}

TEST_CASE("a copy-up costs a few calls, and the gofer's file stays as it was") {
  LayeredFixture f;
  f.host.Directory("a/b");
  f.host.File("a/b/c", "content");
  f.MountAs(Root::kOverlay);
  CHECK(f.Stat("/a/b/c").ok());
  f.client->TakeCalls();
  const FileRef file = f.Open("/a/b/c", O_WRONLY | O_APPEND).value();
  CHECK(WriteTo(f.ctx, *file, "!").ok());
  CHECK(f.client->TakeCalls() == Calls{{"ListXattr", 3}, {"Open", 1}});
  CHECK(f.Contents("/a/b/c").value() == "content!");
  CHECK(f.OnHost("a/b/c") == "content");
}

TEST_CASE("an upper tree on the host keeps what was done") {
  LayeredFixture f;
  f.host.Directory("d/sub");
  f.host.File("d/a", "a");
  f.host.File("d/b", "b");
  f.host.File("d/sub/x", "x");
  gofer::TempTree kept;
  const auto mount = [&](bool fresh) {
    GoferFs::Options lower;
    lower.client = std::make_shared<CountingClient>(
        gofer::Tree::Make(f.host.Open(), f.limits, gofer::Access::kReadOnly).value());
    GoferFs::Options upper;
    upper.access = GoferFs::Access::kReadWrite;
    upper.is_overlay_upper = true;
    upper.client = std::make_shared<CountingClient>(
        gofer::Tree::Make(kept.Open(), f.limits, gofer::Access::kReadWrite).value());
    f.ns = MountNamespace::Create(*OverlayFs::Create({.lower = GoferFs::Create(lower).value(),
                                                      .upper = GoferFs::Create(upper).value(),
                                                      .new_upper = fresh}),
                                  "overlay");
    f.context = std::make_shared<FsContext>(f.ns->root(), f.ns->root(), 022);
    f.base.fs = f.context.get();
  };
  mount(true);
  const uint64_t ino = f.Stat("/d/a")->ino;
  REQUIRE(f.WriteFile("/d/new", "new").ok());
  {
    const FileRef file = f.Open("/d/a", O_WRONLY | O_APPEND).value();
    REQUIRE(WriteTo(f.ctx, *file, "!").ok());
  }
  REQUIRE(Vfs::Unlink(f.ctx, f.base, "/d/b").ok());
  REQUIRE(Vfs::Rename(f.ctx, f.base, "/d/sub", f.base, "/moved", 0).ok());
  REQUIRE(Vfs::Mkdir(f.ctx, f.base, "/d/sub", 0755).ok());
  for (int round = 0; round < 2; ++round) {
    CHECK(f.Contents("/d/new").value() == "new");
    CHECK(f.Contents("/d/a").value() == "a!");
    CHECK(f.Stat("/d/a")->ino == ino);
    CHECK(ErrorOf(f.Stat("/d/b")) == Errno::kNOENT);
    CHECK(f.Contents("/moved/x").value() == "x");
    CHECK(f.List("/d/sub")->empty());
    std::vector<std::string> names = f.List("/d").value();
    std::sort(names.begin(), names.end());
    CHECK(names == std::vector<std::string>{"a", "new", "sub"});
    mount(false);
  }
}

}  // namespace
}  // namespace ringfence::sentry
