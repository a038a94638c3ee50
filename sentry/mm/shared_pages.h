// AnonymousPages: a sparse store of pages in the sandbox's own memory: shared anonymous mappings,
// memfd, System V segments and the contents of tmpfs files (the shmem of Linux).
//
// Page index -> frame; absent pages read as zeros and are made on the first write or mapping.
// A store has a size in bytes; mappings past the page of the last byte get SIGBUS.
//
// Charges go to a PageQuota (size= of a tmpfs mount) when there is one, and always to the limit of
// GuestMemory.
//
// Threads: any. One leaf mutex; it is never held while guest memory of a UserIo is touched or
// MemoryManager::ZapMappable runs. Atomicity of read against write is the inode lock's business.
#ifndef RINGFENCE_SENTRY_MM_SHARED_PAGES_H_
#define RINGFENCE_SENTRY_MM_SHARED_PAGES_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/mem/guest_memory.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/user_io.h"

namespace ringfence::sentry {

// How many pages a group of stores may hold together. Threads: any.
class PageQuota {
 public:
  static constexpr uint64_t kNoLimit = ~uint64_t{0};
  explicit PageQuota(uint64_t max_pages = kNoLimit) : limit_(max_pages) {}
  // False, and nothing charged, when the limit would be passed.
  bool Charge(uint64_t pages);
  void Uncharge(uint64_t pages) { used_.fetch_sub(pages, std::memory_order_relaxed); }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
  void SetLimit(uint64_t max_pages) { limit_.store(max_pages, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> limit_;
};

class AnonymousPages : public Mappable {
 public:
  // Where Linux ends a tmpfs file (MAX_LFS_FILESIZE).
  static constexpr uint64_t kMaxSize = (uint64_t{1} << 63) - 1;

  struct Options {
    std::string name;  // for /proc/PID/maps; SetName changes it
    uint64_t device = 0, inode = 0;
    uint64_t size = 0;                           // initial size in bytes
    std::shared_ptr<PageQuota> quota = nullptr;  // null: only GuestMemory limits
    bool whole_blocks = false;  // allocate 2 MiB at once where a mapping wants them
  };
  // `memory` outlives the object.
  AnonymousPages(platform::GuestMemory* memory, Options options);
  ~AnonymousPages() override;
  AnonymousPages(const AnonymousPages&) = delete;
  AnonymousPages& operator=(const AnonymousPages&) = delete;

  uint64_t size() const;
  uint64_t allocated_pages() const;  // st_blocks = 8 * this
  static uint64_t TotalBytes();      // of all objects of this process, of which each is a sandbox's
  void SetName(std::string name);    // after rename or unlink

  // Up to n bytes at `offset`, none past the size; holes give zeros. EFAULT.
  Result<size_t> Read(uint64_t offset, UserIo& io, uint64_t n);
  // Up to n bytes at `offset`; grows the size. ENOSPC (quota), ENOMEM, EFBIG, EFAULT; fewer bytes
  // than asked when an error follows some progress.
  Result<size_t> Write(uint64_t offset, UserIo& io, uint64_t n);

  // truncate(2): pages past the end go, also from mappings and with their private copies.
  Result<void> Truncate(uint64_t size);  // EFBIG
  // fallocate(2) FALLOC_FL_PUNCH_HOLE: [offset, offset + length) reads as zeros afterwards.
  Result<void> PunchHole(uint64_t offset, uint64_t length);
  // fallocate(2): makes the pages now; grows the size unless keep_size. ENOSPC, ENOMEM, EFBIG:
  // pages made so far are given back.
  enum class KeepSize { kNo, kYes };
  Result<void> Allocate(uint64_t offset, uint64_t length, KeepSize keep_size);

  // SEEK_DATA, SEEK_HOLE of lseek(2). ENXIO at or past the size.
  Result<uint64_t> NextData(uint64_t offset) const;
  Result<uint64_t> NextHole(uint64_t offset) const;

  // Mappable:
  Result<FrameRun> GetFrames(uint64_t page, uint64_t count, Access access) override;
  void AddMapping(MemoryManager* mm, VirtRange range, uint64_t page) override;
  void RemoveMapping(MemoryManager* mm, VirtRange range, uint64_t page) override;
  Result<void> RemovePages(uint64_t page, uint64_t count) override;
  std::string MappedName() const override;
  uint64_t DeviceId() const override { return options_.device; }
  uint64_t InodeNumber() const override { return options_.inode; }
  uint64_t FaultAround() const override { return options_.whole_blocks ? kPagesPerHuge : 16; }
  // True while some address space shows the object (F_SEAL_WRITE: EBUSY).
  bool HasMappings() const;

 private:
  struct Mapping {
    std::weak_ptr<MemoryManager> owner;
    VirtAddr end;
    uint64_t page;
  };
  static constexpr uint64_t kNoFrame = ~uint64_t{0};
  struct Chunk {  // 512 pages
    uint32_t used = 0;
    std::vector<uint64_t> frames = std::vector<uint64_t>(kPagesPerHuge, kNoFrame);
  };

  uint64_t FrameAt(uint64_t page) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes absent pages from `page` on, at most `count`, those of one chunk that can be one run;
  // returns how many. ENOSPC, ENOMEM.
  Result<uint64_t> MakePages(uint64_t page, uint64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A run of existing pages from `page` on, referenced for the caller; empty for a hole.
  FrameRun ReferenceRun(uint64_t page, uint64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropPages(uint64_t first, uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ZeroPart(uint64_t offset, uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Zap(uint64_t first, uint64_t end, bool even_cow);
  Result<FrameRun> RunForWrite(uint64_t page, uint64_t count);

  platform::GuestMemory* const memory_;
  const Options options_;  // name and size are only initial values

  mutable absl::Mutex mutex_;
  std::string name_ ABSL_GUARDED_BY(mutex_);
  uint64_t size_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t pages_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Chunk> chunks_ ABSL_GUARDED_BY(mutex_);
  // By where they begin: a process may have tens of thousands.
  std::multimap<std::pair<MemoryManager*, VirtAddr>, Mapping> mappings_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_SHARED_PAGES_H_
