// What the tasks of a sandbox do, as text for a person (`ringfence debug`).
#ifndef RINGFENCE_SENTRY_BOOT_TASK_REPORT_H_
#define RINGFENCE_SENTRY_BOOT_TASK_REPORT_H_

#include <functional>
#include <string_view>

#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {

// One line for each task (pid, tid, state as in ps(1), name, the system call it is in with what its
// descriptors are) and one for each of its last calls; at most kMaxReportTasks tasks. Lines without
// newline; what they say of the guest is the guest's: any byte may be in them.
//   pid 7 tid 7 S cat: in read(0</dev/pts/0>, 0x7ffe12345678, 131072)
//       close(3) = 0
inline constexpr size_t kMaxReportTasks = 1000;
void ReportTasks(const Kernel& kernel, const std::function<void(std::string_view)>& line);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_TASK_REPORT_H_
