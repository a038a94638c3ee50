// JobControl: the sessions and process groups of a terminal, as the terminal's ioctls need them
// (tty_ioctl(4), credentials(7)). The kernel implements it, terminals (fs/host, fs/tty) use
// it. One object per terminal; null where there is none: the ioctls then give ENOTTY.
#ifndef RINGFENCE_SENTRY_VFS_JOB_CONTROL_H_
#define RINGFENCE_SENTRY_VFS_JOB_CONTROL_H_

#include <cstdint>

#include "platform/base/result.h"
#include "sentry/base/call_context.h"
#include "sentry/base/signal.h"

namespace ringfence::sentry {

class JobControl {
 public:
  virtual ~JobControl() = default;
  // Each acts for the caller of `ctx`, whose pid namespace the numbers are in.
  virtual Result<int32_t> GetForegroundGroup(const CallContext& ctx) = 0;             // TIOCGPGRP
  virtual Result<void> SetForegroundGroup(const CallContext& ctx, int32_t pgid) = 0;  // TIOCSPGRP
  virtual Result<int32_t> GetSession(const CallContext& ctx) = 0;                     // TIOCGSID
  // TIOCSCTTY; `steal` is its argument. TIOCNOTTY gives it up.
  virtual Result<void> Acquire(const CallContext& ctx, int32_t steal) = 0;
  virtual Result<void> Release(const CallContext& ctx) = 0;
  // May the caller read (SIGTTIN) or write and set (SIGTTOU)? A background process gets its signal
  // and EIO or a restart code here. Called before data moves.
  enum class Use { kRead, kWrite, kControl };
  virtual Result<void> CheckUse(const CallContext& ctx, Use use) = 0;

  // --- for the terminal itself; nobody's rights are asked ---
  // open(2) without O_NOCTTY: a session leader without a terminal gets this one if it is free.
  virtual void Opened(const CallContext& ctx) = 0;
  // A key (SIGINT, ...) or SIGWINCH.
  virtual void SignalForeground(SigNo sig) = 0;
  // Nobody is at the other end any more: SIGHUP and SIGCONT to the session's leader, whose terminal
  // it is no longer.
  virtual void HangUp() = 0;
  // What the other side of a pseudo-terminal is told; 0: none.
  virtual int32_t ForegroundId() = 0;
  virtual int32_t SessionId() = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_JOB_CONTROL_H_
