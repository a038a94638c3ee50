#include "gofer/server/dir_reader.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

namespace ringfence::gofer {
namespace {

constexpr size_t kBufferBytes = 32 * 1024;

// What getdents64 says at `at`; the record's length in *length.
RawEntry Decode(const char* at, uint16_t* length) {
  RawEntry entry = {};
  std::memcpy(&entry.ino, at + offsetof(dirent64, d_ino), sizeof(entry.ino));
  std::memcpy(&entry.next_cookie, at + offsetof(dirent64, d_off), sizeof(entry.next_cookie));
  std::memcpy(length, at + offsetof(dirent64, d_reclen), sizeof(*length));
  entry.type = DTTOIF(static_cast<uint8_t>(at[offsetof(dirent64, d_type)]));
  entry.name = at + offsetof(dirent64, d_name);
  return entry;
}

}  // namespace

Result<bool> ReadEntries(int fd, int64_t cookie, absl::FunctionRef<bool(const RawEntry&)> emit) {
  if (lseek(fd, cookie, SEEK_SET) < 0) return LastHostErrno();
  alignas(dirent64) char buffer[kBufferBytes];
  while (true) {
    const ssize_t size = getdents64(fd, buffer, sizeof(buffer));
    if (size < 0) return LastHostErrno();
    if (size == 0) return true;
    uint16_t length = 0;
    for (const char* at = buffer; at < buffer + size; at += length) {
      const RawEntry entry = Decode(at, &length);
      if (entry.name == "." || entry.name == "..") continue;
      if (!emit(entry)) return false;
    }
  }
}

UniqueFd OpenDirectories::Take(NodeId id) {
  absl::MutexLock lock(&mutex_);
  for (auto it = open_.begin(); it != open_.end(); ++it) {
    if (it->first != id) continue;
    UniqueFd fd = std::move(it->second);
    open_.erase(it);
    return fd;
  }
  return UniqueFd();
}

void OpenDirectories::Put(NodeId id, UniqueFd fd) {
  absl::MutexLock lock(&mutex_);
  open_.emplace_front(id, std::move(fd));
  if (open_.size() > kMaxOpen) open_.pop_back();
}

}  // namespace ringfence::gofer
