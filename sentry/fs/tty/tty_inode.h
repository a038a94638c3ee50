// The inodes of devpts; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_TTY_TTY_INODE_H_
#define RINGFENCE_SENTRY_FS_TTY_TTY_INODE_H_

#include "sentry/fs/tty/devpts.h"
#include "sentry/fs/tty/terminal.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

// Attributes that chmod and chown change.
class DevptsInode : public Inode {
 public:
  DevptsInode(Devpts* fs, const Attributes& attributes) : Inode(fs), attributes_(attributes) {}
  Result<Attributes> GetAttr(const CallContext& ctx) override;
  Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request) override;
  uint32_t type() const override;
  bool CacheLookups() const override { return false; }

 protected:
  Devpts& devpts() const { return *static_cast<Devpts*>(fs()); }

 private:
  mutable absl::Mutex mutex_;  // a leaf
  Attributes attributes_ ABSL_GUARDED_BY(mutex_);
};

// The program's side of a terminal.
class TtyInode final : public DevptsInode {
 public:
  TtyInode(Devpts* fs, TerminalRef terminal, const Credentials& owner);
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  const TerminalRef& terminal() const { return terminal_; }

 private:
  const TerminalRef terminal_;
};

InodeRef MakeDevptsRoot(Devpts* fs);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TTY_TTY_INODE_H_
