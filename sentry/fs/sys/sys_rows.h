// The tables that sysfs is made of; private to this folder. The kinds of inodes are procfs's.
#ifndef RINGFENCE_SENTRY_FS_SYS_SYS_ROWS_H_
#define RINGFENCE_SENTRY_FS_SYS_SYS_ROWS_H_

#include <vector>

#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {

const std::vector<ProcRow>& SysSystemRows();  // devices/system

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_SYS_SYS_ROWS_H_
