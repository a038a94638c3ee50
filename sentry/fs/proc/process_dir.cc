// Directories of a process: /proc/PID, its task, fd and fdinfo.
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kTaskSalt = 512, kFdSalt = 1024, kFdInfoSalt = 1 << 18;

// /proc/PID/task: one directory per thread.
class TaskDirectory final : public ProcDirectory {
 public:
  explicit TaskDirectory(const ProcPlace& place) : ProcDirectory(place) {}
  Result<std::vector<Name>> Names(const CallContext&, int64_t position) override {
    std::vector<Name> names;
    for (const int32_t tid : place().source->Threads(place().tid)) {
      if (tid >= position) names.push_back({absl::StrCat(tid), S_IFDIR, tid});
    }
    return names;
  }

 protected:
  Result<InodeRef> Find(const CallContext&, std::string_view name) override {
    const int32_t tid = ParseId(name);
    for (const int32_t known : place().source->Threads(place().tid)) {
      if (known != tid) continue;
      ProcPlace child = place().Child(static_cast<uint64_t>(tid));
      child.tid = tid;
      return MakeProcProcess(child, true);
    }
    return Errno::kNOENT;
  }
};

// /proc/PID itself; a thread's directory is the same without task/.
class ProcessDirectory final : public ProcTableDirectory {
 public:
  ProcessDirectory(const ProcPlace& place, bool thread)
      : ProcTableDirectory(place, &ProcProcessRows()), thread_(thread) {}
  int32_t ProcessId() const override { return thread_ ? 0 : place().tid; }

  Result<std::vector<Name>> Names(const CallContext& ctx, int64_t position) override {
    std::vector<Name> names = TRY(ProcTableDirectory::Names(ctx, position));
    const char* const directories[] = {"fd", "fdinfo", "task"};
    for (size_t i = 0; i < (thread_ ? 2u : 3u); i++) {
      const int64_t at = static_cast<int64_t>(rows() + i);
      if (at >= position) names.push_back({directories[i], S_IFDIR, at});
    }
    return names;
  }

 protected:
  Result<InodeRef> Find(const CallContext& ctx, std::string_view name) override {
    if (name == "fd") return MakeProcFds(place().Child(kFdSalt), false);
    if (name == "fdinfo") return MakeProcFds(place().Child(kFdInfoSalt), true);
    if (name == "task" && !thread_) {
      return InodeRef(std::make_shared<TaskDirectory>(place().Child(kTaskSalt)));
    }
    return ProcTableDirectory::Find(ctx, name);
  }

 private:
  const bool thread_;
};

Result<FileRef> FileOf(const ProcPlace& place, int32_t fd) {
  const auto task = place.source->Find(place.tid);
  if (!task.has_value() || task->fds == nullptr) return Errno::kNOENT;
  Result<FileRef> file = task->fds->Get(static_cast<Fd>(fd));
  if (!file.ok()) return Errno::kNOENT;
  return file;
}

// An inode for a file that has none, so that the link can be followed: it opens the same
// description again, as Linux does for what cannot be opened twice.
class DescriptionInode final : public Inode {
 public:
  explicit DescriptionInode(FileSystem* fs, FileRef file) : Inode(fs), file_(std::move(file)) {}
  Result<Attributes> GetAttr(const CallContext& ctx) override { return file_->GetAttr(ctx); }
  uint32_t type() const override { return S_IFCHR; }
  Result<FileRef> Open(const CallContext&, uint32_t) override { return file_; }

 private:
  const FileRef file_;
};

Result<DentryRef> FdDentry(const ProcPlace& place, int32_t fd) {
  const FileRef file = TRY(FileOf(place, fd));
  if (file->dentry() != nullptr) return file->dentry();
  InodeRef inode = file->inode();
  if (inode == nullptr) inode = std::make_shared<DescriptionInode>(place.fs, file);
  return Dentry::MakeDetached(std::move(inode), file->AnonymousName());
}

Result<std::string> FdTarget(const ProcPlace& place, int32_t fd) {
  const FileRef file = TRY(FileOf(place, fd));
  if (file->dentry() == nullptr) return file->AnonymousName();
  return Vfs::AbsolutePathOf(file->dentry());
}

Result<std::string> FdInfo(const CallContext& ctx, const ProcPlace& place, int32_t fd) {
  const FileRef file = TRY(FileOf(place, fd));
  const Result<int64_t> position = file->Seek(ctx, 0, SEEK_CUR);
  return absl::StrFormat("pos:\t%d\nflags:\t0%o\nmnt_id:\t0\nino:\t0\n", position.value_or(0),
                         file->flags());
}

// /proc/PID/fd (links) and fdinfo (texts).
class FdDirectory final : public ProcDirectory {
 public:
  FdDirectory(const ProcPlace& place, bool info)
      : ProcDirectory(place, info ? 0555 : 0500), info_(info) {}

  Result<std::vector<Name>> Names(const CallContext&, int64_t position) override {
    std::vector<Name> names;
    const auto task = place().source->Find(place().tid);
    if (!task.has_value() || task->fds == nullptr) return names;
    const uint32_t type = info_ ? S_IFREG : S_IFLNK;
    for (const Fd fd : task->fds->List()) {
      if (ToInt(fd) < position) continue;
      names.push_back({absl::StrCat(ToInt(fd)), type, ToInt(fd)});
    }
    return names;
  }

 protected:
  Result<InodeRef> Find(const CallContext&, std::string_view name) override {
    const int32_t fd = ParseId(name);
    if (fd < 0) return Errno::kNOENT;
    const FileRef file = TRY(FileOf(place(), fd));
    const ProcPlace child = place().Child(static_cast<uint64_t>(fd));
    if (info_) {
      return InodeRef(std::make_shared<ProcText>(
          child, 0444,
          [fd](const CallContext& ctx, const ProcPlace& where) { return FdInfo(ctx, where, fd); }));
    }
    return InodeRef(std::make_shared<ProcLink>(
        child, [fd](const CallContext&, const ProcPlace& where) { return FdTarget(where, fd); },
        [fd](const CallContext&, const ProcPlace& where) { return FdDentry(where, fd); },
        S_IXUSR | (file->readable() ? S_IRUSR : 0u) | (file->writable() ? S_IWUSR : 0u)));
  }

 private:
  const bool info_;
};

}  // namespace

InodeRef MakeProcProcess(const ProcPlace& place, bool thread) {
  return std::make_shared<ProcessDirectory>(place, thread);
}

InodeRef MakeProcFds(const ProcPlace& place, bool info) {
  return std::make_shared<FdDirectory>(place, info);
}

}  // namespace ringfence::sentry
