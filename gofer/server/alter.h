// Changes by one step of a path: with Reopener::Link, the only code of the gofer that makes, moves
// or removes a name.
//
// `dir` is always an O_PATH descriptor of a directory and `name` a valid component, so no call here
// reaches anything but an entry of that very directory: a single component without '/' is never
// resolved through a symlink (the calls act on the entry itself), and ".." is no valid one.
#ifndef RINGFENCE_GOFER_SERVER_ALTER_H_
#define RINGFENCE_GOFER_SERVER_ALTER_H_

#include <cstdint>
#include <string>

#include "gofer/client/client.h"
#include "gofer/server/beneath.h"
#include "platform/base/result.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

// EINVAL for flags of open(2) that a sentry has no use for.
Result<void> CheckOpenFlags(uint32_t flags);
// Would an open with these flags change the file or allow to?
bool IsForChange(uint32_t flags);

// EINVAL, EPERM for what NewObject does not allow.
Result<void> CheckNewObject(const NewObject& object);

struct NewFile {
  UniqueFd fd;    // as `open_flags` say
  PathStep step;  // the same file
};
// A regular file that was not there, with the owner and mode of `object`; `name` "" for one without
// a name (O_TMPFILE).
Result<NewFile> MakeFile(const Reopener& reopener, int dir, const std::string& name,
                         const NewObject& object, uint32_t open_flags);
// Anything else.
Result<PathStep> MakeOther(const Reopener& reopener, int dir, const std::string& name,
                           const NewObject& object);

Result<void> RemoveName(int dir, const std::string& name, Client::Victim victim);
// `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE; EINVAL for others.
Result<void> MoveName(int old_dir, const std::string& old_name, int new_dir,
                      const std::string& new_name, uint32_t flags);

// chown, chmod, truncate and utimensat of what `path_fd` is. EINVAL for sizes beyond off_t and for
// the size of anything but a regular file, EOPNOTSUPP for the mode of a symlink.
Result<void> ChangeAttributes(const Reopener& reopener, int path_fd, uint32_t type,
                              const AttributeChange& change);

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_ALTER_H_
