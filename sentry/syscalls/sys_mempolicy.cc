// set_mempolicy(2), get_mempolicy(2), mbind(2): policies of memory nodes, of which there is one.
#include <algorithm>
#include <vector>

#include "sentry/mm/memory_policy.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kWordBits = 64;
constexpr uint64_t kMaxMaskBits = kPageSize * 8;
constexpr uint64_t kNodeIds = 1;  // nr_node_ids of Linux
constexpr uint64_t kFlagNode = 1, kFlagAddr = 2, kFlagMemsAllowed = 4;
constexpr uint64_t kMoveAll = 4, kMbindFlags = 7;

// The mask of arguments (pointer, one more than its bits): bits that no kernel has must be clear.
Result<NodeMask> LoadNodes(SyscallContext& ctx, int arg) {
  NodeMask mask;
  const uint64_t bits = ctx.Arg(arg + 1) - 1;
  if (bits == 0 || ctx.Arg(arg) == 0) return mask;
  if (bits > kMaxMaskBits) return Errno::kINVAL;
  std::vector<uint64_t> words = TRY(ctx.In<uint64_t>(arg).LoadArray(
      ctx.mm(), (bits + kWordBits - 1) / kWordBits, kMaxMaskBits / kWordBits));
  if (bits % kWordBits != 0) words.back() &= (uint64_t{1} << bits % kWordBits) - 1;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == 0) continue;
    if (i >= kMaxNodes / kWordBits) return Errno::kINVAL;
    if (i != 0) mask.others = true;
  }
  mask.first_word = words[0];
  return mask;
}

// The first word is what there can be in it; the rest of the caller's mask is cleared.
Result<void> StoreNodes(SyscallContext& ctx, int arg, uint64_t nodes) {
  const uint64_t words = (ctx.Arg(arg + 1) - 1 + kWordBits - 1) / kWordBits;
  if (words > kPageSize / sizeof(uint64_t)) return Errno::kINVAL;
  if (words == 0) return Ok();
  if (words > 1) {
    TRY(ctx.mm().ZeroOut(TRY(ctx.Addr(arg).Add(sizeof(uint64_t))), (words - 1) * sizeof(uint64_t)));
  }
  return ctx.Out<uint64_t>(arg).Store(ctx.mm(), nodes);
}

struct Answer {
  int32_t mode = 0;
  uint64_t nodes = 0;
};

Answer Describe(const MemoryPolicy& policy) {
  return {static_cast<int32_t>(policy.mode | policy.flags), policy.nodes};
}

// MPOL_F_NODE: the node of a page, or the one that interleaving would take next: 0.
Result<Answer> DescribeNode(SyscallContext& ctx, const MemoryPolicy& policy, uint64_t flags) {
  if ((flags & kFlagAddr) != 0) {
    char page;
    TRY(ctx.mm().CopyIn(&page, ctx.Addr(3), sizeof page));  // comes in if it was not there
  } else if (policy.mode != MemoryPolicy::kInterleave &&
             policy.mode != MemoryPolicy::kWeightedInterleave) {
    return Errno::kINVAL;
  }
  return Answer{0, policy.nodes};
}

Result<Answer> Ask(SyscallContext& ctx, uint64_t flags) {
  if ((flags & ~(kFlagNode | kFlagAddr | kFlagMemsAllowed)) != 0) return Errno::kINVAL;
  if ((flags & kFlagMemsAllowed) != 0) {
    if (flags != kFlagMemsAllowed) return Errno::kINVAL;
    return Answer{0, 1};
  }
  MemoryPolicy policy;
  if ((flags & kFlagAddr) != 0) {
    policy = TRY(ctx.mm().PolicyAt(ctx.Addr(3)));
  } else {
    if (ctx.Arg(3) != 0) return Errno::kINVAL;
    policy = ctx.task().settings().memory_policy;
  }
  if ((flags & kFlagNode) != 0) return DescribeNode(ctx, policy, flags);
  return Describe(policy);
}

}  // namespace

Result<int64_t> SysSetMempolicy(SyscallContext& ctx) {
  TRY(MemoryPolicy::CheckMode(ctx.Int(0)));
  const NodeMask nodes = TRY(LoadNodes(ctx, 1));
  Task::Settings settings = ctx.task().settings();
  settings.memory_policy = TRY(MemoryPolicy::Make(ctx.Int(0), nodes));
  ctx.task().SetSettings(std::move(settings));
  return int64_t{0};
}

Result<int64_t> SysGetMempolicy(SyscallContext& ctx) {
  if (ctx.Arg(1) != 0 && ctx.Arg(2) < kNodeIds) return Errno::kINVAL;
  const Answer answer = TRY(Ask(ctx, ctx.Arg(4)));
  if (ctx.Arg(0) != 0) TRY(ctx.Out<int32_t>(0).Store(ctx.mm(), answer.mode));
  if (ctx.Arg(1) != 0) TRY(StoreNodes(ctx, 1, answer.nodes));
  return int64_t{0};
}

Result<int64_t> SysMbind(SyscallContext& ctx) {
  constexpr int kCapSysNice = 23;
  TRY(MemoryPolicy::CheckMode(ctx.Int(2)));
  const NodeMask nodes = TRY(LoadNodes(ctx, 3));
  const uint64_t flags = ctx.Uint(5);
  if ((flags & ~kMbindFlags) != 0) return Errno::kINVAL;
  if ((flags & kMoveAll) != 0 && !ctx.call().creds->HasCapability(kCapSysNice)) {
    return Errno::kPERM;
  }
  if (ctx.Addr(0).page_offset() != 0) return Errno::kINVAL;
  const uint64_t length = (ctx.Arg(1) + kPageMask) & ~kPageMask;  // may wrap to nothing, as Linux's
  uint64_t end;
  if (__builtin_add_overflow(ctx.Arg(0), length, &end)) return Errno::kINVAL;
  if (length == 0) return int64_t{0};
  const MemoryPolicy policy = TRY(MemoryPolicy::Make(ctx.Int(2), nodes));
  return Done(ctx.mm().SetPolicy({ctx.Addr(0), VirtAddr(end)}, policy));
}

}  // namespace ringfence::sentry
