// getdents(2), getdents64(2).
#include <algorithm>
#include <cstring>

#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kMaxBuffer = 1 << 20;  // more than that comes with the next call

template <typename T>
void Append(std::vector<char>& out, const T& value) {
  const char* bytes = static_cast<const char*>(static_cast<const void*>(&value));
  out.insert(out.end(), bytes, bytes + sizeof(T));
}

size_t AlignUp8(size_t n) { return (n + 7) & ~size_t{7}; }

// linux_dirent64: header, name, NUL, padding.
void AppendDirent64(std::vector<char>& out, const DirEntry& e, size_t length) {
  const size_t start = out.size();
  GuestDirent64 header = {};
  header.ino = e.ino;
  header.off = e.next_offset;
  header.reclen = static_cast<uint16_t>(length);
  header.type = e.type;
  Append(out, header);
  out.insert(out.end(), e.name.begin(), e.name.end());
  out.resize(start + length, 0);
}

// linux_dirent: header, name, NUL, padding, the type in the last byte.
void AppendDirent(std::vector<char>& out, const DirEntry& e, size_t length) {
  const size_t start = out.size();
  GuestDirent header = {};
  header.ino = e.ino;
  header.off = e.next_offset;
  header.reclen = static_cast<uint16_t>(length);
  Append(out, header);
  out.insert(out.end(), e.name.begin(), e.name.end());
  out.resize(start + length, 0);
  out.back() = static_cast<char>(e.type);
}

Result<int64_t> ReadEntries(SyscallContext& ctx, bool is64) {
  const FileRef file = TRY(ctx.FileArg(0));
  const size_t capacity = std::min(ctx.Uint(2), kMaxBuffer);
  // Entries that have been read are gone from the directory position, so the buffer is checked
  // first.
  const size_t fixed = is64 ? sizeof(GuestDirent64) + 1 : sizeof(GuestDirent) + 2;
  std::vector<char> out;
  bool full = false;
  const Result<void> read = file->ReadDir(ctx.call(), [&](const DirEntry& e) {
    const size_t length = AlignUp8(fixed + e.name.size());
    if (out.size() + length > capacity) {
      full = true;
      return false;
    }
    if (is64) {
      AppendDirent64(out, e, length);
    } else {
      AppendDirent(out, e, length);
    }
    return true;
  });
  if (!read.ok() && out.empty()) return read.error();
  Watches::OnFile(*file, kWatchAccess);
  if (out.empty()) return full ? Result<int64_t>(Errno::kINVAL) : Result<int64_t>(int64_t{0});
  TRY(ctx.mm().CopyOut(ctx.Addr(1), out.data(), out.size()));
  return static_cast<int64_t>(out.size());
}

}  // namespace

Result<int64_t> SysGetdents(SyscallContext& ctx) { return ReadEntries(ctx, false); }
Result<int64_t> SysGetdents64(SyscallContext& ctx) { return ReadEntries(ctx, true); }

}  // namespace ringfence::sentry
