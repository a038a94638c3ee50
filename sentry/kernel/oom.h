// When the sandbox's RAM is used up: the OOM killer (proc(5), /proc/PID/oom_score_adj).
#ifndef RINGFENCE_SENTRY_KERNEL_OOM_H_
#define RINGFENCE_SENTRY_KERNEL_OOM_H_

#include <cstdint>

namespace ringfence::sentry {

class Task;

// How much there is to win by killing a process, in bytes; negative: it must not be killed. As on
// Linux, `oom_score_adj` adds or takes thousandths of all memory, and -1000 exempts.
int64_t OomScore(uint64_t resident_bytes, int32_t oom_score_adj, uint64_t total_bytes);

// `task` needs a page and there is none. Kills the process with the highest score with SIGKILL,
// unless one that was killed before has not ended yet, and waits a little, so that its memory has a
// chance to come back; the caller tries again. The victim may be the caller's process. Called by
// the task's thread without locks.
void HandleOutOfMemory(Task& task);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_OOM_H_
