// task_tree_mutex: the one lock of the process tree and of all signal state (Linux's tasklist_lock
// and siglock together). Process-wide, as a sentry has one kernel. Held for short, bounded work
// only: no guest memory, no file, no blocking. See README.md for why it is one and the order.
#ifndef RINGFENCE_SENTRY_KERNEL_TREE_MUTEX_H_
#define RINGFENCE_SENTRY_KERNEL_TREE_MUTEX_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace ringfence::sentry {

extern absl::Mutex task_tree_mutex;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_TREE_MUTEX_H_
