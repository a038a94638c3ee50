// System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).
#include <sys/ipc.h>
#include <sys/shm.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "sentry/kernel/sysv_shm.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kStatAny = 15;         // SHM_STAT_ANY
constexpr uint32_t kExec = 0100000;  // SHM_EXEC

Result<SharedSegments*> Table(SyscallContext& ctx) {
  SharedSegments* const table = ctx.services().segments.get();
  if (table == nullptr) return Errno::kNOSYS;
  return table;
}

// The glibc structure of x86-64 and arm64 is the kernel's.
shmid_ds ToAbi(const SharedSegments::Status& status) {
  shmid_ds abi = {};
  abi.shm_perm.__key = status.key;
  abi.shm_perm.uid = status.uid;
  abi.shm_perm.gid = status.gid;
  abi.shm_perm.cuid = status.creator_uid;
  abi.shm_perm.cgid = status.creator_gid;
  abi.shm_perm.mode = status.mode;
  abi.shm_segsz = status.bytes;
  abi.shm_atime = status.attach_time;
  abi.shm_dtime = status.detach_time;
  abi.shm_ctime = status.change_time;
  abi.shm_cpid = status.creator_pid;
  abi.shm_lpid = status.last_pid;
  abi.shm_nattch = status.attached;
  return abi;
}

// Where shmat(2) is told to put it; nothing: anywhere.
Result<std::optional<VirtAddr>> PlaceOf(SyscallContext& ctx, uint32_t flags) {
  VirtAddr at = ctx.Addr(1);
  if (at.is_null()) {
    if ((flags & SHM_REMAP) != 0) return Errno::kINVAL;
    return std::optional<VirtAddr>();
  }
  if (at.page_offset() != 0) {
    if ((flags & SHM_RND) == 0) return Errno::kINVAL;
    at = at.page_down();
    if (at.is_null() && (flags & SHM_REMAP) != 0) return Errno::kINVAL;
  }
  return std::optional<VirtAddr>(at);
}

Result<MapRequest> RequestOf(SyscallContext& ctx, const SharedSegments::Attachable& segment,
                             uint32_t flags) {
  const std::optional<VirtAddr> place = TRY(PlaceOf(ctx, flags));
  const bool read_only = (flags & SHM_RDONLY) != 0;
  MapRequest request;
  request.object = segment.pages;
  request.length = segment.bytes;
  request.prot = Prot{true, !read_only, (flags & kExec) != 0};
  if (read_only) request.max_prot.write = false;
  request.shared = true;
  request.kind = VmaKind::kFile;
  if (place.has_value()) {
    request.addr = *place;
    request.fixed = (flags & SHM_REMAP) != 0;
    request.fixed_noreplace = !request.fixed;
  }
  return request;
}

struct Attachment {
  int32_t id = 0;
  std::vector<VirtRange> ranges;
};

// What is left of the mapping that shmat(2) made at `addr`, in pieces if it was cut.
Attachment FindAttachment(const MemoryManager& mm, uint64_t device, VirtAddr addr) {
  Attachment found;
  mm.VisitVmas([&](const VmaInfo& vma) {
    if (vma.device != device || vma.range.start < addr) return;
    if (vma.range.start.value() - addr.value() != vma.offset) return;
    const auto id = static_cast<int32_t>(vma.inode);
    if (found.ranges.empty()) found.id = id;
    if (found.id == id) found.ranges.push_back(vma.range);
  });
  return found;
}

