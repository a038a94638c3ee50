#include "sentry/mm/memory_policy.h"

#include <algorithm>

namespace ringfence::sentry {
namespace {

constexpr uint64_t kNodesHere = 1;  // node 0
constexpr int32_t kFlags =
    MemoryPolicy::kBalancing | MemoryPolicy::kRelative | MemoryPolicy::kStatic;

bool KeepsNodesOfUser(uint16_t flags) {
  return (flags & (MemoryPolicy::kStatic | MemoryPolicy::kRelative)) != 0;
}

}  // namespace

Result<void> MemoryPolicy::CheckMode(int32_t mode_and_flags) {
  const int32_t flags = mode_and_flags & kFlags;
  const int32_t mode = mode_and_flags & ~kFlags;
  if (mode < 0 || mode >= kModes) return Errno::kINVAL;
  if ((flags & kStatic) != 0 && (flags & kRelative) != 0) return Errno::kINVAL;
  if ((flags & kBalancing) != 0 && mode != kBind && mode != kPreferredMany) return Errno::kINVAL;
  return Ok();
}

Result<MemoryPolicy> MemoryPolicy::Make(int32_t mode_and_flags, const NodeMask& nodes) {
  TRY(CheckMode(mode_and_flags));
  MemoryPolicy policy;
  policy.flags = static_cast<uint16_t>(mode_and_flags & kFlags);
  policy.mode = static_cast<Mode>(mode_and_flags & ~kFlags);
  if (policy.mode == kDefault) {
    if (!nodes.empty()) return Errno::kINVAL;
    return MemoryPolicy();
  }
  if (policy.mode == kPreferred && nodes.empty()) policy.mode = kLocal;
  if (policy.mode == kLocal) {
    if (!nodes.empty() || KeepsNodesOfUser(policy.flags)) return Errno::kINVAL;
    return policy;
  }
  // Relative nodes are counted among those there are, round and round.
  const bool any =
      (policy.flags & kRelative) != 0 ? !nodes.empty() : (nodes.first_word & kNodesHere) != 0;
  if (!any) return Errno::kINVAL;
  policy.nodes = KeepsNodesOfUser(policy.flags) ? nodes.first_word : kNodesHere;
  return policy;
}

std::string MemoryPolicy::ToString() const {
  static constexpr const char* kNames[] = {
      "default", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave"};
  std::string text = kNames[std::min<size_t>(mode, kModes - 1)];
  if (flags != 0) {
    text += "=";
    if ((flags & kStatic) != 0) text += "static";
    if ((flags & kRelative) != 0) text += "relative";
    if ((flags & kBalancing) != 0) text += KeepsNodesOfUser(flags) ? "|balancing" : "balancing";
  }
  if (mode != kDefault && mode != kLocal) text += ":0";
  return text;
}

}  // namespace ringfence::sentry
