// What the inodes of a goferfs share; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_GOFERFS_STATE_H_
#define RINGFENCE_SENTRY_FS_GOFERFS_STATE_H_

#include <sys/stat.h>

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/goferfs/read_ahead.h"

namespace ringfence::sentry {

class GoferDirectory;
class GoferInode;
class GoferRegular;
class WriteHandle;

// Owns a node id of the gofer.
class NodeHandle {
 public:
  NodeHandle(std::shared_ptr<gofer::Client> client, gofer::NodeId id, bool owned)
      : client_(std::move(client)), id_(id), owned_(owned) {}
  ~NodeHandle() {
    if (owned_) client_->Close(std::span<const gofer::NodeId>(&id_, 1));
  }
  NodeHandle(const NodeHandle&) = delete;
  NodeHandle& operator=(const NodeHandle&) = delete;
  gofer::NodeId id() const { return id_; }

 private:
  const std::shared_ptr<gofer::Client> client_;
  const gofer::NodeId id_;
  const bool owned_;  // a root is never closed
};
using NodeHandleRef = std::shared_ptr<const NodeHandle>;

// What makes an object of the host the same for as long as anybody has it open.
struct ObjectKey {
  explicit ObjectKey(const gofer::Attributes& attr)
      : dev(attr.dev),
        ino(attr.ino),
        type(attr.mode & S_IFMT),
        birth(attr.btime.sec, attr.btime.nsec) {}
  uint64_t dev, ino;
  uint32_t type;
  std::pair<int64_t, uint32_t> birth;
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

// Outlives the file system while an inode is open or mapped. Threads: any. `mutex` is a leaf.
struct GoferState {
  explicit GoferState(const GoferFs::Options& o)
      : options(o), read_ahead(o.max_listed_entries / 8) {}
  const GoferFs::Options options;
  ReadAhead read_ahead;
  gofer::Client& client() const { return *options.client; }
  bool writable() const { return options.access == GoferFs::Access::kReadWrite; }
  bool shared() const { return options.owner == GoferFs::Owner::kShared; }
  // May what was learned of a file change?
  bool changes() const { return writable() || shared(); }

  // st_dev of the sandbox for one of the host.
  uint64_t DeviceFor(uint64_t host_device);

  // Answers of the gofer may be overtaken by changes that we make meanwhile. An answer counts if
  // nothing of ours began or ended while it was on its way.
  using Ticket = uint64_t;
  Ticket BeginRead() const { return change_count_.load(std::memory_order_acquire); }
  bool EndRead(Ticket ticket) const { return BeginRead() == ticket; }
  Ticket BeginChange() { return change_count_.fetch_add(1, std::memory_order_acq_rel) + 1; }
  bool EndChange(Ticket ticket) {
    return change_count_.fetch_add(1, std::memory_order_acq_rel) == ticket;
  }

  // The attributes that listings have of this object are not to be believed any more. When there
  // are too many such objects, no listing's are.
  void MarkDirty(const gofer::Attributes& attr);
  bool IsDirty(const gofer::Attributes& attr);

  absl::Mutex mutex;
  std::map<uint64_t, uint64_t> devices ABSL_GUARDED_BY(mutex);
  std::list<GoferRegular*> with_descriptor ABSL_GUARDED_BY(mutex);  // front: used last
  std::list<GoferDirectory*> with_listing ABSL_GUARDED_BY(mutex);   // front: used last
  size_t listed_entries ABSL_GUARDED_BY(mutex) = 0;
  // One inode for each object, whatever its names; only where changes().
  std::map<ObjectKey, std::weak_ptr<GoferInode>> inodes ABSL_GUARDED_BY(mutex);
  // Descriptors that came with new files, until they are opened: the latest few.
  std::list<std::pair<const GoferRegular*, std::shared_ptr<const WriteHandle>>> spare
      ABSL_GUARDED_BY(mutex);

 private:
  std::atomic<uint64_t> change_count_{0};
  std::set<std::pair<uint64_t, uint64_t>> dirty_ ABSL_GUARDED_BY(mutex);  // (dev, ino)
  bool overflowed_ ABSL_GUARDED_BY(mutex) = false;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_STATE_H_
