// chmod, chown, truncate, utimensat and access: who may, and what follows (inode(7), chmod(2)).
#include <sys/mount.h>
#include <sys/stat.h>

#include "sentry/vfs/permission.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

Result<void> CheckOwnerChange(const Credentials& creds, const Attributes& now,
                              const SetAttrRequest& request) {
  if (creds.HasCapability(kCapChown)) return Ok();
  const bool owner = creds.fsuid == now.uid;
  if (request.uid && !(owner && *request.uid == now.uid)) return Errno::kPERM;
  if (request.gid && !(owner && (*request.gid == now.gid || creds.InGroup(*request.gid)))) {
    return Errno::kPERM;
  }
  return Ok();
}

Result<void> CheckTimes(const CallContext& ctx, const Path& path, const Attributes& now,
                        const SetAttrRequest& request) {
  if (!request.atime && !request.mtime && !request.atime_now && !request.mtime_now) return Ok();
  if (IsOwnerOrCapable(*ctx.creds, now)) return Ok();
  const bool both_now = request.atime_now && request.mtime_now;
  if (!both_now) return Errno::kPERM;
  return CheckPermission(ctx, path, kMayWrite);
}

Result<void> CheckSize(const CallContext& ctx, const Path& path, const Attributes& now) {
  if (S_ISDIR(now.mode)) return Errno::kISDIR;
  if (!S_ISREG(now.mode)) return Errno::kINVAL;
  return CheckPermission(ctx, path, kMayWrite);
}

// Set-user-ID and set-group-ID after the change.
void SettleMode(const Credentials& creds, const Attributes& now, SetAttrRequest* request) {
  if (request->mode) {
    *request->mode &= 07777;
    const Gid gid = request->gid.value_or(now.gid);
    if (!creds.InGroup(gid) && !creds.HasCapability(kCapFsetid)) {
      *request->mode &= ~uint32_t{S_ISGID};
    }
    return;
  }
  uint32_t mode = now.mode;
  if ((request->uid || request->gid) && !S_ISDIR(mode)) {
    mode &= ~uint32_t{S_ISUID};
    if ((mode & S_IXGRP) != 0) mode &= ~uint32_t{S_ISGID};
  }
  if (request->size) mode = ModeAfterWrite(creds, mode);
  if (mode != now.mode) request->mode = mode & 07777;
}

}  // namespace

Result<void> Vfs::SetAttr(const CallContext& ctx, const DentryRef& dentry,
                          const SetAttrRequest& wanted) {
  const Path path = PathOfDentry(dentry);
  if (path.mount->read_only()) return Errno::kROFS;
  const InodeRef& inode = dentry->inode();
  const Attributes now = TRY(inode->GetAttr(ctx));
  SetAttrRequest request = wanted;
  if (request.size) TRY(CheckSize(ctx, path, now));
  TRY(CheckOwnerChange(*ctx.creds, now, request));
  if (request.mode && !IsOwnerOrCapable(*ctx.creds, now)) return Errno::kPERM;
  if (request.mode && S_ISLNK(now.mode)) return Errno::kOPNOTSUPP;
  TRY(CheckTimes(ctx, path, now, request));
  SettleMode(*ctx.creds, now, &request);
  TRY(inode->SetAttr(ctx, request));
  Watches::OnSetAttr(path.node, wanted);
  return Ok();
}

Result<void> Vfs::CheckAccess(const CallContext& ctx, const DentryRef& dentry, uint32_t mask) {
  const Path path = PathOfDentry(dentry);
  if ((mask & kMayExec) != 0 && dentry->inode()->type() == S_IFREG &&
      (path.mount->flags() & MS_NOEXEC) != 0) {
    return Errno::kACCES;
  }
  return CheckPermission(ctx, path, mask & 7);
}

}  // namespace ringfence::sentry
