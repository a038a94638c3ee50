// Restartable sequences: rseq(2) as in Linux 6.14 (kernel/rseq.c). The task's number of a CPU comes
// from CpuNumbers; whenever it has lost it, was interrupted by a signal or is told to (membarrier),
// its critical section is aborted before the program goes on.
#include <sched.h>

#include "sentry/kernel/arch_call.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace ringfence::sentry {
namespace {

// Offsets in struct rseq.
constexpr uint64_t kCpuIdStart = 0, kSection = 8, kFlags = 16, kNodeId = 20;
constexpr uint32_t kLeastLength = 32, kAlignment = 32;
constexpr uint32_t kNoCpu = ~uint32_t{0};  // RSEQ_CPU_ID_UNINITIALIZED

// struct rseq_cs
struct CriticalSection {
  uint32_t version, flags;
  uint64_t start_ip, post_commit_offset, abort_ip;
};

bool IsUserAddress(uint64_t address) { return address < platform::kUserEnd.value(); }

// cpu_id_start, cpu_id, node_id and mm_cid.
Result<void> StoreNumbers(MemoryManager& mm, VirtAddr area, uint32_t start, uint32_t cpu,
                          uint32_t concurrency) {
  const uint32_t cpus[2] = {start, cpu}, others[2] = {0, concurrency};
  TRY(mm.CopyOut(VirtAddr(area.value() + kNodeId), others, sizeof(others)));
  return mm.CopyOut(VirtAddr(area.value() + kCpuIdStart), cpus, sizeof(cpus));
}

// The description of a critical section; EINVAL, EFAULT for what kills the program.
Result<CriticalSection> LoadSection(MemoryManager& mm, uint64_t address, uint32_t signature) {
  if (!IsUserAddress(address)) return Errno::kINVAL;
  CriticalSection section;
  TRY(mm.CopyIn(&section, VirtAddr(address), sizeof(section)));
  const uint64_t end = section.start_ip + section.post_commit_offset;
  if (!IsUserAddress(section.start_ip) || !IsUserAddress(end) || end < section.start_ip ||
      !IsUserAddress(section.abort_ip) || section.version > 0 ||
      section.abort_ip - section.start_ip < section.post_commit_offset) {
    return Errno::kINVAL;
  }
  uint32_t found = 0;
  TRY(mm.CopyIn(&found, VirtAddr(section.abort_ip - sizeof(found)), sizeof(found)));
  if (found != signature) return Errno::kINVAL;
  return section;
}

}  // namespace

Result<void> Task::RegisterRseq(const RseqArea& area) {
  if (!rseq_.address.is_null()) {
    if (rseq_.address != area.address || rseq_.length != area.length) return Errno::kINVAL;
    return rseq_.signature != area.signature ? Errno::kPERM : Errno::kBUSY;
  }
  if (area.length < kLeastLength || area.address.value() % kAlignment != 0) return Errno::kINVAL;
  if (area.address.is_null()) return Errno::kFAULT;
  const uint64_t none = 0;  // what was left there is no section of this registration
  TRY(mm_->CopyOut(VirtAddr(area.address.value() + kSection), &none, sizeof(none)));
  rseq_ = area;
  return Ok();
}

Result<void> Task::UnregisterRseq(const RseqArea& area) {
  if (rseq_.address.is_null() || rseq_.address != area.address || rseq_.length != area.length) {
    return Errno::kINVAL;
  }
  if (rseq_.signature != area.signature) return Errno::kPERM;
  TRY(StoreNumbers(*mm_, rseq_.address, 0, kNoCpu, 0));
  ForgetRseq();
  return Ok();
}

void Task::ForgetRseq() {
  rseq_ = {};
  cpu_number_.store(-1);
  group_->cpu_numbers().Drop(std::exchange(cpu_turn_, {}));
}

std::optional<uint32_t> Task::cpu_number() const {
  const int64_t number = cpu_number_.load();
  if (number < 0) return std::nullopt;
  return static_cast<uint32_t>(number);
}

void Task::RestartRseq() {
  rseq_event_.store(true);
  // EnterGuest sets in_guest_ before it looks at the event.
  absl::MutexLock lock(&task_tree_mutex);  // the context lives until the task has finished
  if (!finished_ && in_guest_.load() && cpu_number_.load() >= 0) context_->Interrupt();
}

// Before the guest: a number for the task, and its area in order. False when something else has to
// be done first.
bool Task::PrepareRseq() {
  CpuNumbers& numbers = group_->cpu_numbers();
  if (!rseq_event_.load() && numbers.Resume(cpu_turn_)) return true;
  const bool told = rseq_event_.exchange(false);
  const CpuMask allowed = settings().affinity;
  const bool keeps = told && Allows(allowed, cpu_turn_.number) && numbers.Resume(cpu_turn_);
  if (!keeps) {
    const int host = sched_getcpu();
    const uint32_t any = host < 0 ? 0 : static_cast<uint32_t>(host) % kernel_->options().cpus;
    const uint32_t best = cpu_turn_.serial != 0 ? cpu_turn_.number : any;
    const Result<CpuNumbers::Turn> turn = numbers.Take(this, cpu_turn_, best, allowed);
    cpu_turn_ = turn.ok() ? *turn : CpuNumbers::Turn{};
    if (!turn.ok()) return false;
  }
  if (AbortCriticalSection() && StoreCpuNumber(cpu_turn_.number).ok()) return true;
  numbers.Leave(cpu_turn_);
  ForceSignal(SigInfo::Kernel(SigNo::kSegv));
  return false;
}

Result<void> Task::StoreCpuNumber(uint32_t number) {
  if (cpu_number_.load() == number) return Ok();
  cpu_number_.store(number);
  // No two threads of the process have the same number: it is as good as a concurrency id.
  return StoreNumbers(*mm_, rseq_.address, number, number, number);
}

bool Task::AbortCriticalSection() { return LeaveCriticalSection().ok(); }

Result<void> Task::LeaveCriticalSection() {
  const VirtAddr word(rseq_.address.value() + kSection);
  uint64_t address = 0;
  TRY(mm_->CopyIn(&address, word, sizeof(address)));
  if (address == 0) return Ok();
  const CriticalSection section = TRY(LoadSection(*mm_, address, rseq_.signature));
  const bool inside = ProgramCounter(arch_) - section.start_ip < section.post_commit_offset;
  if (inside) {
    // Flags that would forbid the abort are gone from Linux: whoever sets one is killed.
    uint32_t flags = 0;
    TRY(mm_->CopyIn(&flags, VirtAddr(rseq_.address.value() + kFlags), sizeof(flags)));
    if ((flags | section.flags) != 0) return Errno::kINVAL;
  }
  const uint64_t none = 0;
  TRY(mm_->CopyOut(word, &none, sizeof(none)));
  if (!inside) return Ok();
  LeaveCall(arch_);
  SetProgramCounter(arch_, section.abort_ip);
  return Ok();
}

void Task::Doze(int64_t ns) {
  context_->Release();
  (void)sleeper_.Sleep(ns == 0 ? Deadline::Never() : Deadline::After(ns));
}

}  // namespace ringfence::sentry
