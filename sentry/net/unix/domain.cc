#include "sentry/net/unix/domain.h"

#include "absl/strings/str_format.h"
#include "sentry/net/unix/unix_socket.h"

namespace ringfence::sentry {
namespace {

template <typename Map, typename Key>
UnixSocketRef Find(const Map& map, const Key& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : found->second.lock();
}

// A socket takes away its own name only: the weak pointer of one that ends has expired.
template <typename Map, typename Key>
void Forget(Map& map, const Key& key, const UnixSocket* socket) {
  const auto found = map.find(key);
  if (found == map.end()) return;
  const UnixSocketRef owner = found->second.lock();
  if (owner == nullptr || owner.get() == socket) map.erase(found);
}

}  // namespace

UnixSocketRef UnixDomain::FindInode(const Inode* inode) const {
  absl::ReaderMutexLock lock(&mutex_);
  return Find(inodes_, inode);
}

UnixSocketRef UnixDomain::FindAbstract(const std::string& name) const {
  absl::ReaderMutexLock lock(&mutex_);
  return Find(abstract_, name);
}

void UnixDomain::AddInode(const Inode* inode, const UnixSocketRef& socket) {
  absl::MutexLock lock(&mutex_);
  inodes_[inode] = socket;
}

Result<void> UnixDomain::AddAbstract(const std::string& name, const UnixSocketRef& socket) {
  absl::MutexLock lock(&mutex_);
  std::weak_ptr<UnixSocket>& slot = abstract_[name];
  if (!slot.expired()) return Errno::kADDRINUSE;
  slot = socket;
  return Ok();
}

Result<std::string> UnixDomain::AddAutomatic(const UnixSocketRef& socket) {
  constexpr uint32_t kNames = 1 << 20;
  absl::MutexLock lock(&mutex_);
  for (uint32_t i = 0; i < kNames; ++i) {
    std::string name = absl::StrFormat("%05x", next_automatic_++ % kNames);
    std::weak_ptr<UnixSocket>& slot = abstract_[name];
    if (!slot.expired()) continue;
    slot = socket;
    return name;
  }
  return Errno::kNOSPC;
}

void UnixDomain::RemoveInode(const Inode* inode, const UnixSocket* socket) {
  absl::MutexLock lock(&mutex_);
  Forget(inodes_, inode, socket);
}

void UnixDomain::RemoveAbstract(const std::string& name, const UnixSocket* socket) {
  absl::MutexLock lock(&mutex_);
  Forget(abstract_, name, socket);
}

Result<void> UnixDomain::Reserve(uint64_t bytes) {
  uint64_t old = buffered_.load(std::memory_order_relaxed);
  do {
    if (bytes > kMaxBuffered || old > kMaxBuffered - bytes) return Errno::kNOBUFS;
  } while (!buffered_.compare_exchange_weak(old, old + bytes, std::memory_order_relaxed));
  return Ok();
}

void UnixDomain::Register(UnixSocket* socket, std::weak_ptr<UnixSocket> ref) {
  absl::MutexLock lock(&mutex_);
  all_[socket] = std::move(ref);
}

void UnixDomain::Unregister(UnixSocket* socket) {
  absl::MutexLock lock(&mutex_);
  all_.erase(socket);
}

std::string UnixDomain::Describe() const {
  std::vector<UnixSocketRef> sockets;
  {
    absl::ReaderMutexLock lock(&mutex_);
    for (const auto& [socket, ref] : all_) {
      if (UnixSocketRef found = ref.lock()) sockets.push_back(std::move(found));
    }
  }
  std::string text = "Num       RefCount Protocol Flags    Type St Inode Path\n";
  for (const UnixSocketRef& socket : sockets) text += socket->Describe();
  return text;
}

}  // namespace ringfence::sentry
