// ArgKind: what an argument of a system call is. The rows of the system call table name one per
// argument; strace output and the compatibility page derive from them.
#ifndef RINGFENCE_SENTRY_STRACE_ARG_KIND_H_
#define RINGFENCE_SENTRY_STRACE_ARG_KIND_H_

#include <array>
#include <cstdint>

namespace ringfence::sentry {

enum class ArgKind : uint8_t {
  kNone,  // no such argument
  // Scalars.
  kInt,
  kUint,
  kLong,
  kHex,
  kMode,
  kSize,
  kOffset,
  kPid,
  kUid,
  kDev,
  kPtr,
  kFd,
  kDirFd,
  // Enumerations and flag words.
  kOpenFlags,
  kWhence,
  kProt,
  kMapFlags,
  kSignal,
  kCloneFlags,
  kWaitOptions,
  kIdType,
  kFutexOp,
  kClockId,
  kEpollOp,
  kFcntlCmd,
  kIoctlCmd,
  kAccessMode,
  kAtFlags,
  kResource,
  kFamily,
  kSockType,
  kAdvice,
  kMaskHow,
  kPrctlOp,
  kArchPrctlOp,
  kFdFlags,
  kRandomFlags,
  kItimer,
  kSchedPolicy,
  kMsyncFlags,
  kMremapFlags,
  kMemfdFlags,
  kRwFlags,
  // Pointers that are read. kBufIn and kIovIn take their length or count from the next argument.
  kPath,
  kString,
  kBufIn,
  kIovIn,
  kArgv,
  kEnvp,
  kSigsetIn,
  kSigactionIn,
  kTimespecIn,
  kTimevalIn,
  kRlimitIn,
  kPollFds,
  kEpollEventIn,
  kItimervalIn,
  // Pointers that are written: printed when the call has returned. kBufOut and kIovOut take their
  // length from the return value.
  kBufOut,
  kIovOut,
  kPipeOut,
  kStatOut,
  kWaitStatusOut,
  kSigsetOut,
  kSigactionOut,
  kTimespecOut,
  kTimevalOut,
  kRlimitOut,
  kUtsnameOut,
  kEpollEventsOut,
  kItimervalOut,
  kIntOut,
  kPathOut,
};

constexpr bool IsOutput(ArgKind kind) { return kind >= ArgKind::kBufOut; }
// Printed when the call returns because the call changes what is there (poll's revents).
constexpr bool IsDeferred(ArgKind kind) { return IsOutput(kind) || kind == ArgKind::kPollFds; }

using ArgKinds = std::array<ArgKind, 6>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_STRACE_ARG_KIND_H_
