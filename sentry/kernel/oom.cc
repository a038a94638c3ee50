#include "sentry/kernel/oom.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/kill.h"

namespace ringfence::sentry {
namespace {

constexpr int32_t kExempt = -1000;
// Of a victim, until another is chosen: it may be stuck in a call to the host.
constexpr int64_t kPatienceNs = 2 * kNanosPerSecond;
constexpr int64_t kPauseNs = 2'000'000;

// A sentry has one kernel.
struct Victim {
  absl::Mutex mutex;
  std::weak_ptr<ThreadGroup> group ABSL_GUARDED_BY(mutex);
  int64_t since_ns ABSL_GUARDED_BY(mutex) = 0;
};
Victim& LastVictim() {
  static auto* const victim = new Victim;
  return *victim;
}

ThreadGroupRef Choose(const Kernel& kernel, uint64_t total_bytes) {
  ThreadGroupRef largest;
  int64_t highest = 0;
  for (const ThreadGroupRef& group : kernel.ThreadGroups()) {
    const TaskRef leader = group->leader();
    const MemoryManagerRef mm = leader == nullptr ? nullptr : leader->mm_ref();
    if (mm == nullptr || group->IsZombie()) continue;
    const MemoryManager::Usage usage = mm->GetUsage();
    const int64_t score = OomScore(usage.resident_bytes + usage.table_bytes,
                                   group->oom_score_adj.load(), total_bytes);
    if (score < 0 || (largest != nullptr && score <= highest)) continue;
    largest = group;
    highest = score;
  }
  return largest;
}

}  // namespace

int64_t OomScore(uint64_t resident_bytes, int32_t oom_score_adj, uint64_t total_bytes) {
  if (oom_score_adj == kExempt) return -1;
  const int64_t score = static_cast<int64_t>(resident_bytes) +
                        static_cast<int64_t>(total_bytes) / 1000 * oom_score_adj;
  return std::max<int64_t>(score, 0);
}

void HandleOutOfMemory(Task& task) {
  Kernel& kernel = task.kernel();
  Victim& last = LastVictim();
  {
    absl::MutexLock lock(&last.mutex);
    const ThreadGroupRef dying = last.group.lock();
    const int64_t now = MonotonicNow();
    const bool wait = dying != nullptr && !dying->IsZombie() && now - last.since_ns < kPatienceNs;
    if (!wait) {
      ThreadGroupRef victim = Choose(kernel, kernel.platform().memory().GetStats().anonymous_bytes);
      if (victim == nullptr) victim = task.group().shared_from_this();
      last.group = victim;
      last.since_ns = now;
      const TaskRef leader = victim->leader();
      kernel.Log(absl::StrCat("out of memory: killed process ", victim->tgid(), " (",
                              leader == nullptr ? std::string() : leader->comm(), ")"));
      SendToProcess(*victim, SigInfo::Kernel(SigNo::kKill));
    }
  }
  (void)task.Block(Deadline::After(kPauseNs), Task::Wakeup::kKillOnly);
}

}  // namespace ringfence::sentry
