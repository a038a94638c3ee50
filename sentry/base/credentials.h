// Credentials: who acts. Immutable once shared; a change makes a new object (credentials(7)).
#ifndef RINGFENCE_SENTRY_BASE_CREDENTIALS_H_
#define RINGFENCE_SENTRY_BASE_CREDENTIALS_H_

#include <cstdint>
#include <memory>
#include <vector>

namespace ringfence::sentry {

using Uid = uint32_t;
using Gid = uint32_t;

// Capability numbers of linux/capability.h as bits of a set.
using CapabilitySet = uint64_t;
inline constexpr CapabilitySet kAllCapabilities = (uint64_t{1} << 41) - 1;

struct Credentials {
  Uid ruid = 0, euid = 0, suid = 0, fsuid = 0;
  Gid rgid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<Gid> groups;  // at most 65536 (NGROUPS_MAX)
  CapabilitySet permitted = kAllCapabilities, effective = kAllCapabilities, inheritable = 0,
                bounding = kAllCapabilities, ambient = 0;
  uint32_t securebits = 0;
  bool no_new_privs = false;

  bool HasCapability(int cap) const { return (effective >> cap) & 1; }
  bool InGroup(Gid gid) const;  // fsgid or a supplementary group
};
using CredentialsRef = std::shared_ptr<const Credentials>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BASE_CREDENTIALS_H_
