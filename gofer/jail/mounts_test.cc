#include "gofer/jail/mounts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "gofer/jail/testing_child.h"

namespace ringfence::gofer {
namespace {

constexpr int kNamespaces = CLONE_NEWUSER | CLONE_NEWNS;

class TempDirectory {
 public:
  TempDirectory() { REQUIRE(mkdtemp(path_) != nullptr); }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return std::string(path_) + "/" + name; }
  const char* path() const { return path_; }

 private:
  char path_[32] = "/tmp/ringfence-mounts-XXXXXX";
};

int OpenPath(const char* path) { return open(path, O_PATH | O_CLOEXEC); }

bool SameInode(int a, int b) {
  struct stat sa, sb;
  return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
         sa.st_ino == sb.st_ino;
}

// Is `..` of the directory the directory itself?
bool CannotBeLeft(int directory) {
  const UniqueFd up(openat(directory, "..", O_PATH | O_CLOEXEC));
  const UniqueFd further(openat(directory, "../../../../../..", O_PATH | O_CLOEXEC));
  return up.valid() && SameInode(up.get(), directory) && further.valid() &&
         SameInode(further.get(), directory);
}

bool IsEmpty(const char* path) {
  DIR* const directory = opendir(path);
  if (directory == nullptr) return false;
  bool empty = true;
  while (const dirent* entry = readdir(directory)) empty &= entry->d_name[0] == '.';
  closedir(directory);
  return empty;
}

TEST_CASE("the empty root has nothing in it and takes nothing") {
  CHECK(InChild(
      [] {
        if (!EnterEmptyRoot().ok()) return false;
        const UniqueFd root(OpenPath("/")), here(OpenPath("."));
        return IsEmpty("/") && SameInode(root.get(), here.get()) && CannotBeLeft(root.get()) &&
               open("/file", O_CREAT | O_WRONLY, 0600) < 0 && mkdir("/directory", 0700) != 0 &&
               OpenPath("/proc") < 0 && OpenPath("/tmp") < 0;
      },
      kNamespaces));
}

TEST_CASE("a detached tree outlives the root and cannot be left") {
  const TempDirectory host;
  REQUIRE(mkdir((host / "below").c_str(), 0755) == 0);
  const UniqueFd directory(OpenPath(host.path()));
  CHECK(InChild(
      [&] {
        const auto tree = DetachTree(directory.get(), TreeAccess::kRead);
        if (!tree.ok() || !EnterEmptyRoot().ok()) return false;
        const UniqueFd below(openat(tree->get(), "below", O_PATH));
        const UniqueFd up(openat(below.get(), "..", O_PATH));
        return SameInode(tree->get(), directory.get()) && CannotBeLeft(tree->get()) &&
               SameInode(up.get(), tree->get());
      },
      kNamespaces));
}

TEST_CASE("a tree to be read takes no writes, also not on the mounts below") {
  const TempDirectory host;
  REQUIRE(mkdir((host / "mounted").c_str(), 0755) == 0);
  const UniqueFd directory(OpenPath(host.path()));
  const auto try_writes = [&](TreeAccess access) {
    const std::string mounted = host / "mounted";
    if (mount("none", mounted.c_str(), "tmpfs", 0, nullptr) != 0) return -1;
    const auto tree = DetachTree(directory.get(), access);
    if (!tree.ok()) return -1;
    const UniqueFd above(openat(tree->get(), "file", O_CREAT | O_WRONLY, 0600));
    const int error = errno;
    const UniqueFd below(openat(tree->get(), "mounted/file", O_CREAT | O_WRONLY, 0600));
    if (above.valid() && below.valid()) return 0;
    return error == EROFS && errno == EROFS ? EROFS : -1;
  };
  // Mounted things need no id that is not mapped: without a user namespace, as root.
  if (geteuid() != 0) return;
  CHECK(InChild([&] { return try_writes(TreeAccess::kReadWrite) == 0; }, CLONE_NEWNS));
  CHECK(InChild([&] { return try_writes(TreeAccess::kRead) == EROFS; }, CLONE_NEWNS));
}

TEST_CASE("a directory that is hidden by now is noticed") {
  const TempDirectory host;
  const UniqueFd directory(OpenPath(host.path()));
  CHECK(InChild(
      [&] {
        if (mount("none", host.path(), "tmpfs", 0, nullptr) != 0) return false;
        return absl::IsAborted(DetachTree(directory.get(), TreeAccess::kRead).status());
      },
      kNamespaces));
}

TEST_CASE("/proc/self/fd alone opens what is open, and cannot be left") {
  const TempDirectory host;
  const UniqueFd file(open((host / "file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  const UniqueFd path(OpenPath((host / "file").c_str()));
  CHECK(InChild(
      [&] {
        const auto self_fd = DetachSelfFd();
        if (!self_fd.ok() || !EnterEmptyRoot().ok()) return false;
        const UniqueFd again(
            openat(self_fd->get(), std::to_string(path.get()).c_str(), O_RDONLY | O_CLOEXEC));
        return again.valid() && SameInode(again.get(), file.get()) && CannotBeLeft(self_fd->get());
      },
      kNamespaces));
}

}  // namespace
}  // namespace ringfence::gofer
