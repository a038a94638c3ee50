#include <fcntl.h>
#include <sys/stat.h>

#include "sentry/kernel/exec.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kSecureNoRoot = 1, kSecureKeepCaps = 1 << 4;

void ApplyFileMode(const Attributes& attributes, Credentials* creds) {
  if (creds->no_new_privs) return;
  if ((attributes.mode & S_ISUID) != 0) creds->euid = attributes.uid;
  // Set-group-ID without group execute is mandatory locking, not a change of identity.
  constexpr uint32_t kSetGid = S_ISGID | S_IXGRP;
  if ((attributes.mode & kSetGid) == kSetGid) creds->egid = attributes.gid;
}

// capabilities(7), "Transformation of capabilities during execve()".
void TransformCapabilities(bool changed_identity, Credentials* creds) {
  if (changed_identity) creds->ambient = 0;
  creds->permitted = creds->effective = creds->ambient;
  if ((creds->securebits & kSecureNoRoot) == 0 && (creds->ruid == 0 || creds->euid == 0)) {
    creds->permitted = creds->inheritable | creds->bounding;
    if (creds->euid == 0) creds->effective = creds->permitted;
  }
  creds->securebits &= ~kSecureKeepCaps;
}

}  // namespace

Result<ExecCredentials> CredentialsAfterExec(const CallContext& ctx, File& file) {
  const Attributes attributes = TRY(file.GetAttr(ctx));
  const Credentials& old = *ctx.creds;
  auto creds = std::make_shared<Credentials>(old);
  ApplyFileMode(attributes, creds.get());
  const bool changed = creds->euid != old.euid || creds->egid != old.egid;
  creds->suid = creds->fsuid = creds->euid;
  creds->sgid = creds->fsgid = creds->egid;
  TransformCapabilities(changed, creds.get());
  ExecCredentials result;
  result.secure = creds->euid != creds->ruid || creds->egid != creds->rgid;
  result.creds = std::move(creds);
  return result;
}

Result<FileRef> OpenProgram(const CallContext& ctx, const PathBase& base, std::string_view path) {
  constexpr uint32_t kExecute = 1;
  const DentryRef dentry = TRY(Vfs::Resolve(ctx, base, path));
  if ((dentry->inode()->type() & S_IFMT) != S_IFREG) return Errno::kACCES;
  TRY(Vfs::CheckAccess(ctx, dentry, kExecute));
  return Vfs::OpenDentry(ctx, dentry, O_RDONLY);
}

}  // namespace ringfence::sentry
