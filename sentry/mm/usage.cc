// What of each VMA is there, leaf by leaf: /proc/PID/smaps, smaps_rollup and numa_maps.
#include <algorithm>

#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kShareUnits = 4096;  // PSS_SHIFT of Linux

// Mnemonics in the order of Linux's bits (fs/proc/task_mmu.c, proc_pid_smaps(5)). Linux accounts
// for private memory that could be written, and goes on when it has been.
std::string FlagsOf(const Vma& vma, bool has_anonymous) {
  const bool vvar = vma.kind == VmaKind::kVvar;
  const bool special = vvar || vma.kind == VmaKind::kVdso;
  const bool accounted = (vma.prot.write || has_anonymous) && !vma.shared && !vma.noreserve;
  const struct {
    bool set;
    const char* name;
  } flags[] = {{vma.prot.read, "rd"},
               {vma.prot.write, "wr"},
               {vma.prot.exec, "ex"},
               {vma.shared && vma.max_prot.write, "sh"},
               {vma.max_prot.read, "mr"},
               {vma.max_prot.write, "mw"},
               {vma.max_prot.exec, "me"},
               {vma.shared && !vvar, "ms"},
               {vma.grows_down, "gd"},
               {vvar, "pf"},
               {vma.locked != Locked::kNo, "lo"},
               {vvar, "io"},
               {vma.dont_fork, "dc"},
               {special, "de"},
               {vma.locked == Locked::kOnFault, "lf"},
               {accounted && !special, "ac"},
               {vma.noreserve, "nr"},
               {vma.wipe_on_fork, "wf"},
               {vma.dont_dump || vvar, "dd"},
               {vma.huge == HugePolicy::kWanted, "hg"},
               {vma.huge == HugePolicy::kNever, "nh"}};
  std::string text;
  for (const auto& flag : flags) {
    if (flag.set) text.append(flag.name).append(" ");
  }
  return text;
}

}  // namespace

// A frame's references are its leaves' and, for a page of an object, one of the object's own; what
// is pinned for the moment counts as well.
void MemoryManagerImpl::AddLeavesLocked(const Vma& vma, FrameRun run, const platform::Leaf& leaf,
                                        VmaUsage* usage) const {
  if (memory_->IsZeroFrame(run.first)) return;
  const bool of_host = memory_->IsFileFrame(run.first);
  const bool of_object = leaf.soft_shared;
  // What a file of the host has in memory is the host's to write back: clean to us. Everything else
  // is nowhere but in this memory.
  const bool clean = of_host || vma.kind == VmaKind::kVdso || vma.kind == VmaKind::kVvar;
  for (uint64_t i = 0; i < run.count; ++i) {
    const uint64_t count = memory_->RefCount(Frame{run.first.index + i});
    const uint64_t mappings = std::max<uint64_t>(count - (of_object && count > 1 ? 1 : 0), 1);
    const uint64_t share = kPageSize * kShareUnits / mappings;
    uint64_t& state = mappings > 1 ? (clean ? usage->shared_clean : usage->shared_dirty)
                                   : (clean ? usage->private_clean : usage->private_dirty);
    state += kPageSize;
    uint64_t& sum = !of_object ? usage->share_anonymous
                    : of_host  ? usage->share_file
                               : usage->share_of_sandbox;
    sum += share;
    if (!clean) usage->share_dirty += share;
    usage->most_mappings = std::max(usage->most_mappings, mappings);
  }
  const uint64_t bytes = run.count * kPageSize;
  usage->resident += bytes;
  if (!of_object) usage->anonymous += bytes;
  if (leaf.huge && !of_host) {
    (of_object ? usage->huge_of_sandbox : usage->huge_anonymous) += bytes;
  }
}

VmaUsage MemoryManagerImpl::UsageOfLocked(const Vma& vma) const {
  VmaUsage usage;
  usage.locked = vma.locked != Locked::kNo;
  usage.kind = vma.kind;
  usage.policy = vma.policy;
  // See TryHugeLocked.
  const uint64_t block = (vma.range.start.value() + kHugePageSize - 1) & ~(kHugePageSize - 1);
  usage.huge_eligible = vma.private_anonymous() && vma.huge != HugePolicy::kNever &&
                        memory_->HasHuge() && block + kHugePageSize <= vma.range.end.value();
  space_->Visit(vma.range,
                [&](VirtAddr, FrameRun run, const platform::Leaf& leaf)
                    ABSL_NO_THREAD_SAFETY_ANALYSIS { AddLeavesLocked(vma, run, leaf, &usage); });
  usage.flags = FlagsOf(vma, usage.anonymous != 0);
  return usage;
}

void MemoryManagerImpl::VisitUsage(
    absl::FunctionRef<void(const VmaInfo&, const VmaUsage&)> visit) const {
  absl::ReaderMutexLock lock(&mutex_);
  for (const auto& [start, vma] : vmas_) visit(vma.Info(), UsageOfLocked(vma));
}

}  // namespace ringfence::sentry
