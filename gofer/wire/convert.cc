#include "gofer/wire/convert.h"

#include <sys/stat.h>

#include <cstdint>
#include <utility>

namespace ringfence::gofer {
namespace {

constexpr uint32_t kNanosecondsPerSecond = 1'000'000'000;
constexpr int32_t kMaxErrno = 133;  // EHWPOISON, the last of asm-generic/errno.h

void ToWire(const Time& in, wire::Time* out) {
  out->set_sec(in.sec);
  out->set_nsec(in.nsec);
}

Result<Time> FromWire(const wire::Time& in) {
  if (in.nsec() >= kNanosecondsPerSecond) return Errno::kIO;
  return Time{.sec = in.sec(), .nsec = in.nsec()};
}

void ToWire(const AttributeChange::When& in, wire::SetTime* out) {
  out->set_now(in.now);
  if (!in.now) ToWire(in.time, out->mutable_time());
}

AttributeChange::When FromWire(const wire::SetTime& in) {
  return {.now = in.now(), .time = {.sec = in.time().sec(), .nsec = in.time().nsec()}};
}

// What came along with a symlink's attributes, "" if nothing did.
Result<std::string> KnownTarget(const Attributes& attr, const std::string& target) {
  if (target.empty()) return std::string();
  if (!S_ISLNK(attr.mode) || !IsValidTarget(target)) return Errno::kIO;
  return target;
}

bool IsValidMode(uint32_t mode) {
  if ((mode & ~uint32_t{S_IFMT | 07777}) != 0) return false;
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
    case 0:  // EntryDetail::kNames on a file system that does not tell
      return true;
    default:
      return false;
  }
}

}  // namespace

bool IsValidComponent(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength && name != "." && name != ".." &&
         name.find('/') == name.npos && name.find('\0') == name.npos;
}

bool IsValidTarget(std::string_view target) {
  return !target.empty() && target.size() < kMaxLinkTarget && target.find('\0') == target.npos;
}

bool IsValidXattrName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxXattrName && name.find('\0') == name.npos;
}

void ToWire(const Attributes& in, wire::Attributes* out) {
  out->set_dev(in.dev);
  out->set_ino(in.ino);
  out->set_mode(in.mode);
  out->set_nlink(in.nlink);
  out->set_uid(in.uid);
  out->set_gid(in.gid);
  out->set_rdev(in.rdev);
  out->set_size(in.size);
  out->set_blocks(in.blocks);
  out->set_blksize(in.blksize);
  ToWire(in.atime, out->mutable_atime());
  ToWire(in.mtime, out->mutable_mtime());
  ToWire(in.ctime, out->mutable_ctime());
  ToWire(in.btime, out->mutable_btime());
}

void ToWire(const FsAttributes& in, wire::StatFsReply* out) {
  out->set_type(in.type);
  out->set_bsize(in.bsize);
  out->set_blocks(in.blocks);
  out->set_bfree(in.bfree);
  out->set_bavail(in.bavail);
  out->set_files(in.files);
  out->set_ffree(in.ffree);
  out->set_namelen(in.namelen);
  out->set_frsize(in.frsize);
  out->set_flags(in.flags);
  out->set_fsid(in.fsid);
}

void ToWire(const Node& in, wire::Node* out) {
  out->set_id(in.id);
  ToWire(in.attr, out->mutable_attr());
  if (!in.target.empty()) out->set_target(in.target);
}

void ToWire(const DirectoryEntry& in, wire::DirectoryEntry* out) {
  out->set_name(in.name);
  out->set_next_cookie(static_cast<uint64_t>(in.next_cookie));
  out->set_id(in.id);
  ToWire(in.attr, out->mutable_attr());
  if (!in.target.empty()) out->set_target(in.target);
}

void ToWire(const AttributeChange& in, wire::SetAttrRequest* out) {
  if (in.mode) out->set_mode(*in.mode);
  if (in.uid) out->set_uid(*in.uid);
  if (in.gid) out->set_gid(*in.gid);
  if (in.size) out->set_size(*in.size);
  if (in.atime) ToWire(*in.atime, out->mutable_atime());
  if (in.mtime) ToWire(*in.mtime, out->mutable_mtime());
}

Result<Attributes> FromWire(const wire::Attributes& in) {
  // As Linux judges a FUSE server: no file is larger than off_t can say.
  if (!IsValidMode(in.mode()) || in.size() > INT64_MAX) return Errno::kIO;
  Attributes out = {.dev = in.dev(),
                    .ino = in.ino(),
                    .mode = in.mode(),
                    .nlink = in.nlink(),
                    .uid = in.uid(),
                    .gid = in.gid(),
                    .rdev = in.rdev(),
                    .size = in.size(),
                    .blocks = in.blocks(),
                    .blksize = in.blksize()};
  out.atime = TRY(FromWire(in.atime()));
  out.mtime = TRY(FromWire(in.mtime()));
  out.ctime = TRY(FromWire(in.ctime()));
  out.btime = TRY(FromWire(in.btime()));
  return out;
}

Result<Node> FromWire(const wire::Node& in) {
  if (in.id() == 0 || (in.attr().mode() & S_IFMT) == 0) return Errno::kIO;
  const Attributes attr = TRY(FromWire(in.attr()));
  return Node{.id = in.id(), .attr = attr, .target = TRY(KnownTarget(attr, in.target()))};
}

Result<DirectoryEntry> FromWire(wire::DirectoryEntry* in) {
  if (!IsValidComponent(in->name())) return Errno::kIO;
  const Attributes attr = TRY(FromWire(in->attr()));
  std::string target = TRY(KnownTarget(attr, in->target()));
  return DirectoryEntry{.name = std::move(*in->mutable_name()),
                        .next_cookie = static_cast<int64_t>(in->next_cookie()),
                        .id = in->id(),
                        .attr = attr,
                        .target = std::move(target)};
}

FsAttributes FromWire(const wire::StatFsReply& in) {
  return {.type = in.type(),
          .bsize = in.bsize(),
          .blocks = in.blocks(),
          .bfree = in.bfree(),
          .bavail = in.bavail(),
          .files = in.files(),
          .ffree = in.ffree(),
          .namelen = in.namelen(),
          .frsize = in.frsize(),
          .flags = in.flags(),
          .fsid = in.fsid()};
}

AttributeChange FromWire(const wire::SetAttrRequest& in) {
  AttributeChange out;
  if (in.has_mode()) out.mode = in.mode();
  if (in.has_uid()) out.uid = in.uid();
  if (in.has_gid()) out.gid = in.gid();
  if (in.has_size()) out.size = in.size();
  if (in.has_atime()) out.atime = FromWire(in.atime());
  if (in.has_mtime()) out.mtime = FromWire(in.mtime());
  return out;
}

Errno ErrnoFromWire(int32_t error) {
  if (error < 0 || error > kMaxErrno) return Errno::kIO;
  const auto e = static_cast<Errno>(error);
  // The numbers have gaps, and some are of other systems.
  if (e != Errno{} && ErrnoName(e) == "EUNKNOWN") return Errno::kIO;
  return e;
}

}  // namespace ringfence::gofer
