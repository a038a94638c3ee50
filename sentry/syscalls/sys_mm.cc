// mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), msync(2), mincore(2), mlock(2).
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kMapTypeMask = 0xf, kMapSharedValidate = 3;
constexpr uint64_t kMapKnown = MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | 0x40 |
                               MAP_GROWSDOWN | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_LOCKED |
                               MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK |
                               MAP_HUGETLB | MAP_FIXED_NOREPLACE;
constexpr uint32_t kProtSem = 8;
constexpr uint64_t kPagesAtATime = 4096;  // of mincore
constexpr uint32_t kMlockOnfault = 1;
constexpr int kMadvPopulateRead = 22;

Prot ToProt(uint64_t bits) {
  return Prot{(bits & PROT_READ) != 0, (bits & PROT_WRITE) != 0, (bits & PROT_EXEC) != 0};
}

// What depends on the file that is mapped.
Result<void> FillFromFile(SyscallContext& ctx, MapRequest& request) {
  const FileRef file = TRY(ctx.FileArg(4));
  if (!file->readable()) return Errno::kACCES;
  const bool shared_write = request.shared && request.prot.write;
  if (shared_write && !file->writable()) return Errno::kACCES;
  if (request.shared && !file->writable()) request.max_prot.write = false;
  request.object = TRY(file->GetMappable(ctx.call(), request.shared && file->writable()));
  request.kind = VmaKind::kFile;
  request.offset = ctx.Arg(5);
  return Ok();
}

Result<void> CheckMapFlags(uint64_t flags) {
  const uint64_t type = flags & kMapTypeMask;
  if (type != MAP_SHARED && type != MAP_PRIVATE && type != kMapSharedValidate) {
    return Errno::kINVAL;
  }
  if (type == kMapSharedValidate && (flags & ~(kMapKnown | kMapTypeMask)) != 0) {
    return Errno::kOPNOTSUPP;
  }
  if ((flags & MAP_HUGETLB) != 0) return Errno::kNOMEM;  // as with no huge page set aside
  return Ok();
}

// ENOMEM unless all of the range is mapped.
Result<void> CheckMapped(MemoryManager& mm, VirtAddr addr, uint64_t length) {
  for (uint64_t at = 0; at < length; at += kPagesAtATime * kPageSize) {
    const uint64_t piece = std::min(length - at, kPagesAtATime * kPageSize);
    TRY(mm.Mincore(TRY(addr.Add(at)), piece));
  }
  return Ok();
}

Result<int64_t> LockRange(SyscallContext& ctx, bool populate) {
  const VirtAddr start = ctx.Addr(0).page_down();
  const Result<uint64_t> length = PageUp(ctx.Arg(1) + ctx.Addr(0).page_offset());
  if (!length.ok() || ctx.Arg(1) > *length) return Errno::kINVAL;
  if (!VirtRange::Make(start, *length).ok()) return Errno::kINVAL;
  TRY(CheckMapped(ctx.mm(), start, *length));
  // Pages that may not be read are locked without being there.
  if (populate && *length != 0) (void)ctx.mm().Advise(start, *length, kMadvPopulateRead);
  return int64_t{0};
}

// A service thread, which others wait for, does not map, unmap or change more than this.
constexpr uint64_t kQuickBytes = 4 * kHugePageSize;

Result<void> CheckQuick(const SyscallContext& ctx, uint64_t bytes) {
  return bytes <= kQuickBytes ? Ok() : ctx.RequireBlocking();
}

}  // namespace

Result<int64_t> SysMmap(SyscallContext& ctx) {
  const uint64_t flags = ctx.Arg(3);
  if ((ctx.Arg(5) & kPageMask) != 0) return Errno::kINVAL;
  if (ctx.Arg(1) == 0) return Errno::kINVAL;
  MapRequest request;
  request.length = ctx.Arg(1);
  request.prot = ToProt(ctx.Arg(2));
  request.shared = (flags & kMapTypeMask) != MAP_PRIVATE;
  request.fixed = (flags & MAP_FIXED) != 0;
  request.fixed_noreplace = (flags & MAP_FIXED_NOREPLACE) != 0;
  request.grows_down = (flags & MAP_GROWSDOWN) != 0;
  request.populate = (flags & (MAP_POPULATE | MAP_LOCKED)) != 0 && (flags & MAP_NONBLOCK) == 0;
  request.noreserve = (flags & MAP_NORESERVE) != 0;
  const bool exact = request.fixed || request.fixed_noreplace;
  if (exact && ctx.Addr(0).page_offset() != 0) return Errno::kINVAL;
  request.addr = ctx.Addr(0).page_down();
  TRY(CheckQuick(ctx, request.length));
  if ((flags & MAP_ANONYMOUS) == 0) {
    // A file ends at the largest offset that lseek knows.
    constexpr uint64_t kMaxFileSize = INT64_MAX;
    if (ctx.Arg(1) > kMaxFileSize || ctx.Arg(5) > PageDown(kMaxFileSize - ctx.Arg(1))) {
      return Errno::kOVERFLOW;
    }
    TRY(ctx.FileArg(4));  // EBADF comes before what is wrong with the flags
    TRY(CheckMapFlags(flags));
    TRY(FillFromFile(ctx, request));
  } else {
    TRY(CheckMapFlags(flags));
  }
  return static_cast<int64_t>(TRY(ctx.mm().Map(request)).value());
}

