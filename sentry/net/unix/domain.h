// UnixDomain: what the unix sockets of a sandbox share (unix(7)): names, memory, the list of all.
//
// A socket that is bound to a path is found by the inode behind the path, whatever file system it
// is on; the socket holds the dentry, so the inode stays. Abstract names are a table of their own.
//
// Threads: any. Lock order: mutex_ is below the mutexes of sockets and above nothing.
#ifndef RINGFENCE_SENTRY_NET_UNIX_DOMAIN_H_
#define RINGFENCE_SENTRY_NET_UNIX_DOMAIN_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/net/unix/in_flight.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

class UnixSocket;
using UnixSocketRef = std::shared_ptr<UnixSocket>;

class UnixDomain {
 public:
  // All sockets' messages together, with their overhead; ENOBUFS beyond.
  static constexpr uint64_t kMaxBuffered = uint64_t{256} << 20;
  // net.core.somaxconn, net.unix.max_dgram_qlen.
  static constexpr int kMaxBacklog = 4096;
  static constexpr size_t kDatagramQueue = 10;

  // --- names; a socket that has gone is not found ---
  UnixSocketRef FindInode(const Inode* inode) const;
  UnixSocketRef FindAbstract(const std::string& name) const;
  void AddInode(const Inode* inode, const UnixSocketRef& socket);
  Result<void> AddAbstract(const std::string& name, const UnixSocketRef& socket);  // EADDRINUSE
  // An unused abstract name of five digits (bind(2) of no name at all). ENOSPC.
  Result<std::string> AddAutomatic(const UnixSocketRef& socket);
  void RemoveInode(const Inode* inode, const UnixSocket* socket);
  void RemoveAbstract(const std::string& name, const UnixSocket* socket);

  // --- memory of messages ---
  Result<void> Reserve(uint64_t bytes);
  void Unreserve(uint64_t bytes) { buffered_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t buffered() const { return buffered_.load(std::memory_order_relaxed); }

  // --- all sockets ---
  void Register(UnixSocket* socket, std::weak_ptr<UnixSocket> ref);
  void Unregister(UnixSocket* socket);
  // The text of /proc/net/unix.
  std::string Describe() const;

  InFlight& in_flight() { return in_flight_; }

 private:
  mutable absl::Mutex mutex_;
  std::unordered_map<const Inode*, std::weak_ptr<UnixSocket>> inodes_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::weak_ptr<UnixSocket>> abstract_ ABSL_GUARDED_BY(mutex_);
  std::map<const UnixSocket*, std::weak_ptr<UnixSocket>> all_ ABSL_GUARDED_BY(mutex_);
  uint32_t next_automatic_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> buffered_{0};
  InFlight in_flight_;
};
using UnixDomainRef = std::shared_ptr<UnixDomain>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_NET_UNIX_DOMAIN_H_
