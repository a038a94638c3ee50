// Resolve, open(2), openat2(2), O_PATH, O_TMPFILE.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "sentry/vfs/change.h"
#include "sentry/vfs/permission.h"
#include "sentry/vfs/walker.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kLargeFile = 0100000;                    // what every 64-bit open carries
constexpr uint32_t kTmpFileBit = O_TMPFILE & ~O_DIRECTORY;  // __O_TMPFILE
constexpr uint32_t kPathFlags = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
// Not remembered by the open file description.
constexpr uint32_t kOpenOnly = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

// What O_PATH gives: a place, no data.
class PathFile : public File {
 public:
  using File::File;
  Result<size_t> Read(const CallContext&, UserIo&, const int64_t*) override { return Errno::kBADF; }
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kBADF;
  }
};

uint32_t AccessMask(uint32_t flags) {
  uint32_t mask = 0;
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      mask = kMayRead;
      break;
    case O_WRONLY:
      mask = kMayWrite;
      break;
    default:
      mask = kMayRead | kMayWrite;
  }
  if ((flags & O_TRUNC) != 0) mask |= kMayWrite;
  return mask;
}

// may_open() of Linux.
Result<void> CheckMayOpen(const CallContext& ctx, const Path& path, uint32_t flags) {
  const uint32_t mask = AccessMask(flags);
  Inode& inode = *path.node->inode();
  switch (inode.type()) {
    case S_IFLNK:
      return Errno::kLOOP;
    case S_IFDIR:
      if ((mask & kMayWrite) != 0) return Errno::kISDIR;
      break;
    case S_IFCHR:
    case S_IFBLK:
      if ((path.mount->flags() & MS_NODEV) != 0) return Errno::kACCES;
      break;
    default:
      break;
  }
  TRY(CheckPermission(ctx, path, mask));
  if ((flags & O_NOATIME) != 0 && !IsOwnerOrCapable(*ctx.creds, TRY(inode.GetAttr(ctx)))) {
    return Errno::kPERM;
  }
  return Ok();
}

Result<FileRef> OpenNode(const CallContext& ctx, const Path& path, uint32_t flags) {
  InodeRef inode = path.node->inode();
  if (inode->type() == S_IFSOCK) return Errno::kNXIO;
  const uint32_t terminal = inode->type() == S_IFCHR ? flags & O_NOCTTY : 0;
  FileRef file = TRY(inode->Open(ctx, (flags & ~kOpenOnly) | kLargeFile | terminal));
  if (file->dentry() == nullptr) file->SetDentry(MakeDentry(path));
  Watches::OnFile(*file, kWatchOpen);
  return file;
}

// do_open(): checks, truncates and opens what exists.
Result<FileRef> OpenExisting(const CallContext& ctx, const Path& path, uint32_t flags) {
  if ((flags & O_PATH) != 0) {
    auto file = std::make_shared<PathFile>(flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW));
    file->SetDentry(MakeDentry(path));
    return FileRef(std::move(file));
  }
  const uint32_t type = path.node->inode()->type();
  if ((flags & O_CREAT) != 0 && type == S_IFDIR) return Errno::kISDIR;
  if ((flags & O_DIRECTORY) != 0 && type != S_IFDIR) {
    return Errno::kNOTDIR;
  }
  if (type != S_IFREG) flags &= ~uint32_t{O_TRUNC};
  TRY(CheckMayOpen(ctx, path, flags));
  if ((flags & O_TRUNC) != 0) {
    SetAttrRequest request;
    request.size = 0;
    request.mtime_now = true;
    const Attributes now = TRY(path.node->inode()->GetAttr(ctx));
    const uint32_t mode = ModeAfterWrite(*ctx.creds, now.mode);
    if (mode != now.mode) request.mode = mode & 07777;
    TRY(path.node->inode()->SetAttr(ctx, request));
    Watches::OnNode(path.node, kWatchModify);
  }
  return OpenNode(ctx, path, flags);
}

// Makes and opens the last component if it is not there; null when it is, with *existing set.
Result<FileRef> CreateLast(const CallContext& ctx, Walker& walker, uint32_t flags, uint32_t mode,
                           Path* existing) {
  const Path& parent = walker.parent();
  Result<Path> found = walker.LookupName();
  DirectoryLock lock;
  if (!found.ok() && found.error() == Errno::kNOENT) {
    TRY(lock.Acquire(ctx, parent.node));
    found = walker.LookupName(LookupUse::kCreate);
  }
  if (found.ok()) {
    *existing = std::move(found).value();
    return FileRef();
  }
  if (found.error() != Errno::kNOENT) return found.error();
  TRY(CheckMayCreate(ctx, parent));
  Result<InodeRef> made =
      parent.node->inode()->Create(ctx, walker.name(), S_IFREG | (mode & 07777), 0);
  if (!made.ok() && made.error() == Errno::kEXIST) {
    // Made outside, after the lookup.
    *existing = TRY(walker.LookupName());
    return FileRef();
  }
  const InodeRef inode = TRY(std::move(made));
  NodeRef node = parent.mount->superblock().Added(parent.node, walker.name(), inode);
  Watches::OnCreate(parent.node, walker.name(), inode);
  return OpenNode(ctx, Path{parent.mount, std::move(node)}, flags);
}

