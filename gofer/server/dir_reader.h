// Pages of directory entries, as getdents64(2) gives them.
#ifndef RINGFENCE_GOFER_SERVER_DIR_READER_H_
#define RINGFENCE_GOFER_SERVER_DIR_READER_H_

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "gofer/client/client.h"
#include "platform/base/result.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

// About what an entry costs in a reply beside its name and target.
inline constexpr size_t kNameEntryBytes = 32;
inline constexpr size_t kAttributesEntryBytes = 160;

struct RawEntry {
  std::string_view name;
  uint64_t ino;
  uint32_t type;  // S_IF*, 0 if the file system does not say
  int64_t next_cookie;
};

// Calls `emit` for the entries of the open directory `fd` from `cookie` on, without "." and "..",
// until it returns false (that entry was not taken) or nothing is left. True: the end was reached.
Result<bool> ReadEntries(int fd, int64_t cookie, absl::FunctionRef<bool(const RawEntry&)> emit);

// A few directories kept open between pages, so that a long listing opens its directory once.
// Threads: any.
class OpenDirectories {
 public:
  // Takes the descriptor kept for `id` out of the cache; none if there is none.
  UniqueFd Take(NodeId id);
  void Put(NodeId id, UniqueFd fd);
  void Drop(NodeId id) { Take(id); }

 private:
  static constexpr size_t kMaxOpen = 16;
  absl::Mutex mutex_;
  std::list<std::pair<NodeId, UniqueFd>> open_ ABSL_GUARDED_BY(mutex_);  // front: latest
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_DIR_READER_H_
