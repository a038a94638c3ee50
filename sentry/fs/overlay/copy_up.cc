// Copy-up: an object of the lower tree gets one in the upper tree in its place.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "sentry/fs/overlay/inode.h"
#include "sentry/mm/user_io.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kCopyBytes = 256 * 1024;

// ENOSPC at once instead of after a long copy.
Result<void> CheckRoom(const CallContext& own, uint64_t bytes, FileSystem& upper) {
  const FsAttributes room = TRY(upper.StatFs(own));
  if (room.blocks != 0 && bytes / room.bsize > room.bavail) return Errno::kNOSPC;
  return Ok();
}

class DataCopy {
 public:
  DataCopy(const CallContext& own, File& from, File& to, absl::FunctionRef<bool()> give_up)
      : own_(own), from_(from), to_(to), give_up_(give_up) {}

  // Holes stay holes where the lower file system tells of them.
  Result<void> Copy(uint64_t size) {
    buffer_.resize(std::min<uint64_t>(size, kCopyBytes));
    for (uint64_t position = 0; position < size;) {
      uint64_t start = position, end = size;
      const Result<int64_t> data = from_.Seek(own_, static_cast<int64_t>(position), SEEK_DATA);
      if (data.ok()) {
        start = std::min(static_cast<uint64_t>(*data), size);
        const Result<int64_t> hole = from_.Seek(own_, *data, SEEK_HOLE);
        if (hole.ok()) end = std::min(static_cast<uint64_t>(*hole), size);
      } else if (data.error() == Errno::kNXIO) {
        break;  // nothing but a hole
      }
      TRY(CopyRange(start, end));
      position = std::max(end, position + 1);
    }
    return Ok();
  }

 private:
  Result<void> CopyRange(uint64_t start, uint64_t end) {
    while (start < end) {
      if (give_up_()) return Errno::kINTR;
      const auto at = static_cast<int64_t>(start);
      const absl::Span<std::byte> buffer = absl::MakeSpan(buffer_);
      UserIo in(buffer.subspan(0, std::min<uint64_t>(buffer.size(), end - start)));
      const size_t n = TRY(from_.Read(own_, in, &at));
      if (n == 0) break;  // the host made it shorter
      for (size_t done = 0; done < n;) {
        const int64_t place = at + static_cast<int64_t>(done);
        UserIo out(buffer.subspan(done, n - done));
        const size_t written = TRY(to_.Write(own_, out, &place));
        if (written == 0) return Errno::kIO;
        done += written;
      }
      start += n;
    }
    return Ok();
  }

  const CallContext& own_;
  File& from_;
  File& to_;
  const absl::FunctionRef<bool()> give_up_;
  std::vector<std::byte> buffer_;
};

Result<InodeRef> MakeSpecial(const CallContext& own, const CopySource& source, Inode& directory,
                             const std::string& name) {
  switch (source.lower->type()) {
    case S_IFDIR:
      return directory.Mkdir(own, name, source.attr.mode & 07777);
    case S_IFLNK:
      return directory.Symlink(own, name, TRY(source.lower->ReadLink(own)));
    default:
      return directory.Create(own, name, source.attr.mode, source.attr.rdev);
  }
}

void Undo(const CallContext& own, Inode& directory, const std::string& name, Inode& made) {
  // Nothing more can be done than to try.
  static_cast<void>(made.type() == S_IFDIR ? directory.Rmdir(own, name, made)
                                           : directory.Unlink(own, name, made));
}

// A copy-up is no change of the directory.
void KeepTimes(const CallContext& own, Inode& directory, const Attributes& before) {
  SetAttrRequest request;
  request.atime = before.atime;
  request.mtime = before.mtime;
  static_cast<void>(directory.SetAttr(own, request));
}

}  // namespace

Result<InodeRef> CopyRegular(const CallContext& own, const CopySource& source, Inode& directory,
                             FileSystem& upper) {
  const uint64_t size = std::min(source.attr.size, source.data_limit);
  if (size != 0) TRY(CheckRoom(own, std::min(size, source.attr.blocks * 512), upper));
  InodeRef copy = TRY(directory.CreateTemporary(own, S_IFREG | 0600));
  SetAttrRequest resize;
  resize.size = size;
  if (size != 0) {
    const FileRef from = TRY(source.lower->Open(own, O_RDONLY | O_NOATIME));
    const FileRef to = TRY(copy->Open(own, O_WRONLY));
    TRY(DataCopy(own, *from, *to, source.give_up).Copy(size));
  }
  TRY(copy->SetAttr(own, resize));
  return copy;
}

