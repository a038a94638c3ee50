// FdPages: the pages of a host regular file as a Mappable, straight from the host's page cache.
//
// The file is mapped into the guest-physical window in chunks of 2 MiB, once per file and chunk,
// by a ChunkCache that all files of the sandbox share: it bounds how many chunks there are and
// drops the least recently used ones that no guest maps.
//
// Copies of hot text. Where KVM pages by shadows each process pays a fault inside of KVM for each
// page of its program, since KVM brings no neighbours along that are the page cache's
// (GuestMemory::CopyFileChunk). So chunks of files that are mapped for execution again and again
// become copies: by the rules of ConsiderCopyLocked, for private mappings only.
//
// A page that lies wholly past the end of the file (asked at the time of the fault) gives EFAULT,
// so that the guest gets its SIGBUS here and not from a failing KVM_RUN.
//
// Threads: any. Lock: ChunkCache::mutex_ and FdPages::mutex_ are leaves, never held together.
#ifndef RINGFENCE_SENTRY_FS_HOST_FD_PAGES_H_
#define RINGFENCE_SENTRY_FS_HOST_FD_PAGES_H_

#include <sys/stat.h>

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/unique_fd.h"
#include "platform/mem/guest_memory.h"
#include "sentry/mm/call_sites.h"
#include "sentry/mm/mappable.h"

namespace ringfence::sentry {

class FdPages;

class ChunkCache {
 public:
  static constexpr size_t kMaxChunks = 8192;  // 16 GiB of files; one host mapping each

  struct Options {
    size_t max_chunks = kMaxChunks;
    bool copies = false;              // copies of hot text at all
    uint32_t hot = 4;                 // mappings that ask for a chunk before it is copied
    int64_t settled_ns = 2000000000;  // for how long the file has not changed then
  };
  // Copies where KVM needs them.
  explicit ChunkCache(platform::GuestMemory* memory)
      : ChunkCache(memory, Options{.copies = memory->KeepsTables()}) {}
  ChunkCache(platform::GuestMemory* memory, const Options& options)
      : memory_(memory), options_(options) {}
  ~ChunkCache();

  // The frames of pages [page, page + count) of `file`, as far as they are in one chunk, with one
  // reference each for the caller. They show the file as it is, also later: no copies of `file` are
  // made any more. ENOMEM, ENODEV.
  Result<FrameRun> GetFrames(FdPages* file, int fd, uint64_t page, uint64_t count, bool writable);
  // The same for a private mapping, with `exec` for one that may be executed; may be copies of the
  // file as it was when the caller asked for `host`.
  Result<FrameRun> GetPrivateFrames(FdPages* file, int fd, const struct stat& host, uint64_t page,
                                    uint64_t count, bool exec);
  // From now on the pages of `file` are the host's.
  void KeepLive(FdPages* file);
  void DropAll(const FdPages* file);
  size_t size() const;

  // What the cache remembers of a file beside its chunks.
  struct FileState {
    // What changes when the file's bytes do.
    struct Stamp {
      int64_t size, mtime_s, mtime_ns, ctime_s, ctime_ns;
      bool operator==(const Stamp&) const = default;
    };
    std::atomic<bool> hot{false};  // programs map it again and again; read without the lock, too
    bool live = false;             // a mapping has to see changes
    std::optional<Stamp> copied;   // what the copies, if there are any, are copies of
  };

 private:
  using Key = std::pair<const FdPages*, uint64_t>;
  struct Chunk {
    FrameRun run;
    std::list<Key>::iterator position;
    uint32_t asked = 0, asked_exec = 0;  // by private mappings
  };
  Result<Chunk*> FindLocked(const Key& key, int fd, bool writable)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  FrameRun PartLocked(const Chunk& chunk, uint64_t page, uint64_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ConsiderCopyLocked(FdPages* file, uint64_t number, Chunk& chunk, int fd,
                          const struct stat& host, bool exec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void KeepLiveLocked(FdPages* file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropCopiesLocked(FdPages* file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EvictOneLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<FrameRun> MapLocked(int fd, uint64_t chunk, bool writable)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  platform::GuestMemory* const memory_;
  const Options options_;
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
  Result<FrameRun> GetPrivateFrames(uint64_t page, uint64_t count, bool exec) override;
  // Somebody in the sandbox may store to the file: copies would not show it.
  void KeepLive() { cache_->KeepLive(this); }
  Result<void> SyncPages(uint64_t page, uint64_t count) override;
  // The host does not tell when its file shrinks: mappings are not looked for.
  void AddMapping(MemoryManager*, VirtRange, uint64_t) override {}
  void RemoveMapping(MemoryManager*, VirtRange, uint64_t) override {}
  KnownCallSites* known_call_sites() override { return &known_call_sites_; }
  bool IsHotText() const override { return copies_.hot.load(std::memory_order_relaxed); }
  std::string MappedName() const override;
  uint64_t DeviceId() const override { return device_; }
  uint64_t InodeNumber() const override { return inode_; }

 private:
  friend class ChunkCache;
  // What the references from Use share.
  struct Held {
    std::shared_ptr<FdPages> pages;
    std::shared_ptr<const UniqueFd> fd;
  };
  const std::shared_ptr<ChunkCache> cache_;
  const bool writable_;
  const uint64_t device_, inode_;
  // The descriptor and what the host says of the file. EIO; EFAULT when `page` is past its end.
  Result<std::shared_ptr<const Held>> Look(uint64_t page, struct stat* host) const;

  ChunkCache::FileState copies_;  // guarded by the cache's lock
  KnownCallSites known_call_sites_;
  mutable absl::Mutex mutex_;
  std::weak_ptr<const Held> held_ ABSL_GUARDED_BY(mutex_);
  std::string name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_HOST_FD_PAGES_H_