Result<FileRef> OpenCreate(const CallContext& ctx, Walker& walker, uint32_t flags, uint32_t mode) {
  const bool exclusive = (flags & O_EXCL) != 0;
  for (;;) {
    if (walker.kind() != Walker::LastKind::kName) {
      Path place = TRY(walker.Last(false));
      if (exclusive) return Errno::kEXIST;
      return OpenExisting(ctx, place, flags);
    }
    if (walker.trailing_slash()) return Errno::kISDIR;
    Path existing;
    FileRef file = TRY(CreateLast(ctx, walker, flags, mode, &existing));
    if (file != nullptr) return file;
    if (exclusive) return Errno::kEXIST;
    if (existing.node->inode()->type() != S_IFLNK || (flags & O_NOFOLLOW) != 0) {
      return OpenExisting(ctx, existing, flags);
    }
    TRY(walker.Follow(existing));
    TRY(walker.ToParent());
  }
}

Result<FileRef> OpenTemporary(const CallContext& ctx, Walker& walker, uint32_t flags,
                              uint32_t mode) {
  Path directory = TRY(walker.Last((flags & O_NOFOLLOW) == 0));
  if (directory.node->inode()->type() != S_IFDIR) return Errno::kNOTDIR;
  TRY(CheckMayCreate(ctx, directory));
  InodeRef inode = TRY(directory.node->inode()->CreateTemporary(ctx, S_IFREG | (mode & 07777)));
  NodeRef node = directory.mount->superblock().MakeUnlinked(directory.node, inode);
  return OpenNode(ctx, Path{directory.mount, std::move(node)}, flags & ~kTmpFileBit);
}

Result<uint32_t> CheckOpenFlags(uint32_t flags, uint32_t resolve) {
  if ((flags & O_PATH) != 0) flags &= kPathFlags;
  if ((flags & kTmpFileBit) != 0) {
    if ((flags & O_TMPFILE) != O_TMPFILE || (flags & O_CREAT) != 0) return Errno::kINVAL;
    if ((AccessMask(flags) & kMayWrite) == 0) return Errno::kINVAL;
  }
  if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY)) return Errno::kINVAL;
  if ((resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) == (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
    return Errno::kINVAL;
  }
  // What is cached may have to be asked for anyway: openat2(2) allows to say so.
  if ((resolve & RESOLVE_CACHED) != 0) return Errno::kAGAIN;
  return flags;
}

}  // namespace

Result<DentryRef> Vfs::Resolve(const CallContext& ctx, const PathBase& base, std::string_view path,
                               const ResolveFlags& flags) {
  Path place;
  if (path.empty() && flags.allow_empty) {
    DentryRef start = base.start != nullptr ? base.start : base.fs->cwd();
    if (flags.want_directory && start->inode()->type() != S_IFDIR) return Errno::kNOTDIR;
    return start;
  }
  Walker walker(ctx, base, flags.resolve);
  TRY(walker.Start(path));
  TRY(walker.ToParent());
  place = TRY(walker.Last(flags.follow_last));
  if (flags.want_directory && place.node->inode()->type() != S_IFDIR) return Errno::kNOTDIR;
  return MakeDentry(place);
}

Result<FileRef> Vfs::Open(const CallContext& ctx, const PathBase& base, std::string_view path,
                          uint32_t flags, uint32_t mode, uint32_t resolve) {
  flags = TRY(CheckOpenFlags(flags, resolve));
  mode &= ~base.fs->umask();
  Walker walker(ctx, base, resolve);
  TRY(walker.Start(path));
  TRY(walker.ToParent());
  if ((flags & kTmpFileBit) != 0) return OpenTemporary(ctx, walker, flags, mode);
  if ((flags & O_CREAT) != 0) return OpenCreate(ctx, walker, flags, mode);
  Path place = TRY(walker.Last((flags & O_NOFOLLOW) == 0));
  if ((flags & (O_PATH | O_DIRECTORY)) == (O_PATH | O_DIRECTORY) &&
      place.node->inode()->type() != S_IFDIR) {
    return Errno::kNOTDIR;
  }
  return OpenExisting(ctx, place, flags);
}

Result<FileRef> Vfs::OpenDentry(const CallContext& ctx, const DentryRef& dentry, uint32_t flags) {
  flags = TRY(CheckOpenFlags(flags & ~uint32_t{O_CREAT | O_EXCL}, 0));
  return OpenExisting(ctx, PathOfDentry(dentry), flags);
}

}  // namespace ringfence::sentry
