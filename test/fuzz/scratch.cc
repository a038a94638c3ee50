#include "test/fuzz/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "test/fuzz/expect.h"

namespace ringfence::fuzz {
namespace {

// Longer than a tick of the clock that the kernel stamps files with: a change after it is seen.
constexpr useconds_t kTick = 20'000;

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

struct DirCloser {
  void operator()(DIR* dir) const { closedir(dir); }
};
using Dir = std::unique_ptr<DIR, DirCloser>;

// Everything in the directory, whatever modes were given to it. By descriptors: a path may have
// become longer than PATH_MAX.
void RemoveAllIn(int fd) {
  Dir dir(fdopendir(fd));
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (unlinkat(fd, name.c_str(), 0) == 0) continue;
    fchmodat(fd, name.c_str(), 0700, 0);
    const int below = openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below >= 0) RemoveAllIn(below);
    Expect(unlinkat(fd, name.c_str(), AT_REMOVEDIR) == 0, "the scratch tree can be removed");
  }
}

void Empty(const std::string& path) {
  chmod(path.c_str(), 0755);
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  Expect(fd >= 0, "the scratch tree is there");
  RemoveAllIn(fd);
}

}  // namespace

Scratch::Scratch() {
  std::string pattern = std::filesystem::temp_directory_path() / "ringfence_fuzz_XXXXXX";
  Expect(mkdtemp(pattern.data()) != nullptr, "a temporary folder can be made");
  base_ = pattern;
  for (const char* directory : {"/root", "/readonly", "/readonly/d", "/outside"}) {
    std::filesystem::create_directory(base_ + directory);
  }
  WriteFile(base_ + "/canary", "secret");
  WriteFile(base_ + "/outside/file", "secret");
  WriteFile(base_ + "/volume", "volume");
  WriteFile(base_ + "/readonly/file", "constant");
  usleep(kTick);
  for (const char* path :
       {"", "/canary", "/outside", "/outside/file", "/readonly", "/readonly/d", "/readonly/file"}) {
    untouchable_.push_back({base_ + path, StateOf(base_ + path)});
  }
}

Scratch::~Scratch() {
  Empty(base_);
  rmdir(base_.c_str());
}

void Scratch::Reset() {
  Empty(base_ + "/root");
  (void)!chown((base_ + "/root").c_str(), geteuid(), getegid());
  (void)!chown((base_ + "/volume").c_str(), geteuid(), getegid());
  chmod((base_ + "/volume").c_str(), 0644);
  (void)!truncate((base_ + "/volume").c_str(), 6);
  MakeTree();
}

void Scratch::MakeTree() const {
  const std::string root = base_ + "/root";
  for (const char* directory : {"/a", "/a/b", "/a/b/c"}) mkdir((root + directory).c_str(), 0755);
  WriteFile(root + "/f", "inside");
  WriteFile(root + "/a/f", "deeper");
  (void)!symlink("../canary", (root + "/l").c_str());
  (void)!symlink("../..", (root + "/a/l").c_str());
  (void)!symlink("/proc/self/root", (root + "/a/b/l").c_str());
  mkfifo((root + "/p").c_str(), 0644);
}

UniqueFd Scratch::OpenPath(const std::string& name) const {
  return UniqueFd(open((base_ + "/" + name).c_str(), O_PATH | O_CLOEXEC));
}

// The time of the last change stands for content and names.
std::string Scratch::StateOf(const std::string& path) {
  struct stat s = {};
  if (lstat(path.c_str(), &s) != 0) return "gone";
  std::string state;
  for (const uint64_t value : {uint64_t{s.st_ino}, uint64_t{s.st_mode}, uint64_t{s.st_nlink},
                               uint64_t{s.st_uid}, uint64_t{s.st_gid}}) {
    state += std::to_string(value) + " ";
  }
  return state + std::to_string(s.st_ctim.tv_sec) + "." + std::to_string(s.st_ctim.tv_nsec);
}

void Scratch::ExpectUntouched() const {
  for (const Sight& sight : untouchable_) {
    Expect(StateOf(sight.path) == sight.state, "nobody changes " + sight.path);
  }
}

void Scratch::ExpectExported(int fd) const {
  struct stat s = {};
  Expect(fstat(fd, &s) == 0 && S_ISREG(s.st_mode), "a donated descriptor is a regular file's");
  const int flags = fcntl(fd, F_GETFL);
  Expect((flags & O_PATH) == 0, "a donated descriptor is no O_PATH");
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  char target[PATH_MAX];
  const ssize_t length = readlink(link.c_str(), target, sizeof(target));
  // A tree can be deeper than any path.
  if (length < 0 && errno == ENAMETOOLONG) return;
  Expect(length > 0, "a donated descriptor has a path");
  const std::string path(target, static_cast<size_t>(length));
  const bool read_only = path.starts_with(base_ + "/readonly/");
  Expect(read_only || path.starts_with(base_ + "/root/") || path.starts_with(base_ + "/volume"),
         "a donated descriptor is of an exported tree, not " + path);
  Expect(!read_only || (flags & O_ACCMODE) == O_RDONLY, "a read-only tree gives O_RDONLY");
}

size_t CountDescriptors() {
  Dir dir(opendir("/proc/self/fd"));
  size_t count = 0;
  while (readdir(dir.get()) != nullptr) ++count;
  return count;
}

}  // namespace ringfence::fuzz
