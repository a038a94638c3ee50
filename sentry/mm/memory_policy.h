// MemoryPolicy: on which memory nodes pages are to lie (numa(7), set_mempolicy(2), mbind(2)).
//
// Model: the sandbox has one node, 0, as /sys/devices/system/node says. A policy moves nothing; it
// is remembered, told and inherited as on Linux: by a task and by ranges of an address space.
#ifndef RINGFENCE_SENTRY_MM_MEMORY_POLICY_H_
#define RINGFENCE_SENTRY_MM_MEMORY_POLICY_H_

#include <cstdint>
#include <string>

#include "platform/base/result.h"

namespace ringfence::sentry {

// Bits of a node mask that may be set, as distributions configure it (NODES_SHIFT 10). Only those
// of the first word are kept and told: there is one node.
inline constexpr uint64_t kMaxNodes = 1024;

struct NodeMask {
  uint64_t first_word = 0;
  bool others = false;  // some bit past it was set
  bool empty() const { return first_word == 0 && !others; }
};

struct MemoryPolicy {
  // MPOL_* of linux/mempolicy.h.
  enum Mode : uint16_t {
    kDefault,
    kPreferred,
    kBind,
    kInterleave,
    kLocal,
    kPreferredMany,
    kWeightedInterleave,
    kModes
  };
  static constexpr uint16_t kBalancing = 1 << 13, kRelative = 1 << 14, kStatic = 1 << 15;

  Mode mode = kDefault;
  uint16_t flags = 0;
  uint64_t nodes = 0;  // as get_mempolicy(2) tells them

  // What the mode and flags of a call and its node mask mean. EINVAL.
  static Result<MemoryPolicy> Make(int32_t mode_and_flags, const NodeMask& nodes);
  // EINVAL: the mode or its flags make no sense whatever the nodes are.
  static Result<void> CheckMode(int32_t mode_and_flags);
  // As /proc/PID/numa_maps shows it: "bind=static:0".
  std::string ToString() const;

  friend bool operator==(const MemoryPolicy&, const MemoryPolicy&) = default;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_MEMORY_POLICY_H_
