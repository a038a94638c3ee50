// Copies between descriptors: sendfile(2), splice(2), tee(2), vmsplice(2), copy_file_range(2). All
// by way of a buffer.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/syscalls/file_io.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kPiece = 64 * 1024;
// SPLICE_F_MOVE, _NONBLOCK, _MORE, _GIFT.
constexpr uint32_t kSpliceNonBlock = 2, kSpliceFlags = 15;

// One side of a copy. `offset` null: the file's own.
struct Side {
  FileRef file;
  std::optional<int64_t> offset;
};

bool IsPipe(const File& file) {
  const InodeRef inode = file.inode();
  return inode != nullptr && inode->type() == S_IFIFO;
}

bool IsRegular(const File& file) {
  const InodeRef inode = file.inode();
  return inode != nullptr && inode->type() == S_IFREG;
}

// The offset that argument `arg` points to, none when it is null. EINVAL when negative.
Result<std::optional<int64_t>> LoadOffset(SyscallContext& ctx, int arg) {
  if (ctx.Arg(arg) == 0) return std::optional<int64_t>();
  const int64_t offset = TRY(ctx.In<int64_t>(arg).Load(ctx.mm()));
  if (offset < 0) return Errno::kINVAL;
  return std::optional<int64_t>(offset);
}

Result<void> StoreOffset(SyscallContext& ctx, int arg, const Side& side) {
  if (!side.offset.has_value()) return Ok();
  return ctx.Out<int64_t>(arg).Store(ctx.mm(), *side.offset);
}

Result<int64_t> ReadPiece(SyscallContext& ctx, Side& from, absl::Span<std::byte> buffer,
                          bool no_wait) {
  UserIo io(buffer);
  const int64_t at = from.offset.value_or(0);
  const IoOptions options{from.offset.has_value() ? &at : nullptr, no_wait};
  const int64_t got = TRY(ReadFile(ctx, *from.file, io, options));
  if (from.offset.has_value()) *from.offset += got;
  return got;
}

// What cannot be written goes back: the reading position is moved by what was written.
Result<int64_t> WritePiece(SyscallContext& ctx, Side& to, absl::Span<std::byte> bytes,
                           bool no_wait) {
  UserIo io(bytes);
  const int64_t at = to.offset.value_or(0);
  const IoOptions options{to.offset.has_value() ? &at : nullptr, no_wait};
  const int64_t put = TRY(WriteFile(ctx, *to.file, io, options));
  if (to.offset.has_value()) *to.offset += put;
  return put;
}

// Bytes that were read and could not be written.
void GiveBack(SyscallContext& ctx, Side& from, absl::Span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const auto count = static_cast<int64_t>(bytes.size());
  if (const std::shared_ptr<Pipe> pipe = from.file->AsPipe()) {
    pipe->Unread(bytes);
  } else if (from.offset.has_value()) {
    *from.offset -= count;
  } else {
    (void)from.file->Seek(ctx.call(), -count, SEEK_CUR);
  }
}

struct CopyOptions {
  bool no_wait = false;
  size_t piece = kPiece;
  bool once = false;  // stop after the first piece (splice from a pipe)
};

// Copies up to `count` bytes; an error counts only when nothing has been copied.
Result<int64_t> Copy(SyscallContext& ctx, Side& from, Side& to, uint64_t count,
                     const CopyOptions& options) {
  std::vector<std::byte> buffer(std::min<uint64_t>(count, options.piece));
  int64_t done = 0;
  while (static_cast<uint64_t>(done) < count) {
    const size_t want = std::min<uint64_t>(count - static_cast<uint64_t>(done), buffer.size());
    const Result<int64_t> got =
        ReadPiece(ctx, from, absl::MakeSpan(buffer).subspan(0, want), options.no_wait);
    if (!got.ok()) return done != 0 ? Result<int64_t>(done) : got;
    if (*got == 0) break;
    const size_t length = static_cast<size_t>(*got);
    const Result<int64_t> put =
        WritePiece(ctx, to, absl::MakeSpan(buffer).subspan(0, length), options.no_wait);
    const int64_t written = put.ok() ? *put : 0;
    GiveBack(ctx, from, absl::MakeSpan(buffer).subspan(written, *got - written));
    done += written;
    if (!put.ok()) return done != 0 ? Result<int64_t>(done) : put;
    if (written < *got || options.once || ctx.task().HasPendingWork()) break;
  }
  return done;
}

}  // namespace

Result<int64_t> SysSendfile(SyscallContext& ctx) {
  std::optional<int64_t> offset = TRY(LoadOffset(ctx, 2));
  Side from{TRY(ctx.FileArg(1)), offset};
  Side to{TRY(ctx.FileArg(0)), std::nullopt};
  if (!from.file->readable() || !to.file->writable()) return Errno::kBADF;
  if (!IsRegular(*from.file)) {
    if (offset.has_value() && IsPipe(*from.file)) return Errno::kSPIPE;
    if (IsPipe(*from.file)) return Errno::kINVAL;
  }
  if ((to.file->flags() & O_APPEND) != 0) return Errno::kINVAL;
  const uint64_t count = std::min(ctx.Arg(3), kMaxRwCount);
  const int64_t done = TRY(Copy(ctx, from, to, count, {}));
  TRY(StoreOffset(ctx, 2, from));
  return done;
}

