// read(2), write(2), pread(2), pwrite(2), readv(2) and their kin, lseek(2).
#include <limits.h>

#include <algorithm>

#include "sentry/syscalls/file_io.h"
#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

// Flags of preadv2(2) and pwritev2(2).
constexpr uint32_t kRwfHipri = 1, kRwfDsync = 2, kRwfSync = 4, kRwfNowait = 8, kRwfAppend = 16;

constexpr uint32_t kRwfKnown = kRwfHipri | kRwfDsync | kRwfSync | kRwfNowait | kRwfAppend;

using Mover = Result<int64_t> (*)(SyscallContext&, File&, UserIo&, const IoOptions&);

bool MayMove(Mover move, const File& file) {
  return move == &ReadFile ? file.readable() : file.writable();
}

// For /proc/PID/io, as Linux: calls that fail count, those that are tried again do not.
Result<int64_t> Counted(SyscallContext& ctx, Mover move, Result<int64_t> moved) {
  if (!moved.ok() && moved.error() == Errno::kWOULDBLOCK_RETRY_ON_TASK) return moved;
  const auto bytes = static_cast<uint64_t>(moved.ok() ? *moved : 0);
  if (move == &ReadFile) {
    ctx.task().CountRead(bytes);
  } else {
    ctx.task().CountWrite(bytes);
  }
  return moved;
}

// read and write at `offset`, arguments (fd, buffer, count, ...).
Result<int64_t> MoveBuffer(SyscallContext& ctx, Mover move, const IoOptions& options) {
  const FileRef file = TRY(ctx.FileArg(0));
  if (!MayMove(move, *file)) return Errno::kBADF;
  TRY(CheckUserRange(ctx.Addr(1), ctx.Arg(2)));
  UserIo io(&ctx.mm(), ctx.Addr(1), std::min(ctx.Arg(2), kMaxRwCount));
  return Counted(ctx, move, move(ctx, *file, io, options));
}

Result<int64_t> MoveBufferAt(SyscallContext& ctx, Mover move) {
  const int64_t offset = ctx.Long(3);
  if (offset < 0) return Errno::kINVAL;
  return MoveBuffer(ctx, move, {.offset = &offset});
}

Result<int64_t> MoveVector(SyscallContext& ctx, Mover move, const IoOptions& options) {
  const FileRef file = TRY(ctx.FileArg(0));
  if (!MayMove(move, *file)) return Errno::kBADF;
  UserIo io(&ctx.mm(), TRY(LoadSegments(ctx, 1)));
  return Counted(ctx, move, move(ctx, *file, io, options));
}

// preadv and pwritev: the low half of the offset is all of it on 64-bit machines.
Result<int64_t> MoveVectorAt(SyscallContext& ctx, Mover move) {
  const int64_t offset = ctx.Long(3);
  if (offset < 0) return Errno::kINVAL;
  return MoveVector(ctx, move, {.offset = &offset});
}

Result<int64_t> MoveVector2(SyscallContext& ctx, Mover move) {
  const uint32_t flags = ctx.Uint(5);
  if ((flags & ~kRwfKnown) != 0) return Errno::kOPNOTSUPP;
  const int64_t offset = ctx.Long(3);
  if (offset < -1) return Errno::kINVAL;
  IoOptions options;
  options.no_wait = (flags & kRwfNowait) != 0;
  options.append = (flags & kRwfAppend) != 0;
  if (offset != -1) options.offset = &offset;
  const int64_t moved = TRY(MoveVector(ctx, move, options));
  if (move == &WriteFile && (flags & (kRwfDsync | kRwfSync)) != 0) {
    const FileRef file = TRY(ctx.FileArg(0));
    TRY(file->Sync(ctx.call(), (flags & kRwfSync) == 0));
  }
  return moved;
}

}  // namespace

Result<int64_t> SysRead(SyscallContext& ctx) { return MoveBuffer(ctx, &ReadFile, {}); }
Result<int64_t> SysWrite(SyscallContext& ctx) { return MoveBuffer(ctx, &WriteFile, {}); }
Result<int64_t> SysPread64(SyscallContext& ctx) { return MoveBufferAt(ctx, &ReadFile); }
Result<int64_t> SysPwrite64(SyscallContext& ctx) { return MoveBufferAt(ctx, &WriteFile); }
Result<int64_t> SysReadv(SyscallContext& ctx) { return MoveVector(ctx, &ReadFile, {}); }
Result<int64_t> SysWritev(SyscallContext& ctx) { return MoveVector(ctx, &WriteFile, {}); }
Result<int64_t> SysPreadv(SyscallContext& ctx) { return MoveVectorAt(ctx, &ReadFile); }
Result<int64_t> SysPwritev(SyscallContext& ctx) { return MoveVectorAt(ctx, &WriteFile); }
Result<int64_t> SysPreadv2(SyscallContext& ctx) { return MoveVector2(ctx, &ReadFile); }
Result<int64_t> SysPwritev2(SyscallContext& ctx) {
  // What has been written cannot be taken back if the sync has to go to the task's own thread.
  if (ctx.Uint(5) != 0) TRY(ctx.RequireBlocking());
  return MoveVector2(ctx, &WriteFile);
}

Result<int64_t> SysLseek(SyscallContext& ctx) {
  const FileRef file = TRY(ctx.FileArg(0));
  if (ctx.Uint(2) > 4) return Errno::kINVAL;  // SEEK_HOLE
  return file->Seek(ctx.call(), ctx.Long(1), ctx.Int(2));
}

}  // namespace ringfence::sentry
