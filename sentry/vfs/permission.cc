#include "sentry/vfs/permission.h"

#include <sys/stat.h>

namespace ringfence::sentry {

Result<void> CheckMode(const Credentials& creds, const Attributes& attributes, uint32_t mask) {
  uint32_t granted = attributes.mode & 7;
  if (creds.fsuid == attributes.uid) {
    granted = (attributes.mode >> 6) & 7;
  } else if (creds.InGroup(attributes.gid)) {
    granted = (attributes.mode >> 3) & 7;
  }
  if ((mask & ~granted) == 0) return Ok();
  const bool directory = S_ISDIR(attributes.mode);
  // CAP_DAC_OVERRIDE executes only what somebody may execute.
  const bool executable = directory || (attributes.mode & 0111) != 0;
  if (creds.HasCapability(kCapDacOverride) && ((mask & kMayExec) == 0 || executable)) return Ok();
  const uint32_t searchable = directory ? kMayRead | kMayExec : kMayRead;
  if (creds.HasCapability(kCapDacReadSearch) && (mask & ~searchable) == 0) return Ok();
  return Errno::kACCES;
}

Result<void> CheckPermission(const CallContext& ctx, const Path& path, uint32_t mask) {
  Inode& inode = *path.node->inode();
  const uint32_t type = inode.type();
  if ((mask & kMayWrite) != 0 && path.mount->read_only() &&
      (type == S_IFREG || type == S_IFDIR || type == S_IFLNK)) {
    return Errno::kROFS;
  }
  if (mask == 0) return Ok();
  return CheckMode(*ctx.creds, TRY(inode.GetAttr(ctx)), mask);
}

Result<void> CheckSearch(const CallContext& ctx, const Inode& inode) {
  if (inode.type() != S_IFDIR) return Errno::kNOTDIR;
  const Credentials& creds = *ctx.creds;
  if (creds.HasCapability(kCapDacOverride) || creds.HasCapability(kCapDacReadSearch)) return Ok();
  return CheckMode(creds, TRY(const_cast<Inode&>(inode).GetAttr(ctx)), kMayExec);
}

bool IsOwnerOrCapable(const Credentials& creds, const Attributes& attributes) {
  return creds.fsuid == attributes.uid || creds.HasCapability(kCapFowner);
}

Result<void> CheckSticky(const CallContext& ctx, Inode& directory, Inode& victim) {
  const Attributes above = TRY(directory.GetAttr(ctx));
  if ((above.mode & S_ISVTX) == 0 || above.uid == ctx.creds->fsuid) return Ok();
  if (IsOwnerOrCapable(*ctx.creds, TRY(victim.GetAttr(ctx)))) return Ok();
  return Errno::kPERM;
}

NewInode InitOwner(const Credentials& creds, const Attributes& directory, uint32_t mode) {
  NewInode created{creds.fsuid, creds.fsgid, mode};
  if ((directory.mode & S_ISGID) == 0) return created;
  created.gid = directory.gid;
  if (S_ISDIR(mode)) {
    created.mode |= S_ISGID;
  } else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !creds.InGroup(directory.gid) &&
             !creds.HasCapability(kCapFsetid)) {
    created.mode &= ~uint32_t{S_ISGID};
  }
  return created;
}

uint32_t ModeAfterWrite(const Credentials& creds, uint32_t mode) {
  if (!S_ISREG(mode) || creds.HasCapability(kCapFsetid)) return mode;
  mode &= ~uint32_t{S_ISUID};
  if ((mode & S_IXGRP) != 0) mode &= ~uint32_t{S_ISGID};
  return mode;
}

}  // namespace ringfence::sentry
