// SharedSegments: System V shared memory (sysvipc(7), shmget(2), shmat(2), shmctl(2)).
//
// Model: a segment is an AnonymousPages with an owner and rights. How often it is attached is how
// many mappings show it, which the object is told (Mappable::AddMapping), so fork, munmap, execve
// and exit count by themselves. A segment that was removed stays, without its key, until the last
// mapping goes. Numbers are position + 32768 * serial: one that is gone is not mistaken for its
// successor.
//
// Threads: any. Lock order: MemoryManager, then SharedSegments::mutex_ (a leaf): no mapping is
// changed with it held, and nothing is destroyed.
#ifndef RINGFENCE_SENTRY_KERNEL_SYSV_SHM_H_
#define RINGFENCE_SENTRY_KERNEL_SYSV_SHM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/base/call_context.h"
#include "sentry/mm/shared_pages.h"

namespace ringfence::sentry {

class SharedSegments : public std::enable_shared_from_this<SharedSegments> {
 public:
  // Linux's defaults: SHMMNI, SHMMAX.
  static constexpr uint32_t kMaxSegments = 4096;
  static constexpr uint64_t kMaxBytes = ~uint64_t{0} - (uint64_t{1} << 24);
  static constexpr int32_t kPrivate = 0;  // IPC_PRIVATE
  // Bits of a mode beside the rights.
  static constexpr uint32_t kRemoved = 01000, kLocked = 02000;  // SHM_DEST, SHM_LOCKED

  // `device` is what the mappings of segments show, and tells them apart from all others.
  SharedSegments(platform::GuestMemory* memory, uint64_t device)
      : memory_(memory), device_(device) {}

  struct Status {
    int32_t id = 0, key = 0;
    uint32_t uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
    uint32_t mode = 0;
    uint64_t bytes = 0;
    uint64_t attached = 0;
    int32_t creator_pid = 0, last_pid = 0;
    int64_t attach_time = 0, detach_time = 0, change_time = 0;  // s; 0: never
  };

  // shmget(2); `flags` with IPC_CREAT, IPC_EXCL and rights. ENOENT, EEXIST, EINVAL, EACCES, ENOSPC.
  Result<int32_t> Get(const CallContext& ctx, int32_t key, uint64_t bytes, uint32_t flags);
  // What shmat(2) maps. `access`: bits as in a mode (0444 and 0222). EINVAL, EACCES.
  struct Attachable {
    MappableRef pages;
    uint64_t bytes = 0;
  };
  Result<Attachable> Open(const CallContext& ctx, int32_t id, uint32_t access);
  // The process that attached or detached last.
  void NoteUser(const CallContext& ctx, int32_t id);

  // shmctl(2). EINVAL, EACCES, EPERM.
  Result<Status> Stat(const CallContext& ctx, int32_t id);
  // By position, for SHM_STAT; `check`: EACCES without the right to read.
  enum class Check { kNo, kYes };
  Result<Status> StatAt(const CallContext& ctx, int32_t position, Check check);
  Result<void> Set(const CallContext& ctx, int32_t id, uint32_t uid, uint32_t gid, uint32_t mode);
  Result<void> Remove(const CallContext& ctx, int32_t id);
  Result<void> SetLocked(const CallContext& ctx, int32_t id, bool locked);

  struct Totals {
    int32_t highest_position = 0;
    uint32_t segments = 0;
    uint64_t pages = 0, resident_pages = 0;
  };
  Totals Count() const;
  // The text of /proc/sysvipc/shm (proc(5)).
  std::string Table() const;

  uint64_t device() const { return device_; }

 private:
  class Pages;
  struct Segment {
    Status status;
    std::shared_ptr<Pages> pages;
  };
  using Segments = std::map<int32_t, Segment>;  // by position

  Result<Segment*> FindLocked(int32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Segment* FindKeyLocked(int32_t key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<int32_t> MakeLocked(const CallContext& ctx, int32_t key, uint64_t bytes, uint32_t flags)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The one that the caller owns, or may change.
  Result<Segment*> FindOwnLocked(const CallContext& ctx, int32_t id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the segment out; its pages go where the lock is not held.
  std::shared_ptr<Pages> TakeLocked(int32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Called by Pages, under the lock of an address space whose VMA keeps them.
  void MappingAdded(int32_t id);
  void MappingRemoved(int32_t id);

  platform::GuestMemory* const memory_;
  const uint64_t device_;
  mutable absl::Mutex mutex_;
  Segments segments_ ABSL_GUARDED_BY(mutex_);
  int32_t next_position_ ABSL_GUARDED_BY(mutex_) = 0;
  int32_t serial_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_SYSV_SHM_H_