Result<int64_t> SysMunmap(SyscallContext& ctx) {
  if (ctx.Addr(0).page_offset() != 0 || ctx.Arg(1) == 0) return Errno::kINVAL;
  TRY(CheckQuick(ctx, ctx.Arg(1)));
  return Done(ctx.mm().Unmap(ctx.Addr(0), ctx.Arg(1)));
}

Result<int64_t> SysMprotect(SyscallContext& ctx) {
  constexpr uint64_t kAll = PROT_READ | PROT_WRITE | PROT_EXEC | kProtSem;
  if (ctx.Addr(0).page_offset() != 0) return Errno::kINVAL;
  if (ctx.Arg(1) == 0) return int64_t{0};
  const Result<uint64_t> length = PageUp(ctx.Arg(1));
  if (!length.ok() || !VirtRange::Make(ctx.Addr(0), *length).ok()) return Errno::kNOMEM;
  if ((ctx.Arg(2) & ~kAll) != 0) return Errno::kINVAL;
  TRY(CheckQuick(ctx, *length));
  return Done(ctx.mm().Protect(ctx.Addr(0), ctx.Arg(1), ToProt(ctx.Arg(2))));
}

// A CPU without protection keys: none can be allocated, and -1 is mprotect(2).
Result<int64_t> SysPkeyMprotect(SyscallContext& ctx) {
  if (ctx.Int(3) != -1) return Errno::kINVAL;
  return SysMprotect(ctx);
}

Result<int64_t> SysPkeyAlloc(SyscallContext&) { return Errno::kINVAL; }

Result<int64_t> SysPkeyFree(SyscallContext&) { return Errno::kINVAL; }

Result<int64_t> SysMremap(SyscallContext& ctx) {
  const VirtAddr moved =
      TRY(ctx.mm().Remap(ctx.Addr(0), ctx.Arg(1), ctx.Arg(2), ctx.Uint(3), ctx.Addr(4)));
  return static_cast<int64_t>(moved.value());
}

Result<int64_t> SysBrk(SyscallContext& ctx) {
  const uint64_t now = ctx.mm().Brk(VirtAddr(0)).value();
  if (ctx.Arg(0) < now && ctx.Arg(0) != 0) TRY(CheckQuick(ctx, now - ctx.Arg(0)));
  return static_cast<int64_t>(ctx.mm().Brk(ctx.Addr(0)).value());
}

Result<int64_t> SysMadvise(SyscallContext& ctx) {
  return Done(ctx.mm().Advise(ctx.Addr(0), ctx.Arg(1), ctx.Int(2)));
}

Result<int64_t> SysMsync(SyscallContext& ctx) {
  const int flags = ctx.Int(2);
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) != 0) return Errno::kINVAL;
  if ((flags & MS_ASYNC) != 0 && (flags & MS_SYNC) != 0) return Errno::kINVAL;
  if (ctx.Addr(0).page_offset() != 0) return Errno::kINVAL;
  const Result<uint64_t> length = PageUp(ctx.Arg(1));
  if (!length.ok() || !VirtRange::Make(ctx.Addr(0), *length).ok()) return Errno::kNOMEM;
  if (*length == 0) return int64_t{0};
  return Done(ctx.mm().Sync(ctx.Addr(0), *length, flags));
}

Result<int64_t> SysMincore(SyscallContext& ctx) {
  if (ctx.Addr(0).page_offset() != 0) return Errno::kINVAL;
  const Result<uint64_t> length = PageUp(ctx.Arg(1));
  if (!length.ok() || *length > platform::kUserEnd.value() ||
      ctx.Arg(0) > platform::kUserEnd.value() - *length) {
    return Errno::kNOMEM;
  }
  for (uint64_t at = 0; at < *length; at += kPagesAtATime * kPageSize) {
    const uint64_t piece = std::min(*length - at, kPagesAtATime * kPageSize);
    const auto pages = TRY(ctx.mm().Mincore(TRY(ctx.Addr(0).Add(at)), piece));
    TRY(ctx.mm().CopyOut(TRY(ctx.Addr(2).Add(at >> kPageShift)), pages.data(), pages.size()));
  }
  return int64_t{0};
}

Result<int64_t> SysMlock(SyscallContext& ctx) { return LockRange(ctx, true); }
Result<int64_t> SysMunlock(SyscallContext& ctx) { return LockRange(ctx, false); }

Result<int64_t> SysMlock2(SyscallContext& ctx) {
  if ((ctx.Uint(2) & ~kMlockOnfault) != 0) return Errno::kINVAL;
  return LockRange(ctx, ctx.Uint(2) == 0);
}

Result<int64_t> SysMlockall(SyscallContext& ctx) {
  const uint32_t flags = ctx.Uint(0);
  if (flags == 0 || flags == MCL_ONFAULT ||
      (flags & ~static_cast<uint32_t>(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) != 0) {
    return Errno::kINVAL;
  }
  return int64_t{0};
}

Result<int64_t> SysMunlockall(SyscallContext&) { return int64_t{0}; }

}  // namespace ringfence::sentry
