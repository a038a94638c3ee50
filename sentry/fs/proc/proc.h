// procfs (proc(5)): the tree under /proc. Nothing is kept: every look-up asks the ProcSource.
//
// Model: inodes are made on demand by tables of (name, mode, generator). A text file's content is
// generated when it is read at offset 0 and kept for the reads that follow, as seq_file does.
//
// Threads: any.
#ifndef RINGFENCE_SENTRY_FS_PROC_PROC_H_
#define RINGFENCE_SENTRY_FS_PROC_PROC_H_

#include <memory>

#include "sentry/fs/proc/proc_source.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

// `source` outlives the file system and everything opened in it.
std::shared_ptr<FileSystem> MakeProcFs(const ProcSource* source);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_PROC_PROC_H_
