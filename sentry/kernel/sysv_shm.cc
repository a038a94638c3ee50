#include "sentry/kernel/sysv_shm.h"

#include <sys/ipc.h>
#include <sys/shm.h>
#include <time.h>

#include <algorithm>

#include "absl/strings/str_format.h"

namespace ringfence::sentry {
namespace {

constexpr int32_t kPositions = 32768, kSerials = 65536;  // IPCMNI, and 31 bits for both
constexpr int kCapSysAdmin = 21, kCapIpcLock = 14, kCapIpcOwner = 15;
constexpr uint32_t kRights = 0777;

int64_t Now() { return time(nullptr); }

int32_t PositionOf(int32_t id) { return id % kPositions; }

// ipcperms() of Linux: any class's bits of `wanted` are asked of the caller's class.
bool MayAccess(const CallContext& ctx, const SharedSegments::Status& status, uint32_t wanted) {
  const uint32_t asked = (wanted >> 6 | wanted >> 3 | wanted) & 7;
  uint32_t granted = status.mode;
  const Credentials& creds = *ctx.creds;
  if (creds.euid == status.creator_uid || creds.euid == status.uid) {
    granted >>= 6;
  } else if (creds.InGroup(status.creator_gid) || creds.InGroup(status.gid)) {
    granted >>= 3;
  }
  return (asked & ~granted) == 0 || creds.HasCapability(kCapIpcOwner);
}

}  // namespace

// Tells the table of its mappings. The table outlives the sandbox's processes or is gone.
class SharedSegments::Pages final : public AnonymousPages {
 public:
  Pages(platform::GuestMemory* memory, Options options, std::weak_ptr<SharedSegments> table,
        int32_t id)
      : AnonymousPages(memory, std::move(options)), table_(std::move(table)), id_(id) {}
  void AddMapping(MemoryManager* mm, VirtRange range, uint64_t page) override {
    AnonymousPages::AddMapping(mm, range, page);
    if (const auto table = table_.lock()) table->MappingAdded(id_);
  }
  void RemoveMapping(MemoryManager* mm, VirtRange range, uint64_t page) override {
    AnonymousPages::RemoveMapping(mm, range, page);
    if (const auto table = table_.lock()) table->MappingRemoved(id_);
  }

