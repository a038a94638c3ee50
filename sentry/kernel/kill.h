// Sending signals: kill(2), tkill(2), tgkill(2), sigqueue(3) and what the kernel itself sends.
// Threads: any; none of these blocks.
#ifndef RINGFENCE_SENTRY_KERNEL_KILL_H_
#define RINGFENCE_SENTRY_KERNEL_KILL_H_

#include <cstdint>

#include "platform/base/result.h"
#include "sentry/base/signal.h"
#include "sentry/kernel/task.h"

namespace ringfence::sentry {

// kill(2): pid > 0 a process, 0 the caller's group, -1 everybody but init and the caller, < -1 a
// group. Signal 0 only checks. ESRCH, EPERM, EINVAL.
Result<void> Kill(Task& sender, int32_t pid, SigNo sig);
// tgkill(2); tgid 0 = tkill(2). EINVAL, ESRCH, EPERM, EAGAIN.
Result<void> Tgkill(Task& sender, int32_t tgid, int32_t tid, SigNo sig);
// rt_sigqueueinfo(2), rt_tgsigqueueinfo(2) (tid != 0): `info` as the guest gave it; code >= 0 or
// SI_TKILL to somebody else is EPERM.
Result<void> QueueSignal(Task& sender, int32_t tgid, int32_t tid, const SigInfo& info);
// pidfd_send_signal(2): to `target`, also when its number has become another's. ESRCH once it has
// been reaped; `info` as for QueueSignal.
Result<void> SignalProcess(Task& sender, ThreadGroup& target, const SigInfo& info);

// From the kernel, without permission checks.
void SendToProcess(ThreadGroup& group, const SigInfo& info);
void SendToTask(Task& task, const SigInfo& info);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_KILL_H_
