// Waiting for children: wait4(2), waitid(2).
#ifndef RINGFENCE_SENTRY_KERNEL_WAIT_H_
#define RINGFENCE_SENTRY_KERNEL_WAIT_H_

#include <cstdint>

#include "platform/base/result.h"
#include "sentry/base/call_context.h"
#include "sentry/kernel/limits.h"

namespace ringfence::sentry {

class Task;
class ThreadGroup;

struct WaitRequest {
  enum class Which : uint8_t { kAny, kPid, kProcessGroup };
  Which which = Which::kAny;
  int32_t id = 0;                        // tgid or process group; 0 as a group is the caller's own
  const ThreadGroup* process = nullptr;  // with kPid: this process, whatever its number
  bool exited = true, stopped = false, continued = false;
  bool no_hang = false;                                      // WNOHANG
  bool no_reap = false;                                      // WNOWAIT
  enum class Clone : uint8_t { kNormal, kCloneOnly, kAll };  // default, __WCLONE, __WALL
  Clone clone = Clone::kNormal;
  bool own_children_only = false;  // __WNOTHREAD
};

struct WaitResult {
  int32_t pid = 0;  // 0: WNOHANG and nothing to report
  uint32_t uid = 0;
  int32_t status = 0;     // as wait4 stores it: exit code << 8, or signal | 0x80 core, 0x7f stop
  int32_t si_code = 0;    // CLD_*
  int32_t si_status = 0;  // exit code or signal
  Rusage usage;           // of the child and its waited-for children
};

// Waits on behalf of `task`. ECHILD, kRESTARTSYS, kWOULDBLOCK_RETRY_ON_TASK (when ctx may not
// block and nothing is there yet; not for no_hang).
Result<WaitResult> WaitForChild(Task& task, const CallContext& ctx, const WaitRequest& request);

// Status words (wait(2)).
constexpr int32_t ExitedStatus(int32_t code) { return (code & 0xff) << 8; }
constexpr int32_t KilledStatus(int32_t sig, bool core) { return sig | (core ? 0x80 : 0); }
constexpr int32_t StoppedStatus(int32_t sig) { return (sig << 8) | 0x7f; }
inline constexpr int32_t kContinuedStatus = 0xffff;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_WAIT_H_
