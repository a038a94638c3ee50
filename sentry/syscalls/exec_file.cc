#include "sentry/syscalls/exec_file.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace ringfence::sentry {

Result<FileRef> OpenProgram(const CallContext& ctx, const DentryRef& dentry) {
  if (dentry->inode()->type() != S_IFREG) return Errno::kACCES;
  TRY(Vfs::CheckAccess(ctx, dentry, 1));
  FileRef file = TRY(dentry->inode()->Open(ctx, O_RDONLY));
  file->SetDentry(dentry);
  return file;
}

}  // namespace ringfence::sentry
