// User and group ids, supplementary groups (credentials(7)).
#include <algorithm>

#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSetgid = 6, kCapSetuid = 7;
constexpr CapabilitySet kFsCapabilities =
    0x1f | (uint64_t{1} << 9) | (uint64_t{1} << 27) | (uint64_t{1} << 32);
constexpr uint32_t kKeep = ~uint32_t{0};  // "leave this id as it is"
constexpr uint32_t kSecureNoSetuidFixup = 1 << 2, kSecureKeepCaps = 1 << 4;
constexpr uint64_t kMaxGroups = 65536;

void Commit(SyscallContext& ctx, Credentials next) {
  ctx.task().SetCreds(std::make_shared<const Credentials>(std::move(next)));
}

// What a change of user ids does to capabilities (capabilities(7), "Effect of user ID changes").
void FixCapabilities(const Credentials& old, Credentials* next) {
  if ((old.securebits & kSecureNoSetuidFixup) != 0) return;
  const bool had_root = old.ruid == 0 || old.euid == 0 || old.suid == 0;
  const bool has_root = next->ruid == 0 || next->euid == 0 || next->suid == 0;
  if (had_root && !has_root) {
    if ((old.securebits & kSecureKeepCaps) == 0) {
      next->permitted = 0;
      next->effective = 0;
    }
    next->ambient = 0;
  }
  if (old.euid == 0 && next->euid != 0) next->effective = 0;
  if (old.euid != 0 && next->euid == 0) next->effective = next->permitted;
}

void FixFsCapabilities(const Credentials& old, Credentials* next) {
  if ((old.securebits & kSecureNoSetuidFixup) != 0) return;
  if (old.fsuid == 0 && next->fsuid != 0) next->effective &= ~kFsCapabilities;
  if (old.fsuid != 0 && next->fsuid == 0) {
    next->effective |= next->permitted & kFsCapabilities;
  }
}

bool IsOneOfUids(const Credentials& c, Uid uid) {
  return uid == c.ruid || uid == c.euid || uid == c.suid;
}
bool IsOneOfGids(const Credentials& c, Gid gid) {
  return gid == c.rgid || gid == c.egid || gid == c.sgid;
}

Result<int64_t> StoreIds(SyscallContext& ctx, uint32_t real, uint32_t effective, uint32_t saved) {
  TRY(ctx.Out<uint32_t>(0).Store(ctx.mm(), real));
  TRY(ctx.Out<uint32_t>(1).Store(ctx.mm(), effective));
  return Done(ctx.Out<uint32_t>(2).Store(ctx.mm(), saved));
}

}  // namespace

Result<int64_t> SysGetuid(SyscallContext& ctx) { return int64_t{ctx.call().creds->ruid}; }
Result<int64_t> SysGeteuid(SyscallContext& ctx) { return int64_t{ctx.call().creds->euid}; }
Result<int64_t> SysGetgid(SyscallContext& ctx) { return int64_t{ctx.call().creds->rgid}; }
Result<int64_t> SysGetegid(SyscallContext& ctx) { return int64_t{ctx.call().creds->egid}; }

Result<int64_t> SysGetresuid(SyscallContext& ctx) {
  const Credentials& c = *ctx.call().creds;
  return StoreIds(ctx, c.ruid, c.euid, c.suid);
}
Result<int64_t> SysGetresgid(SyscallContext& ctx) {
  const Credentials& c = *ctx.call().creds;
  return StoreIds(ctx, c.rgid, c.egid, c.sgid);
}

Result<int64_t> SysSetuid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  const Uid uid = ctx.Uint(0);
  if (uid == kKeep) return Errno::kINVAL;
  Credentials next = old;
  if (old.HasCapability(kCapSetuid)) {
    next.ruid = next.suid = uid;
  } else if (uid != old.ruid && uid != old.suid) {
    return Errno::kPERM;
  }
  next.euid = next.fsuid = uid;
  FixCapabilities(old, &next);
  Commit(ctx, std::move(next));
  return int64_t{0};
}

Result<int64_t> SysSetgid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  const Gid gid = ctx.Uint(0);
  if (gid == kKeep) return Errno::kINVAL;
  Credentials next = old;
  if (old.HasCapability(kCapSetgid)) {
    next.rgid = next.sgid = gid;
  } else if (gid != old.rgid && gid != old.sgid) {
    return Errno::kPERM;
  }
  next.egid = next.fsgid = gid;
  Commit(ctx, std::move(next));
  return int64_t{0};
}