Result<int64_t> SysCopyFileRange(SyscallContext& ctx) {
  if (ctx.Uint(5) != 0) return Errno::kINVAL;
  Side from{TRY(ctx.FileArg(0)), std::nullopt};
  from.offset = TRY(LoadOffset(ctx, 1));
  Side to{TRY(ctx.FileArg(2)), std::nullopt};
  to.offset = TRY(LoadOffset(ctx, 3));
  for (const Side* side : {&from, &to}) {
    const InodeRef inode = side->file->inode();
    if (inode != nullptr && inode->type() == S_IFDIR) return Errno::kISDIR;
    if (inode == nullptr || inode->type() != S_IFREG) return Errno::kINVAL;
  }
  if (!from.file->readable() || !to.file->writable() || (to.file->flags() & O_APPEND) != 0) {
    return Errno::kBADF;
  }
  const uint64_t count = std::min(ctx.Arg(4), kMaxRwCount);
  if (from.file->inode() == to.file->inode()) {
    const int64_t a =
        from.offset.has_value() ? *from.offset : TRY(from.file->Seek(ctx.call(), 0, SEEK_CUR));
    const int64_t b =
        to.offset.has_value() ? *to.offset : TRY(to.file->Seek(ctx.call(), 0, SEEK_CUR));
    const int64_t length = static_cast<int64_t>(count);
    if (a < b + length && b < a + length) return Errno::kINVAL;
  }
  const int64_t done = TRY(Copy(ctx, from, to, count, {}));
  TRY(StoreOffset(ctx, 1, from));
  TRY(StoreOffset(ctx, 3, to));
  return done;
}

Result<int64_t> SysSplice(SyscallContext& ctx) {
  if ((ctx.Uint(5) & ~kSpliceFlags) != 0) return Errno::kINVAL;
  if (ctx.Arg(4) == 0) return int64_t{0};
  Side from{TRY(ctx.FileArg(0)), std::nullopt};
  Side to{TRY(ctx.FileArg(2)), std::nullopt};
  const bool from_pipe = IsPipe(*from.file), to_pipe = IsPipe(*to.file);
  if (!from_pipe && !to_pipe) return Errno::kINVAL;
  if (!from.file->readable() || !to.file->writable()) return Errno::kBADF;
  if ((from_pipe && ctx.Arg(1) != 0) || (to_pipe && ctx.Arg(3) != 0)) return Errno::kSPIPE;
  if (from_pipe && to_pipe && from.file->inode() == to.file->inode()) return Errno::kINVAL;
  if ((to.file->flags() & O_APPEND) != 0) return Errno::kINVAL;
  from.offset = TRY(LoadOffset(ctx, 1));
  to.offset = TRY(LoadOffset(ctx, 3));
  CopyOptions options;
  options.no_wait = (ctx.Uint(5) & kSpliceNonBlock) != 0;
  options.once = true;
  const int64_t done = TRY(Copy(ctx, from, to, std::min(ctx.Arg(4), kMaxRwCount), options));
  TRY(StoreOffset(ctx, 1, from));
  TRY(StoreOffset(ctx, 3, to));
  return done;
}

// Waits for something in one pipe, then for room in the other; nothing is taken from the first.
Result<int64_t> SysTee(SyscallContext& ctx) {
  if ((ctx.Uint(3) & ~kSpliceFlags) != 0) return Errno::kINVAL;
  if (ctx.Arg(2) == 0) return int64_t{0};
  const FileRef from = TRY(ctx.FileArg(0)), to = TRY(ctx.FileArg(1));
  const std::shared_ptr<Pipe> source = from->AsPipe(), target = to->AsPipe();
  if (!from->readable() || !to->writable()) return Errno::kBADF;
  if (source == nullptr || target == nullptr || source == target) return Errno::kINVAL;
  const bool no_wait = (ctx.Uint(3) & kSpliceNonBlock) != 0;
  const auto wait_for = [&](File& file, EventMask events, auto attempt) -> Result<size_t> {
    if (no_wait || file.nonblocking()) return attempt();
    return BlockUntil(ctx.task(), ctx.call(), file.wait_queue(), events, Deadline::Never(),
                      attempt);
  };
  std::vector<std::byte> buffer(std::min<uint64_t>(ctx.Arg(2), kPiece));
  const size_t got = TRY(wait_for(*from, kEventIn, [&] {
    UserIo io(absl::MakeSpan(buffer));
    return source->Peek(io);
  }));
  UserIo io(absl::MakeSpan(buffer).subspan(0, got));
  if (got == 0) return int64_t{0};
  const Result<size_t> put =
      wait_for(*to, kEventOut, [&] { return to->Write(ctx.call(), io, nullptr); });
  if (!put.ok() && put.error() == Errno::kPIPE) return RaisePipe(ctx);
  return static_cast<int64_t>(TRY(put));
}

Result<int64_t> SysVmsplice(SyscallContext& ctx) {
  if ((ctx.Uint(3) & ~kSpliceFlags) != 0) return Errno::kINVAL;
  const FileRef file = TRY(ctx.FileArg(0));
  if (file->AsPipe() == nullptr) return Errno::kBADF;
  UserIo io(&ctx.mm(), TRY(LoadSegments(ctx, 1)));
  if (io.remaining() == 0) return int64_t{0};
  IoOptions options;
  options.no_wait = (ctx.Uint(3) & kSpliceNonBlock) != 0;
  return file->writable() ? WriteFile(ctx, *file, io, options) : ReadFile(ctx, *file, io, options);
}

}  // namespace ringfence::sentry
