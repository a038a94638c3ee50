// Which of the caller's user and group ids the processes of a sandbox have in their user namespaces
// (user_namespaces(7)).
//
// gofer   a caller that may (root): every id of the caller as itself, since the gofer shows and
//         sets ownership of the host's files. Else the caller's own ids as themselves; files of
//         others show as the overflow id 65534.
// sentry  one id, kSentryId: the host's `nobody` where the caller may choose it, else the caller's
//         own. It owns no file either way.
#ifndef RINGFENCE_RUNTIME_SANDBOX_ID_MAP_H_
#define RINGFENCE_RUNTIME_SANDBOX_ID_MAP_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringfence::runtime {

// The sentry's user and group as it sees them.
inline constexpr uint32_t kSentryId = 65534;

struct Caller {
  uint32_t uid;
  uint32_t gid;
  bool may_map_any;     // CAP_SETUID and CAP_SETGID
  std::string uid_map;  // what /proc/self/uid_map says
  std::string gid_map;
};

// What is written to /proc/PID/{uid_map,gid_map,setgroups}.
struct IdMaps {
  std::string uid_map;
  std::string gid_map;
  bool deny_setgroups;
  bool operator==(const IdMaps&) const = default;
};

// This process, by its effective ids.
absl::StatusOr<Caller> ReadCaller();

IdMaps GoferIdMaps(const Caller& caller);
IdMaps SentryIdMaps(const Caller& caller);

// For a child that has just entered a user namespace and has nothing of it set yet.
absl::Status WriteIdMaps(pid_t child, const IdMaps& maps);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_ID_MAP_H_
