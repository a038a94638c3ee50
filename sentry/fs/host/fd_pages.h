// FdPages: the pages of a host regular file as a Mappable, straight from the host's page cache.
//
// The file is mapped into the guest-physical window in chunks of 2 MiB, once per file and chunk,
// by a ChunkCache that all files of the sandbox share: it bounds how many chunks there are and
// drops the least recently used ones that no guest maps.
//
// A page that lies wholly past the end of the file (asked at the time of the fault) gives EFAULT,
// so that the guest gets its SIGBUS here and not from a failing KVM_RUN.
//
// Threads: any. Lock: ChunkCache::mutex_ and FdPages::mutex_ are leaves, never held together.
#ifndef RINGFENCE_SENTRY_FS_HOST_FD_PAGES_H_
#define RINGFENCE_SENTRY_FS_HOST_FD_PAGES_H_

#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/unique_fd.h"
#include "platform/mem/guest_memory.h"
#include "sentry/mm/mappable.h"

namespace ringfence::sentry {

class FdPages;

class ChunkCache {
 public:
  static constexpr size_t kMaxChunks = 8192;  // 16 GiB of files; one host mapping each

  explicit ChunkCache(platform::GuestMemory* memory, size_t max_chunks = kMaxChunks)
      : memory_(memory), max_chunks_(max_chunks) {}
  ~ChunkCache();

  // The frames of pages [page, page + count) of `file`, as far as they are in one chunk, with one
  // reference each for the caller. ENOMEM, ENODEV.
  Result<FrameRun> GetFrames(const FdPages* file, int fd, uint64_t page, uint64_t count,
                             bool writable);
  void DropAll(const FdPages* file);
  size_t size() const;

 private:
  using Key = std::pair<const FdPages*, uint64_t>;
  struct Chunk {
    FrameRun run;
    std::list<Key>::iterator position;
  };
  bool EvictOneLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<FrameRun> MapLocked(int fd, uint64_t chunk, bool writable)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  platform::GuestMemory* const memory_;
  const size_t max_chunks_;
  mutable absl::Mutex mutex_;
  std::map<Key, Chunk> chunks_ ABSL_GUARDED_BY(mutex_);
  std::list<Key> used_ ABSL_GUARDED_BY(mutex_);  // the front was used last
};

class FdPages : public Mappable, public std::enable_shared_from_this<FdPages> {
 public:
  // `writable`: shared mappings may be written (the descriptor is open for it).
  FdPages(std::shared_ptr<ChunkCache> cache, bool writable, uint64_t device, uint64_t inode)
      : cache_(std::move(cache)), writable_(writable), device_(device), inode_(inode) {}
  ~FdPages() override { cache_->DropAll(this); }

  // This object for mmap. What is returned, and so every mapping, holds a descriptor (`fd`, or the
  // one that such references hold already), so that faults never have to ask anybody for one.
  MappableRef Use(std::shared_ptr<const UniqueFd> fd, std::string name);

  Result<FrameRun> GetFrames(uint64_t page, uint64_t count, Access access) override;
  Result<void> SyncPages(uint64_t page, uint64_t count) override;
  // The host does not tell when its file shrinks: mappings are not looked for.
  void AddMapping(MemoryManager*, VirtRange, uint64_t) override {}
  void RemoveMapping(MemoryManager*, VirtRange, uint64_t) override {}
  std::string MappedName() const override;
  uint64_t DeviceId() const override { return device_; }
  uint64_t InodeNumber() const override { return inode_; }

 private:
  // What the references from Use share.
  struct Held {
    std::shared_ptr<FdPages> pages;
    std::shared_ptr<const UniqueFd> fd;
  };
  const std::shared_ptr<ChunkCache> cache_;
  const bool writable_;
  const uint64_t device_, inode_;
  mutable absl::Mutex mutex_;
  std::weak_ptr<const Held> held_ ABSL_GUARDED_BY(mutex_);
  std::string name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_HOST_FD_PAGES_H_
