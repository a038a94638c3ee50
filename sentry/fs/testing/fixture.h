// For unit tests: a mount namespace with a tmpfs at its root, and short names for the calls.
#ifndef RINGFENCE_SENTRY_FS_TESTING_FIXTURE_H_
#define RINGFENCE_SENTRY_FS_TESTING_FIXTURE_H_

#include <fcntl.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "platform/fake/fake_platform.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

inline CallContext RootContext() {
  CallContext ctx;
  ctx.creds = std::make_shared<Credentials>();
  return ctx;
}

inline CallContext UserContext(Uid uid, Gid gid, std::vector<Gid> groups = {}) {
  auto creds = std::make_shared<Credentials>();
  creds->ruid = creds->euid = creds->suid = creds->fsuid = uid;
  creds->rgid = creds->egid = creds->sgid = creds->fsgid = gid;
  creds->groups = std::move(groups);
  creds->effective = creds->permitted = 0;
  CallContext ctx;
  ctx.creds = std::move(creds);
  return ctx;
}

inline Result<size_t> WriteTo(const CallContext& ctx, File& file, std::string_view data,
                              const int64_t* offset = nullptr) {
  std::string copy(data);
  const auto bytes = std::as_writable_bytes(std::span(copy));
  UserIo io(absl::MakeSpan(bytes.data(), bytes.size()));
  return file.Write(ctx, io, offset);
}

inline Result<std::string> ReadFrom(const CallContext& ctx, File& file, size_t n,
                                    const int64_t* offset = nullptr) {
  std::string data(n, '\0');
  const auto bytes = std::as_writable_bytes(std::span(data));
  UserIo io(absl::MakeSpan(bytes.data(), bytes.size()));
  const size_t done = TRY(file.Read(ctx, io, offset));
  data.resize(done);
  return data;
}

inline Errno ErrorOf(const auto& result) { return result.ok() ? Errno{} : result.error(); }

class TreeFixture {
 public:
  explicit TreeFixture(Tmpfs::Options options = {}) {
    options.memory = &platform.memory();
    if (options.devices == nullptr) options.devices = &devices;
    fs = Tmpfs::Create(options);
    ns = MountNamespace::Create(fs, "tmpfs");
    context = std::make_shared<FsContext>(ns->root(), ns->root(), 022);
    base.fs = context.get();
  }

  Errno Mkdir(std::string_view path, uint32_t mode = 0755) {
    return ErrorOf(Vfs::Mkdir(ctx, base, path, mode));
  }
  Errno Rmdir(std::string_view path) { return ErrorOf(Vfs::Rmdir(ctx, base, path)); }
  Errno Unlink(std::string_view path) { return ErrorOf(Vfs::Unlink(ctx, base, path)); }
  Errno Symlink(std::string_view target, std::string_view path) {
    return ErrorOf(Vfs::Symlink(ctx, target, base, path));
  }
  Errno Link(std::string_view from, std::string_view to, int flags = 0) {
    return ErrorOf(Vfs::Link(ctx, base, from, base, to, flags));
  }
  Errno Rename(std::string_view from, std::string_view to, uint32_t flags = 0) {
    return ErrorOf(Vfs::Rename(ctx, base, from, base, to, flags));
  }
  Result<FileRef> Open(std::string_view path, uint32_t flags, uint32_t mode = 0644,
                       uint32_t resolve = 0) {
    return Vfs::Open(ctx, base, path, flags, mode, resolve);
  }
  Errno OpenError(std::string_view path, uint32_t flags, uint32_t mode = 0644,
                  uint32_t resolve = 0) {
    return ErrorOf(Open(path, flags, mode, resolve));
  }
  Errno Create(std::string_view path, std::string_view data = "") {
    Result<FileRef> file = Open(path, O_CREAT | O_WRONLY | O_TRUNC);
    if (!file.ok()) return file.error();
    return data.empty() ? Errno{} : ErrorOf(WriteTo(ctx, **file, data));
  }
  std::string Contents(std::string_view path) {
    Result<FileRef> file = Open(path, O_RDONLY);
    if (!file.ok()) return std::string(ErrnoName(file.error()));
    Result<std::string> data = ReadFrom(ctx, **file, 1 << 20);
    return data.ok() ? *data : std::string(ErrnoName(data.error()));
  }
  Result<Attributes> Stat(std::string_view path, bool follow = true) {
    ResolveFlags flags;
    flags.follow_last = follow;
    DentryRef dentry = TRY(Vfs::Resolve(ctx, base, path, flags));
    return dentry->inode()->GetAttr(ctx);
  }
  Errno StatError(std::string_view path, bool follow = true) { return ErrorOf(Stat(path, follow)); }
  std::vector<std::string> List(std::string_view path) {
    std::vector<std::string> names;
    Result<FileRef> file = Open(path, O_RDONLY | O_DIRECTORY);
    if (!file.ok()) return {std::string(ErrnoName(file.error()))};
    Result<void> done = (*file)->ReadDir(ctx, [&](const DirEntry& entry) {
      if (entry.name != "." && entry.name != "..") names.push_back(entry.name);
      return true;
    });
    if (!done.ok()) return {std::string(ErrnoName(done.error()))};
    return names;
  }

  platform::FakePlatform platform;
  DeviceRegistry devices;
  std::shared_ptr<Tmpfs> fs;
  std::shared_ptr<MountNamespace> ns;
  std::shared_ptr<FsContext> context;
  PathBase base;
  CallContext ctx = RootContext();
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TESTING_FIXTURE_H_
