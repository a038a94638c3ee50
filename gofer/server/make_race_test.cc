// Making files while a process of the host replaces them: what it put there is never removed.
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "gofer/server/testing_temp_tree.h"
#include "gofer/server/tree.h"

namespace ringfence::gofer {
namespace {

using Clock = std::chrono::steady_clock;

// A thread of the host: when something is at `name` it renames a file of its own over it, which
// nobody but itself takes away again.
class Replacer {
 public:
  explicit Replacer(const TempTree& host) : host_(host), thread_([this] { Run(); }) {}
  ~Replacer() { Stop(); }
  void Stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int lost() const { return lost_; }  // after Stop

 private:
  void Run() {
    const std::string mine = host_ / "mine", name = host_ / "name";
    while (!over_) {
      host_.File("mine", "content");
      struct stat own, made;
      if (stat(mine.c_str(), &own) != 0) abort();
      while (!over_ && lstat(name.c_str(), &made) != 0) {
      }
      if (rename(mine.c_str(), name.c_str()) != 0) abort();
      if (!Stays(name, own.st_ino)) ++lost_;
      (void)unlink(name.c_str());
    }
  }

  // It may be away for a moment, as long as it comes back.
  static bool Stays(const std::string& name, ino_t ino) {
    const auto is_there = [&] {
      struct stat there;
      return stat(name.c_str(), &there) == 0 && there.st_ino == ino;
    };
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    const auto patience = Clock::now() + std::chrono::seconds(2);
    while (!is_there()) {
      if (Clock::now() > patience) return false;
    }
    return true;
  }

  const TempTree& host_;
  std::atomic<bool> over_{false};
  int lost_ = 0;
  std::thread thread_;
};

// Makes `object` at "name" again and again; how often that ended with `error`.
int MakeUntil(const TempTree& host, const NewObject& object, Errno error) {
  constexpr auto kLeast = std::chrono::milliseconds(500), kMost = std::chrono::milliseconds(10000);
  constexpr int kEnough = 20;
  const auto tree = Tree::Make(host.Open(), {}, Access::kReadWrite).value();
  const NodeId root = tree->Attach(0)->id;
  const auto start = Clock::now();
  int seen = 0;
  while (Clock::now() - start < (seen < kEnough ? kMost : kLeast)) {
    const auto made = tree->Make(root, "name", object, Client::AlsoOpen::kNo, 0);
    if (!made.ok() && made.error() == error) ++seen;
  }
  return seen;
}

NewObject Object(uint32_t mode, uint32_t uid) {
  return {.mode = mode, .uid = uid, .gid = getgid(), .target = "target"};
}

TEST_CASE("bug: what a process of the host put in the place of what was just made is removed") {
  for (const uint32_t type : {S_IFIFO, S_IFLNK, S_IFSOCK}) {
    const TempTree host;
    Replacer replacer(host);
    CHECK(MakeUntil(host, Object(type | 0600, getuid()), Errno::kSTALE) > 0);
    replacer.Stop();
    CHECK(replacer.lost() == 0);
  }
}

// Of the calling thread, so that a change of the owner fails.
bool DropCapabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct none[2] = {};
  return syscall(SYS_capset, &header, none) == 0;
}

TEST_CASE("bug: the same when what was made is taken away because it cannot get its owner") {
  for (const uint32_t type : {S_IFREG, S_IFIFO}) {
    const TempTree host;
    Replacer replacer(host);
    std::atomic<int> refused = 0;
    std::thread([&] {
      if (!DropCapabilities()) return;
      refused = MakeUntil(host, Object(type | 0600, getuid() + 1), Errno::kPERM);
    }).join();
    replacer.Stop();
    CHECK(refused > 0);
    CHECK(replacer.lost() == 0);
  }
}

}  // namespace
}  // namespace ringfence::gofer