Result<void> CopyAttributes(const CallContext& own, const CopySource& source, Inode& copy,
                            const FileId* id) {
  const Result<std::vector<std::string>> names = source.lower->ListXattr(own);
  if (names.ok()) {
    for (const std::string& name : *names) {
      if (name.starts_with(kOverlayPrefix)) continue;
      const Result<void> set = copy.SetXattr(own, name, TRY(source.lower->GetXattr(own, name)), 0);
      if (!set.ok() && set.error() != Errno::kOPNOTSUPP) return set.error();
    }
  } else if (names.error() != Errno::kOPNOTSUPP) {
    return names.error();
  }
  if (id != nullptr) {
    const uint64_t dev = id->dev;
    const std::string origin = std::to_string(dev) + " " + std::to_string(id->ino);
    const Result<void> set = copy.SetXattr(own, kOrigin, origin, 0);
    if (!set.ok() && set.error() != Errno::kOPNOTSUPP) return set.error();
  }
  SetAttrRequest request;
  request.uid = source.attr.uid;
  request.gid = source.attr.gid;
  if (copy.type() != S_IFLNK) request.mode = source.attr.mode & 07777;
  request.atime = source.attr.atime;
  request.mtime = source.attr.mtime;
  const Result<void> set = copy.SetAttr(own, request);
  if (set.ok() || set.error() != Errno::kINVAL) return set;
  // An owner that the upper tree has no id for (chown(2) in a user namespace), as when a user who
  // is not root keeps the tree: what is copied becomes the user's, and so no longer set-id.
  request.uid.reset();
  request.gid.reset();
  if (request.mode.has_value()) *request.mode &= ~uint32_t{S_ISUID | S_ISGID};
  return copy.SetAttr(own, request);
}

Result<Inode*> OverlayInode::CopyUp(const CallContext& ctx, uint64_t data_limit) {
  if (Inode* const up = upper()) return up;
  TRY(ctx.RequireBlocking());
  // From the top down, one after the other: a path may be long.
  std::vector<OverlayInode*> missing = {this};
  for (OverlayInode* at = place_.directory.get();
       !removed() && at != nullptr && at->upper() == nullptr; at = at->place_.directory.get()) {
    missing.push_back(at);
  }
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    absl::MutexLock lock(&(*it)->copy_mutex_);
    if ((*it)->upper() == nullptr) TRY((*it)->CopyUpThis(ctx, data_limit));
  }
  return upper();
}

Result<void> OverlayInode::CopyUpThis(const CallContext& ctx, uint64_t data_limit) {
  const CallContext own = state_->Own(ctx);
  const auto give_up = [&] { return state_->caller_ends && state_->caller_ends(ctx); };
  const Attributes attr = TRY(lower_->GetAttr(own));
  const CopySource source{lower_.get(), attr, data_limit, give_up};
  OverlayDirectory& parent = *place_.directory;
  // The directory of what was removed may be gone as well.
  Inode& above = parent.upper() != nullptr ? *parent.upper() : *state_->upper_root;
  // Two names of one lower file become two files: the copy is a new one.
  const bool same = type_ == S_IFDIR || source.attr.nlink <= 1;
  const FileId id = same ? FileId{source.attr.dev, source.attr.ino} : FileId{};
  const FileId stored{id.dev == state_->device_id ? 0 : id.dev, id.ino};
  const FileId* const origin = same && type_ != S_IFDIR ? &stored : nullptr;

  InodeRef made;
  if (type_ == S_IFREG) {
    made = TRY(CopyRegular(own, source, above, *state_->upper));
    TRY(CopyAttributes(own, source, *made, origin));
  }
  OverlayDirectory::Change change;
  TRY(change.Acquire(own, parent));
  if (removed()) {
    if (made == nullptr) return Errno::kNOENT;
    const FileId raw_id = TRY(RawIdOf(own, *made));
    Publish(std::move(made), id, raw_id);
    return Ok();
  }
  const Attributes before = TRY(above.GetAttr(own));
  if (above.Lookup(own, place_.name).ok()) return Errno::kSTALE;
  if (made != nullptr) {
    TRY(above.Link(own, place_.name, *made));
  } else {
    made = TRY(MakeSpecial(own, source, above, place_.name));
    const Result<void> copied = CopyAttributes(own, source, *made, origin);
    if (!copied.ok()) {
      Undo(own, above, place_.name, *made);
      return copied;
    }
  }
  KeepTimes(own, above, before);
  const FileId raw_id = TRY(RawIdOf(own, *made));
  Publish(std::move(made), id, raw_id);
  return Ok();
}

void OverlayInode::Publish(InodeRef made, const FileId& id, const FileId& raw_id) {
  upper_ = std::move(made);
  id_ = id;
  if (type_ != S_IFDIR) {
    raw_id_ = raw_id;
    state_->Register(raw_id_, std::static_pointer_cast<OverlayInode>(shared_from_this()));
  }
  upper_now_.store(upper_.get(), std::memory_order_release);
}

}  // namespace ringfence::sentry
