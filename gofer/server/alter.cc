#include "gofer/server/alter.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "gofer/wire/convert.h"

namespace ringfence::gofer {
namespace {

constexpr uint32_t kPlainOpenFlags =
    O_ACCMODE | O_APPEND | O_TRUNC | O_NOATIME | O_DIRECT | O_LARGEFILE | O_CLOEXEC;
constexpr uint32_t kPermissions = 07777;
constexpr uint32_t kNobody = ~uint32_t{0};  // to chown(2): leave the owner alone
constexpr uint32_t kNanosecondsPerSecond = 1'000'000'000;

Result<void> FromHost(int returned) {
  if (returned != 0) return LastHostErrno();
  return Ok();
}

// Set-user-ID and the like come last: a change of the owner takes them away.
mode_t FirstMode(const NewObject& object) { return object.mode & 0777; }

// What was just made gets the owner and mode it is to have. `*attr`: what it has.
Result<void> Settle(const Reopener& reopener, int path_fd, const NewObject& object,
                    Attributes* attr) {
  const bool owned = attr->uid == object.uid && attr->gid == object.gid;
  if (!owned) {
    TRY(FromHost(fchownat(path_fd, "", object.uid, object.gid, AT_EMPTY_PATH)));
  }
  const uint32_t mode = object.mode & kPermissions;
  const bool has_mode = !S_ISLNK(attr->mode) && (attr->mode & kPermissions) != mode;
  if (has_mode) TRY(reopener.ChangeMode(path_fd, mode));
  if (!owned || has_mode) *attr = TRY(StatPath(path_fd));
  return Ok();
}

Result<void> MakeEntry(int dir, const std::string& name, const NewObject& object) {
  switch (object.mode & S_IFMT) {
    case S_IFDIR:
      return FromHost(mkdirat(dir, name.c_str(), FirstMode(object)));
    case S_IFLNK:
      return FromHost(symlinkat(std::string(object.target).c_str(), dir, name.c_str()));
    default:
      return FromHost(
          mknodat(dir, name.c_str(), (object.mode & S_IFMT) | FirstMode(object), object.rdev));
  }
}

Result<UniqueFd> CreateFile(int dir, const std::string& name, const NewObject& object,
                            uint32_t open_flags) {
  open_how how = {};
  how.flags = (open_flags & ~uint32_t{O_TRUNC}) | O_CLOEXEC | O_NOFOLLOW;
  how.flags |= name.empty() ? O_TMPFILE : O_CREAT | O_EXCL;
  how.mode = FirstMode(object);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const char* path = name.empty() ? "." : name.c_str();
  const long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
  if (fd < 0) return LastHostErrno();
  return UniqueFd(static_cast<int>(fd));
}

// May the entry be what MakeEntry has just made of `object`? Linux does not say what that was
// (mkdirat and mknodat give no descriptor), and a process of the host may have put something else
// in its place. Whatever else has the same type and target passes, if it is put there before this
// first look: it gets the owner and mode of `object`.
bool LooksMade(int dir, const std::string& name, const NewObject& object, const Attributes& entry) {
  if ((entry.mode & S_IFMT) != (object.mode & S_IFMT)) return false;
  if (S_ISLNK(entry.mode)) return LinkTarget(dir, name) == object.target;
  return !S_ISCHR(entry.mode) || entry.rdev == object.rdev;
}

std::string RandomName() {
  uint64_t number = 0;
  (void)!getrandom(&number, sizeof(number), 0);  // NOREPLACE notices a name that is taken
  return ".ringfence-" + std::to_string(number);
}

// Takes away what was just made, if its name still leads to it. There is no unlink(2) of a
// descriptor: so it is moved to a name nobody knows and looked at there, and goes back if it is
// something else (it stays there if its own name has been taken meanwhile). Where RENAME_NOREPLACE
// is not supported nothing is removed.
void Unmake(int dir, const std::string& name, const Identity& made) {
  const auto leads_to_it = [&](const std::string& entry) {
    const Result<Attributes> attr = StatEntry(dir, entry);
    return attr.ok() && Identity::Of(*attr) == made;
  };
  const std::string aside = RandomName();
  if (!leads_to_it(name) || !MoveName(dir, name, dir, aside, RENAME_NOREPLACE).ok()) return;
  if (leads_to_it(aside)) {
    const bool directory = made.type == S_IFDIR;
    (void)RemoveName(dir, aside, directory ? Client::Victim::kDirectory : Client::Victim::kFile);
  } else {
    (void)MoveName(dir, aside, dir, name, RENAME_NOREPLACE);
  }
}

Result<timespec> ToHost(const std::optional<AttributeChange::When>& when) {
  if (!when) return timespec{.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  if (when->now) return timespec{.tv_sec = 0, .tv_nsec = UTIME_NOW};
  if (when->time.nsec >= kNanosecondsPerSecond) return Errno::kINVAL;
  return timespec{.tv_sec = when->time.sec, .tv_nsec = static_cast<long>(when->time.nsec)};
}

Result<void> Resize(const Reopener& reopener, int path_fd, uint32_t type, uint64_t size) {
  if (!S_ISREG(type) || size > INT64_MAX) return Errno::kINVAL;
  const UniqueFd fd = TRY(reopener.Open(path_fd, O_WRONLY));
  return FromHost(ftruncate(fd.get(), static_cast<off_t>(size)));
}

}  // namespace

Result<void> CheckOpenFlags(uint32_t flags) {
  if ((flags & ~kPlainOpenFlags) != 0 || (flags & O_ACCMODE) == O_ACCMODE) return Errno::kINVAL;
  return Ok();
}

bool IsForChange(uint32_t flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

Result<void> CheckNewObject(const NewObject& object) {
  if ((object.mode & ~uint32_t{S_IFMT | kPermissions}) != 0) return Errno::kINVAL;
  if (object.uid == kNobody || object.gid == kNobody) return Errno::kINVAL;
  switch (object.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK:
      return Ok();
    case S_IFLNK:
      return IsValidTarget(object.target) ? Ok() : Result<void>(Errno::kINVAL);
    case S_IFCHR:
      return object.rdev == 0 ? Ok() : Result<void>(Errno::kPERM);
    case S_IFBLK:
      return Errno::kPERM;
    default:
      return Errno::kINVAL;
  }
}

Result<NewFile> MakeFile(const Reopener& reopener, int dir, const std::string& name,
                         const NewObject& object, uint32_t open_flags) {
  NewFile made = {.fd = TRY(CreateFile(dir, name, object, open_flags)), .step = {}};
  made.step.attr = TRY(StatPath(made.fd.get()));
  const Identity identity = Identity::Of(made.step.attr);
  const auto finish = [&]() -> Result<void> {
    made.step.fd = TRY(reopener.Open(made.fd.get(), O_PATH));
    return Settle(reopener, made.step.fd.get(), object, &made.step.attr);
  };
  const Result<void> finished = finish();
  if (finished.ok()) return made;
  if (!name.empty()) Unmake(dir, name, identity);
  return finished.error();
}

Result<PathStep> MakeOther(const Reopener& reopener, int dir, const std::string& name,
                           const NewObject& object) {
  TRY(MakeEntry(dir, name, object));
  Result<UniqueFd> fd = OpenPath(dir, name);
  const Result<Attributes> attr = fd.ok() ? StatPath(fd->get()) : StatEntry(dir, name);
  // Somebody on the host was faster with the same name: that is not ours to remove.
  if (!attr.ok() || !LooksMade(dir, name, object, *attr)) return Errno::kSTALE;
  PathStep made = {.fd = {}, .attr = *attr};
  const auto finish = [&]() -> Result<void> {
    made.fd = TRY(std::move(fd));
    return Settle(reopener, made.fd.get(), object, &made.attr);
  };
  const Result<void> finished = finish();
  if (finished.ok()) return made;
  Unmake(dir, name, Identity::Of(*attr));
  return finished.error();
}

Result<void> RemoveName(int dir, const std::string& name, Client::Victim victim) {
  const int flags = victim == Client::Victim::kDirectory ? AT_REMOVEDIR : 0;
  return FromHost(unlinkat(dir, name.c_str(), flags));
}

Result<void> MoveName(int old_dir, const std::string& old_name, int new_dir,
                      const std::string& new_name, uint32_t flags) {
  if ((flags & ~uint32_t{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) return Errno::kINVAL;
  return FromHost(renameat2(old_dir, old_name.c_str(), new_dir, new_name.c_str(), flags));
}

Result<void> ChangeAttributes(const Reopener& reopener, int path_fd, uint32_t type,
                              const AttributeChange& change) {
  if (change.mode && (*change.mode & ~kPermissions) != 0) return Errno::kINVAL;
  if (change.mode && S_ISLNK(type)) return Errno::kOPNOTSUPP;
  const timespec atime = TRY(ToHost(change.atime)), mtime = TRY(ToHost(change.mtime));
  const timespec times[2] = {atime, mtime};
  if (change.size) TRY(Resize(reopener, path_fd, type, *change.size));
  if (change.uid || change.gid) {
    const uid_t uid = change.uid.value_or(static_cast<uid_t>(-1));
    const gid_t gid = change.gid.value_or(static_cast<gid_t>(-1));
    TRY(FromHost(fchownat(path_fd, "", uid, gid, AT_EMPTY_PATH)));
  }
  if (change.mode) TRY(reopener.ChangeMode(path_fd, *change.mode));
  if (change.atime || change.mtime) {
    TRY(FromHost(utimensat(path_fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)));
  }
  return Ok();
}

}  // namespace ringfence::gofer