 private:
  const std::weak_ptr<SharedSegments> table_;
  const int32_t id_;
};

Result<SharedSegments::Segment*> SharedSegments::FindLocked(int32_t id) {
  const auto it = id < 0 ? segments_.end() : segments_.find(PositionOf(id));
  if (it == segments_.end() || it->second.status.id != id) return Errno::kINVAL;
  return &it->second;
}

SharedSegments::Segment* SharedSegments::FindKeyLocked(int32_t key) {
  for (auto& [position, segment] : segments_) {
    if (segment.status.key == key) return &segment;
  }
  return nullptr;
}

Result<int32_t> SharedSegments::MakeLocked(const CallContext& ctx, int32_t key, uint64_t bytes,
                                           uint32_t flags) {
  if (bytes == 0 || bytes > std::min(kMaxBytes, AnonymousPages::kMaxSize)) return Errno::kINVAL;
  if ((flags & SHM_HUGETLB) != 0) return Errno::kNOMEM;  // as with no huge page set aside
  if (segments_.size() >= kMaxSegments) return Errno::kNOSPC;
  while (segments_.count(next_position_) != 0) next_position_ = (next_position_ + 1) % kPositions;
  Segment segment;
  Status& status = segment.status;
  status.id = serial_ * kPositions + next_position_;
  status.key = key;
  status.uid = status.creator_uid = ctx.creds->euid;
  status.gid = status.creator_gid = ctx.creds->egid;
  status.mode = flags & kRights;
  status.bytes = bytes;
  status.creator_pid = ctx.tgid;
  status.change_time = Now();
  AnonymousPages::Options options;
  options.name = absl::StrFormat("/SYSV%08x (deleted)", static_cast<uint32_t>(key));
  options.device = device_;
  options.inode = static_cast<uint64_t>(status.id);
  options.size = bytes;
  options.whole_blocks = true;
  segment.pages = std::make_shared<Pages>(memory_, std::move(options), weak_from_this(), status.id);
  const int32_t id = status.id;
  segments_.emplace(next_position_, std::move(segment));
  if (++next_position_ == kPositions) next_position_ = 0;
  return id;
}

Result<int32_t> SharedSegments::Get(const CallContext& ctx, int32_t key, uint64_t bytes,
                                    uint32_t flags) {
  absl::MutexLock lock(&mutex_);
  if (key == kPrivate) return MakeLocked(ctx, key, bytes, flags);
  const Segment* const found = FindKeyLocked(key);
  if (found == nullptr) {
    if ((flags & IPC_CREAT) == 0) return Errno::kNOENT;
    return MakeLocked(ctx, key, bytes, flags);
  }
  if ((flags & IPC_CREAT) != 0 && (flags & IPC_EXCL) != 0) return Errno::kEXIST;
  if (found->status.bytes < bytes) return Errno::kINVAL;
  if (!MayAccess(ctx, found->status, flags & kRights)) return Errno::kACCES;
  return found->status.id;
}

Result<SharedSegments::Attachable> SharedSegments::Open(const CallContext& ctx, int32_t id,
                                                        uint32_t access) {
  absl::MutexLock lock(&mutex_);
  const Segment* const segment = TRY(FindLocked(id));
  if (!MayAccess(ctx, segment->status, access)) return Errno::kACCES;
  return Attachable{segment->pages, segment->status.bytes};
}

void SharedSegments::NoteUser(const CallContext& ctx, int32_t id) {
  absl::MutexLock lock(&mutex_);
  const Result<Segment*> segment = FindLocked(id);
  if (segment.ok()) (*segment)->status.last_pid = ctx.tgid;
}

Result<SharedSegments::Status> SharedSegments::Stat(const CallContext& ctx, int32_t id) {
  absl::MutexLock lock(&mutex_);
  const Segment* const segment = TRY(FindLocked(id));
  if (!MayAccess(ctx, segment->status, 0444)) return Errno::kACCES;
  return segment->status;
}

Result<SharedSegments::Status> SharedSegments::StatAt(const CallContext& ctx, int32_t position,
                                                      Check check) {
  absl::MutexLock lock(&mutex_);
  const auto it = segments_.find(PositionOf(std::max(position, 0)));
  if (position < 0 || it == segments_.end()) return Errno::kINVAL;
  const Status& status = it->second.status;
  if (check == Check::kYes && !MayAccess(ctx, status, 0444)) return Errno::kACCES;
  return status;
}

Result<SharedSegments::Segment*> SharedSegments::FindOwnLocked(const CallContext& ctx, int32_t id) {
  Segment* const segment = TRY(FindLocked(id));
  const Status& status = segment->status;
  const Credentials& creds = *ctx.creds;
  const bool own = creds.euid == status.creator_uid || creds.euid == status.uid;
  if (!own && !creds.HasCapability(kCapSysAdmin)) return Errno::kPERM;
  return segment;
}

Result<void> SharedSegments::Set(const CallContext& ctx, int32_t id, uint32_t uid, uint32_t gid,
                                 uint32_t mode) {
  absl::MutexLock lock(&mutex_);
  Status& status = TRY(FindOwnLocked(ctx, id))->status;
  status.uid = uid;
  status.gid = gid;
  status.mode = (status.mode & ~kRights) | (mode & kRights);
  status.change_time = Now();
  return Ok();
}

Result<void> SharedSegments::SetLocked(const CallContext& ctx, int32_t id, bool locked) {
  absl::MutexLock lock(&mutex_);
  Status& status = TRY(FindLocked(id))->status;
  const bool own = ctx.creds->euid == status.creator_uid || ctx.creds->euid == status.uid;
  if (!own && !ctx.creds->HasCapability(kCapIpcLock)) return Errno::kPERM;
  status.mode = locked ? status.mode | kLocked : status.mode & ~kLocked;
  return Ok();
}

std::shared_ptr<SharedSegments::Pages> SharedSegments::TakeLocked(int32_t id) {
  const auto it = segments_.find(PositionOf(id));
  std::shared_ptr<Pages> pages = std::move(it->second.pages);
  segments_.erase(it);
  serial_ = (serial_ + 1) % kSerials;
  return pages;
}

Result<void> SharedSegments::Remove(const CallContext& ctx, int32_t id) {
  std::shared_ptr<Pages> dropped;
  absl::MutexLock lock(&mutex_);
  Status& status = TRY(FindOwnLocked(ctx, id))->status;
  if (status.attached == 0) {
    dropped = TakeLocked(id);
  } else {
    status.mode |= kRemoved;
    status.key = kPrivate;
  }
  return Ok();
}

void SharedSegments::MappingAdded(int32_t id) {
  absl::MutexLock lock(&mutex_);
  const Result<Segment*> segment = FindLocked(id);
  if (!segment.ok()) return;
  ++(*segment)->status.attached;
  (*segment)->status.attach_time = Now();
}

void SharedSegments::MappingRemoved(int32_t id) {
  std::shared_ptr<Pages> dropped;  // the VMA that goes still has them
  absl::MutexLock lock(&mutex_);
  const Result<Segment*> segment = FindLocked(id);
  if (!segment.ok()) return;
  Status& status = (*segment)->status;
  --status.attached;
  status.detach_time = Now();
  if (status.attached == 0 && (status.mode & kRemoved) != 0) dropped = TakeLocked(id);
}

SharedSegments::Totals SharedSegments::Count() const {
  absl::MutexLock lock(&mutex_);
  Totals totals;
  for (const auto& [position, segment] : segments_) {
    totals.highest_position = position;
    ++totals.segments;
    totals.pages += (segment.status.bytes + kPageMask) >> kPageShift;
    totals.resident_pages += segment.pages->allocated_pages();
  }
  return totals;
}

std::string SharedSegments::Table() const {
  std::string text =
      absl::StrFormat("%10s %10s %5s %21s %5s %5s %6s %5s %5s %5s %5s %10s %10s %10s %21s %21s\n",
                      "key", "shmid", "perms", "size", "cpid", "lpid", "nattch", "uid", "gid",
                      "cuid", "cgid", "atime", "dtime", "ctime", "rss", "swap");
  absl::MutexLock lock(&mutex_);
  for (const auto& [position, segment] : segments_) {
    const Status& s = segment.status;
    absl::StrAppendFormat(
        &text, "%10d %10d  %4o %21d %5d %5d  %5d %5d %5d %5d %5d %10d %10d %10d %21d %21d\n", s.key,
        s.id, s.mode, s.bytes, s.creator_pid, s.last_pid, s.attached, s.uid, s.gid, s.creator_uid,
        s.creator_gid, s.attach_time, s.detach_time, s.change_time,
        segment.pages->allocated_pages() << kPageShift, 0);
  }
  return text;
}

}  // namespace ringfence::sentry
