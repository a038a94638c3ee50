// An open regular file of goferfs; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_GOFERFS_FILE_H_
#define RINGFENCE_SENTRY_FS_GOFERFS_FILE_H_

#include <memory>

#include "sentry/fs/goferfs/inode.h"

namespace ringfence::sentry {

// What an open file keeps open. Without `read`, one that reads is asked for whenever it is needed.
struct GoferFileDescriptors {
  GoferRegular::Descriptor read;
  WriteHandleRef write;
};
FileRef NewGoferFile(std::shared_ptr<GoferRegular> inode, GoferFileDescriptors descriptors,
                     uint32_t flags);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_FILE_H_