Result<int64_t> SysSetreuid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  const Uid ruid = ctx.Uint(0), euid = ctx.Uint(1);
  const bool may = old.HasCapability(kCapSetuid);
  Credentials next = old;
  if (ruid != kKeep) {
    if (!may && ruid != old.ruid && ruid != old.euid) return Errno::kPERM;
    next.ruid = ruid;
  }
  if (euid != kKeep) {
    if (!may && !IsOneOfUids(old, euid)) return Errno::kPERM;
    next.euid = euid;
  }
  if (ruid != kKeep || (euid != kKeep && euid != old.ruid)) next.suid = next.euid;
  next.fsuid = next.euid;
  FixCapabilities(old, &next);
  Commit(ctx, std::move(next));
  return int64_t{0};
}

Result<int64_t> SysSetregid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  const Gid rgid = ctx.Uint(0), egid = ctx.Uint(1);
  const bool may = old.HasCapability(kCapSetgid);
  Credentials next = old;
  if (rgid != kKeep) {
    if (!may && rgid != old.rgid && rgid != old.egid) return Errno::kPERM;
    next.rgid = rgid;
  }
  if (egid != kKeep) {
    if (!may && !IsOneOfGids(old, egid)) return Errno::kPERM;
    next.egid = egid;
  }
  if (rgid != kKeep || (egid != kKeep && egid != old.rgid)) next.sgid = next.egid;
  next.fsgid = next.egid;
  Commit(ctx, std::move(next));
  return int64_t{0};
}

Result<int64_t> SysSetresuid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  Credentials next = old;
  Uid* const targets[3] = {&next.ruid, &next.euid, &next.suid};
  for (int i = 0; i < 3; ++i) {
    const Uid uid = ctx.Uint(i);
    if (uid == kKeep) continue;
    if (!old.HasCapability(kCapSetuid) && !IsOneOfUids(old, uid)) return Errno::kPERM;
    *targets[i] = uid;
  }
  next.fsuid = next.euid;
  FixCapabilities(old, &next);
  Commit(ctx, std::move(next));
  return int64_t{0};
}

Result<int64_t> SysSetresgid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  Credentials next = old;
  Gid* const targets[3] = {&next.rgid, &next.egid, &next.sgid};
  for (int i = 0; i < 3; ++i) {
    const Gid gid = ctx.Uint(i);
    if (gid == kKeep) continue;
    if (!old.HasCapability(kCapSetgid) && !IsOneOfGids(old, gid)) return Errno::kPERM;
    *targets[i] = gid;
  }
  next.fsgid = next.egid;
  Commit(ctx, std::move(next));
  return int64_t{0};
}

// setfsuid and setfsgid return the old id and never fail.
Result<int64_t> SysSetfsuid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  const Uid uid = ctx.Uint(0), before = old.fsuid;
  if (uid == kKeep) return int64_t{before};
  if (old.HasCapability(kCapSetuid) || IsOneOfUids(old, uid) || uid == old.fsuid) {
    Credentials next = old;
    next.fsuid = uid;
    FixFsCapabilities(old, &next);
    Commit(ctx, std::move(next));
  }
  return int64_t{before};
}

Result<int64_t> SysSetfsgid(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  const Gid gid = ctx.Uint(0), before = old.fsgid;
  if (gid == kKeep) return int64_t{before};
  if (old.HasCapability(kCapSetgid) || IsOneOfGids(old, gid) || gid == old.fsgid) {
    Credentials next = old;
    next.fsgid = gid;
    Commit(ctx, std::move(next));
  }
  return int64_t{before};
}

Result<int64_t> SysGetgroups(SyscallContext& ctx) {
  const std::vector<Gid>& groups = ctx.call().creds->groups;
  const int32_t size = ctx.Int(0);
  if (size < 0) return Errno::kINVAL;
  if (size != 0) {
    if (static_cast<size_t>(size) < groups.size()) return Errno::kINVAL;
    TRY(ctx.Out<Gid>(1).StoreArray(ctx.mm(), groups.data(), groups.size()));
  }
  return static_cast<int64_t>(groups.size());
}

Result<int64_t> SysSetgroups(SyscallContext& ctx) {
  const Credentials& old = *ctx.call().creds;
  if (!old.HasCapability(kCapSetgid)) return Errno::kPERM;
  if (ctx.Int(0) < 0) return Errno::kINVAL;
  Credentials next = old;
  next.groups = TRY(ctx.In<Gid>(1).LoadArray(ctx.mm(), ctx.Uint(0), kMaxGroups));
  std::sort(next.groups.begin(), next.groups.end());
  Commit(ctx, std::move(next));
  return int64_t{0};
}

}  // namespace ringfence::sentry
