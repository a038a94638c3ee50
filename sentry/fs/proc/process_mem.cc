// /proc/PID/mem: the memory of a process, by address (proc_pid_mem(5)).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kPiece = 64 * 1024;

// Opened once, it stays with the memory it was opened on, as on Linux: after an execve or the end
// of the process there is nothing to read.
class MemFile final : public File {
 public:
  MemFile(InodeRef inode, const MemoryManagerRef& mm, uint32_t flags)
      : File(flags), inode_(std::move(inode)), mm_(mm) {}

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    return Move(ctx, offset, [&io](MemoryManager& mm, VirtAddr at) -> Result<size_t> {
      std::vector<std::byte> buffer(std::min<uint64_t>(io.remaining(), kPiece));
      const Result<size_t> got = mm.CopyInSome(buffer.data(), at, buffer.size());
      if (!got.ok()) return Errno::kIO;
      return io.Write(buffer.data(), *got);
    });
  }

  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    return Move(ctx, offset, [&io](MemoryManager& mm, VirtAddr at) -> Result<size_t> {
      std::vector<std::byte> buffer(std::min<uint64_t>(io.remaining(), kPiece));
      const size_t n = TRY(io.Read(buffer.data(), buffer.size()));
      const Result<size_t> put = mm.CopyOutSome(at, buffer.data(), n);
      if (!put.ok()) return Errno::kIO;
      return put;
    });
  }

  // Addresses may have their top bit set: any offset is good.
  Result<int64_t> Seek(const CallContext&, int64_t offset, int whence) override {
    if (whence != SEEK_SET && whence != SEEK_CUR) return Errno::kINVAL;
    absl::MutexLock lock(&offset_mutex_);
    const auto base = whence == SEEK_CUR ? static_cast<uint64_t>(offset_) : 0;
    offset_ = static_cast<int64_t>(base + static_cast<uint64_t>(offset));
    return offset_;
  }

  InodeRef inode() const override { return inode_; }

 private:
  template <typename F>
  Result<size_t> Move(const CallContext& ctx, const int64_t* offset, F&& piece) {
    TRY(ctx.RequireBlocking());
    const MemoryManagerRef mm = mm_.lock();
    if (mm == nullptr) return size_t{0};
    if (offset != nullptr) return piece(*mm, VirtAddr(static_cast<uint64_t>(*offset)));
    absl::MutexLock lock(&offset_mutex_);
    const size_t n = TRY(piece(*mm, VirtAddr(static_cast<uint64_t>(offset_))));
    offset_ += static_cast<int64_t>(n);
    return n;
  }

  const InodeRef inode_;
  const std::weak_ptr<MemoryManager> mm_;
};

class MemInode final : public ProcInode {
 public:
  explicit MemInode(const ProcPlace& place) : ProcInode(place, S_IFREG | 0600) {}
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override {
    const TaskSnapshot task = TRY(TaskOf(place()));
    TRY(CheckPrivate(ctx, task));
    return FileRef(std::make_shared<MemFile>(shared_from_this(), task.mm, flags));
  }
  Result<void> SetAttr(const CallContext&, const SetAttrRequest& request) override {
    return request.size ? Result<void>() : Errno::kPERM;
  }
};

}  // namespace

Result<TaskSnapshot> TaskOf(const ProcPlace& place) {
  std::optional<TaskSnapshot> task = place.source->Find(place.tid);
  if (!task.has_value()) return Errno::kSRCH;
  return *std::move(task);
}

Result<void> CheckPrivate(const CallContext& ctx, const TaskSnapshot& task) {
  constexpr int kCapSysPtrace = 19;
  if (ctx.tgid != 0 && ctx.tgid == task.tgid) return Ok();
  const Credentials& caller = *ctx.creds;
  const Credentials& owner = *task.creds;
  const bool same = caller.fsuid == owner.ruid && caller.fsuid == owner.euid &&
                    caller.fsuid == owner.suid && caller.fsgid == owner.rgid &&
                    caller.fsgid == owner.egid && caller.fsgid == owner.sgid;
  if (same || caller.HasCapability(kCapSysPtrace)) return Ok();
  return Errno::kACCES;
}

InodeRef MakeProcMem(const ProcPlace& place) { return std::make_shared<MemInode>(place); }

}  // namespace ringfence::sentry
