#include "runtime/sandbox/debug_socket.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace ringfence::runtime {
namespace {

constexpr int kBacklog = 8;

using SocketCall = int (*)(int, const sockaddr*, socklen_t);

// bind(2) or connect(2) by path; the errno, 0 if it went well.
int At(SocketCall call, int fd, const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  path.copy(address.sun_path, path.size());
  return call(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
}

absl::StatusOr<UniqueFd> NewSocket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "socket");
  return fd;
}

bool IsDead(const std::string& path) { return absl::IsUnavailable(ConnectTo(path).status()); }

}  // namespace

absl::StatusOr<UniqueFd> ListenAt(const std::string& path) {
  absl::StatusOr<UniqueFd> fd = NewSocket();
  if (!fd.ok()) return fd.status();
  const std::string before = path + ".new";
  unlink(before.c_str());  // of a process that had our number before us
  if (const int error = At(bind, fd->get(), before)) return absl::ErrnoToStatus(error, before);
  if (listen(fd->get(), kBacklog) != 0 || rename(before.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(before.c_str());
    return absl::ErrnoToStatus(error, path);
  }
  return fd;
}

absl::StatusOr<UniqueFd> ConnectTo(const std::string& path) {
  absl::StatusOr<UniqueFd> fd = NewSocket();
  if (!fd.ok()) return fd.status();
  switch (const int error = At(connect, fd->get(), path)) {
    case 0:
      return fd;
    case EAGAIN:
      return absl::DeadlineExceededError(path);
    case ECONNREFUSED:
    case ENOENT:
      return absl::UnavailableError(path);
    default:
      return absl::ErrnoToStatus(error, path);
  }
}

void RemoveIfDead(const std::string& path) {
  if (!IsDead(path)) return;
  const std::string aside = absl::StrCat(path, ".", getpid());
  if (rename(path.c_str(), aside.c_str()) != 0) return;
  if (!IsDead(aside) &&
      renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) {
    return;
  }
  unlink(aside.c_str());
}

}  // namespace ringfence::runtime