Result<int64_t> Control(SyscallContext& ctx, SharedSegments& table, int command) {
  const int32_t id = ctx.Int(0);
  switch (command) {
    case IPC_RMID:
      return Done(table.Remove(ctx.call(), id));
    case SHM_LOCK:
    case SHM_UNLOCK:
      return Done(table.SetLocked(ctx.call(), id, command == SHM_LOCK));
    case IPC_SET: {
      const auto wanted = TRY(ctx.In<shmid_ds>(2).Load(ctx.mm()));
      return Done(table.Set(ctx.call(), id, wanted.shm_perm.uid, wanted.shm_perm.gid,
                            wanted.shm_perm.mode));
    }
    case IPC_STAT:
      return Done(ctx.Out<shmid_ds>(2).Store(ctx.mm(), ToAbi(TRY(table.Stat(ctx.call(), id)))));
    case SHM_STAT:
    case kStatAny: {
      using Check = SharedSegments::Check;
      const Check check = command == SHM_STAT ? Check::kYes : Check::kNo;
      const SharedSegments::Status status = TRY(table.StatAt(ctx.call(), id, check));
      TRY(ctx.Out<shmid_ds>(2).Store(ctx.mm(), ToAbi(status)));
      return int64_t{status.id};
    }
    default:
      return Errno::kINVAL;
  }
}

Result<int64_t> Limits(SyscallContext& ctx, const SharedSegments& table) {
  shminfo limits = {};
  limits.shmmax = limits.shmall = SharedSegments::kMaxBytes;
  limits.shmmin = 1;
  limits.shmmni = limits.shmseg = SharedSegments::kMaxSegments;
  TRY(ctx.Out<shminfo>(2).Store(ctx.mm(), limits));
  return int64_t{table.Count().highest_position};
}

Result<int64_t> Totals(SyscallContext& ctx, const SharedSegments& table) {
  const SharedSegments::Totals totals = table.Count();
  shm_info info = {};
  info.used_ids = static_cast<int>(totals.segments);
  info.shm_tot = totals.pages;
  info.shm_rss = totals.resident_pages;
  TRY(ctx.Out<shm_info>(2).Store(ctx.mm(), info));
  return int64_t{totals.highest_position};
}

}  // namespace

Result<int64_t> SysShmget(SyscallContext& ctx) {
  SharedSegments* const table = TRY(Table(ctx));
  return int64_t{TRY(table->Get(ctx.call(), ctx.Int(0), ctx.Arg(1), ctx.Uint(2)))};
}

Result<int64_t> SysShmat(SyscallContext& ctx) {
  SharedSegments* const table = TRY(Table(ctx));
  const int32_t id = ctx.Int(0);
  const uint32_t flags = ctx.Uint(2);
  if (id < 0) return Errno::kINVAL;
  TRY(PlaceOf(ctx, flags));
  uint32_t access = (flags & SHM_RDONLY) != 0 ? 0444 : 0666;
  if ((flags & kExec) != 0) access |= 0111;
  const SharedSegments::Attachable segment = TRY(table->Open(ctx.call(), id, access));
  const Result<VirtAddr> at = ctx.mm().Map(TRY(RequestOf(ctx, segment, flags)));
  if (!at.ok()) return at.error() == Errno::kEXIST ? Errno::kINVAL : at.error();
  table->NoteUser(ctx.call(), id);
  return static_cast<int64_t>(at->value());
}

Result<int64_t> SysShmdt(SyscallContext& ctx) {
  SharedSegments* const table = TRY(Table(ctx));
  if (ctx.Addr(0).page_offset() != 0) return Errno::kINVAL;
  const Attachment found = FindAttachment(ctx.mm(), table->device(), ctx.Addr(0));
  if (found.ranges.empty()) return Errno::kINVAL;
  table->NoteUser(ctx.call(), found.id);
  for (const VirtRange& range : found.ranges) TRY(ctx.mm().Unmap(range.start, range.size()));
  return int64_t{0};
}

Result<int64_t> SysShmctl(SyscallContext& ctx) {
  SharedSegments* const table = TRY(Table(ctx));
  const int command = ctx.Int(1);
  if (command < 0 || ctx.Int(0) < 0) return Errno::kINVAL;
  if (command == IPC_INFO) return Limits(ctx, *table);
  if (command == SHM_INFO) return Totals(ctx, *table);
  return Control(ctx, *table, command);
}

}  // namespace ringfence::sentry
