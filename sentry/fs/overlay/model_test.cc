// The overlay against a plain tmpfs: whatever is done to both, they look the same.
#include <linux/fs.h>

#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "sentry/fs/overlay/test_tree.h"

namespace ringfence::sentry {
namespace {

void Fill(TreeFixture& tree) {
  for (const char* top : {"/a", "/b"}) {
    tree.Mkdir(top);
    for (const char* middle : {"/a", "/b", "/c"}) {
      const std::string path = std::string(top) + middle;
      tree.Mkdir(path);
      tree.Create(path + "/a", path);
      tree.Create(path + "/b", path);
      tree.Mkdir(path + "/c");
      tree.Symlink("../a", path + "/d");
    }
  }
}

class Twins {
 public:
  explicit Twins(unsigned seed) : overlay(Fill), random_(seed) { Fill(plain); }

  // Does the same to both; the name of what was done, and whether both said the same.
  std::pair<std::string, bool> Step() {
    const std::string from = Path(), to = Path();
    static constexpr uint32_t kFlags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    const uint32_t flags = kFlags[random_() % 5];
    switch (random_() % 11) {
      case 0:
        return Both("create " + from, [&](TreeFixture& t) { return t.Create(from, to); });
      case 1:
        return Both("append " + from, [&](TreeFixture& t) { return Append(t, from, to); });
      case 2:
      case 3:
        return Both("unlink " + from, [&](TreeFixture& t) { return t.Unlink(from); });
      case 4:
        return Both("mkdir " + from, [&](TreeFixture& t) { return t.Mkdir(from); });
      case 5:
        return Both("rmdir " + from, [&](TreeFixture& t) { return t.Rmdir(from); });
      case 6:
      case 7:
        return Both("rename " + from + " " + to + " " + std::to_string(flags),
                    [&](TreeFixture& t) { return t.Rename(from, to, flags); });
      case 8:
        return Both("link " + from + " " + to, [&](TreeFixture& t) { return t.Link(from, to); });
      case 9:
        return Both("symlink " + from, [&](TreeFixture& t) { return t.Symlink(to, from); });
      default:
        return Both("chmod " + from, [&](TreeFixture& t) { return Chmod(t, from); });
    }
  }

  TreeFixture plain;
  OverlayTree overlay;

 private:
  std::string Path() {
    std::string path;
    for (unsigned n = 1 + random_() % 3; n != 0; --n) {
      path += '/';
      path += static_cast<char>('a' + random_() % 4);
    }
    return path;
  }
  static Errno Append(TreeFixture& tree, const std::string& path, const std::string& data) {
    const Result<FileRef> file = tree.Open(path, O_WRONLY | O_APPEND);
    return file.ok() ? ErrorOf(WriteTo(tree.ctx, **file, data)) : file.error();
  }
  Errno Chmod(TreeFixture& tree, const std::string& path) {
    const Result<DentryRef> dentry = Vfs::Resolve(tree.ctx, tree.base, path);
    if (!dentry.ok()) return dentry.error();
    SetAttrRequest request;
    request.mode = 0700;
    return ErrorOf(Vfs::SetAttr(tree.ctx, *dentry, request));
  }
  std::pair<std::string, bool> Both(std::string what,
                                    const std::function<Errno(TreeFixture&)>& act) {
    const Errno expected = act(plain), got = act(overlay);
    what.append(": ").append(ErrnoName(expected)).append(" ").append(ErrnoName(got));
    return {std::move(what), expected == got};
  }

  std::mt19937 random_;
};

TEST_CASE("random changes leave the overlay and a plain file system alike") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    Twins twins(seed);
    std::string history;
    for (int step = 0; step < 300; ++step) {
      const auto [what, same] = twins.Step();
      history += what + "\n";
      if (step % 50 == 49) twins.overlay.Remount();
      const bool look = step % 10 == 9;
      if (same && (!look || DumpOf(twins.plain) == DumpOf(twins.overlay))) continue;
      INFO("seed " << seed << "\n" << history);
      REQUIRE(same);
      REQUIRE(DumpOf(twins.plain) == DumpOf(twins.overlay));
    }
    REQUIRE(twins.overlay.LowerIsUnchanged());
  }
}

TEST_CASE("names are whole while others change them") {
  OverlayTree t([](TreeFixture& lower) {
    lower.Mkdir("/d");
    for (int i = 0; i < 16; ++i) lower.Create("/d/f" + std::to_string(i), "old");
  });
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  // Two replace, remove and make; two look: a file is the old one, the new one, or not there.
  for (unsigned seed = 1; seed <= 2; ++seed) {
    threads.emplace_back([&t, seed] {
      std::mt19937 random(seed);
      for (int step = 0; step < 4000; ++step) {
        const std::string path = "/d/f" + std::to_string(random() % 16);
        const std::string other = "/d/f" + std::to_string(random() % 16);
        switch (random() % 5) {
          case 0:
            static_cast<void>(t.Unlink(path));
            break;
          case 1:
            static_cast<void>(t.Create(path, "new"));
            break;
          case 2:
            static_cast<void>(t.Rename(path, other));
            break;
          case 3:
            static_cast<void>(t.Chmod(path, 0600));
            break;
          default:
            static_cast<void>(t.Mkdir(path));
            static_cast<void>(t.Rmdir(path));
        }
      }
    });
  }
  std::atomic<int> wrong{0};
  for (unsigned seed = 3; seed <= 4; ++seed) {
    threads.emplace_back([&t, &done, &wrong, seed] {
      std::mt19937 random(seed);
      while (!done) {
        const std::string path = "/d/f" + std::to_string(random() % 16);
        const std::string got = t.Contents(path);
        if (got != "old" && got != "new" && got != "" && got != "ENOENT" && got != "EISDIR")
          ++wrong;
        std::vector<std::string> names = t.List("/d");
        std::sort(names.begin(), names.end());
        if (std::adjacent_find(names.begin(), names.end()) != names.end()) ++wrong;
        for (const std::string& name : names) wrong += name.starts_with("f") ? 0 : 1;
      }
    });
  }
  threads[0].join();
  threads[1].join();
  done = true;
  threads[2].join();
  threads[3].join();
  CHECK(wrong == 0);
  CHECK(t.LowerIsUnchanged());
  const std::vector<std::string> now = DumpOf(t);
  t.Remount();
  CHECK(DumpOf(t) == now);
}

}  // namespace
}  // namespace ringfence::sentry
