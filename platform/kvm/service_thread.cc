#include "platform/kvm/service_thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <csignal>
#include <ctime>

#include "platform/kvm/arch/x86_64/answer_unsafe.h"
#include "platform/kvm/arch/x86_64/cpu_relax.h"

namespace ringfence::kvm {
namespace {

// Looks at the gates between two looks at the clock.
constexpr unsigned kSweepsPerClock = 64;

int64_t Nanos(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

int64_t NowNanos() { return Nanos(CLOCK_MONOTONIC); }

// Times this thread lost its CPU to somebody else.
long Preemptions() {
  rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

}  // namespace

ServiceThread::ServiceThread(const ExitlessPolicy& policy, unsigned max_vcpus, uint32_t spin_limit,
                             uint32_t turn_spins, Stats* stats)
    : enabled_(policy.enabled()),
      spin_limit_(spin_limit),
      turn_spins_(turn_spins),
      idle_ns_(policy.IdleNanos()),
      max_unserved_(policy.MaxUnserved()),
      whole_stores_(HasWholeStores()),
      stats_(stats),
      gates_(max_vcpus),
      policy_(policy) {}

ServiceThread::~ServiceThread() {
  std::thread thread;
  {
    absl::MutexLock lock(&mu_);
    stop_.store(true, std::memory_order_relaxed);
    thread.swap(thread_);
  }
  if (thread.joinable()) thread.join();
}

void ServiceThread::Register(CallGate* gate) {
  const uint32_t index = gate_count_.load(std::memory_order_relaxed);
  gates_[index].store(gate, std::memory_order_relaxed);
  gate_count_.store(index + 1, std::memory_order_release);
}

void ServiceThread::OnExitedCall(Burst* burst) {
  if (!enabled_ || active()) return;
  if (burst->calls++ == 0) {
    burst->start = NowNanos();
    return;
  }
  if (burst->calls < ExitlessPolicy::kBurstCalls) return;
  burst->calls = 0;
  const int64_t now = NowNanos();
  absl::MutexLock lock(&mu_);
  if (!policy_.ShouldWake(now, now - burst->start)) return;
  wanted_ = true;
  if (!thread_.joinable() && !stop_.load(std::memory_order_relaxed)) {
    // Signals of the process are other threads' business.
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    thread_ = std::thread([this] { Main(); });
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }
}

void ServiceThread::OnNotServed() {
  not_served_.fetch_add(1, std::memory_order_relaxed);
  if (not_served_in_a_row_.fetch_add(1, std::memory_order_relaxed) + 1 >= max_unserved_) {
    active_.store(false, std::memory_order_relaxed);
  }
}

void ServiceThread::Main() {
  pthread_setname_np(pthread_self(), "service");
  const auto awake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return wanted_ || stop_.load(std::memory_order_relaxed);
  };
  while (!stop_.load(std::memory_order_relaxed)) {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&awake));
      wanted_ = false;
    }
    not_served_in_a_row_.store(0, std::memory_order_relaxed);
    active_.store(true, std::memory_order_relaxed);
    Poll();
    active_.store(false, std::memory_order_relaxed);
    StopPosting();
  }
}

void ServiceThread::StopPosting() {
  const uint32_t count = gate_count_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i) {
    CallGate& gate = *gates_[i].load(std::memory_order_relaxed);
    if (!gate.TryEnter()) continue;
    gate.page()->mode.store(0, std::memory_order_relaxed);
    gate.Leave();
  }
}

void ServiceThread::Poll() {
  ExitlessPolicy::Window window = {NowNanos(), 0, 0, 0, 0, 0, 0};
  int64_t last_call = window.start;
  int64_t used = Nanos(CLOCK_THREAD_CPUTIME_ID);
  long preemptions = Preemptions();
  uint64_t not_served = not_served_.load(std::memory_order_relaxed);
  while (!stop_.load(std::memory_order_relaxed)) {
    const uint64_t served = window.served;
    for (unsigned i = 0; i < kSweepsPerClock; ++i) {
      // A guest that has its answer writes its next call about this long; to look meanwhile takes
      // the line away from it in the middle of that.
      for (uint32_t n = Sweep(&window) ? turn_spins_ : 1; n > 0; --n) CpuRelax();
    }
    const int64_t now = NowNanos();
    if (window.served != served) last_call = now;
    const bool idle = now - last_call >= idle_ns_;
    if (now - window.start < ExitlessPolicy::kWindowNanos && !idle) continue;
    window.end = now;
    const int64_t used_now = Nanos(CLOCK_THREAD_CPUTIME_ID);
    const long preemptions_now = Preemptions();
    const uint64_t not_served_now = not_served_.load(std::memory_order_relaxed);
    // Without a preemption it gave up the CPU itself, waiting for a lock or for a disk.
    if (preemptions_now != preemptions) window.lost = now - window.start - (used_now - used);
    window.not_served = not_served_now - not_served;
    Count(stats_->spin_ns, static_cast<uint64_t>(used_now - used));
    {
      absl::MutexLock lock(&mu_);
      if (!policy_.KeepPolling(window) || idle) {
        wanted_ = false;  // asked for before the verdict
        return;
      }
    }
    if (!active()) {
      // Guests gave it up while it waited for a CPU, which it has again.
      not_served_in_a_row_.store(0, std::memory_order_relaxed);
      active_.store(true, std::memory_order_relaxed);
    }
    window = {now, 0, 0, 0, 0, 0, 0};
    used = used_now;
    preemptions = preemptions_now;
    not_served = not_served_now;
  }
}

bool ServiceThread::Sweep(ExitlessPolicy::Window* window) {
  ++window->looks;
  bool called = false;
  const uint32_t count = gate_count_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i) {
    CallGate& gate = *gates_[i].load(std::memory_order_relaxed);
    if (!gate.IsOpen()) continue;
    ++window->running;
    if (gate.page()->state.load(std::memory_order_relaxed) != CallPage::kPosted) continue;
    called = true;
    TryServe(gate, window);
  }
  return called;
}

void ServiceThread::TryServe(CallGate& gate, ExitlessPolicy::Window* window) {
  if (!gate.TryEnter()) return;
  // From here on until Leave the vCPU stays with its context and address space, and nobody else
  // answers.
  CallPage& page = *gate.page();
  if (page.state.load(std::memory_order_acquire) == CallPage::kPosted) {
    page.serving.store(1, std::memory_order_relaxed);
    platform::SyscallRequest request;
    request.number = page.rax.load(std::memory_order_relaxed);
    for (int i = 0; i < 6; ++i) request.args[i] = page.args[i].load(std::memory_order_relaxed);
    if (page.trapped.load(std::memory_order_relaxed) != 0) {
      request.trapped_after = page.after.load(std::memory_order_relaxed);
    }
    int64_t result = 0;
    // What is counted is counted before the answer: a locked operation after the store would wait
    // until the guest's CPU has let go of the line.
    if (gate.service()->Serve(request, &result)) {
      CountAlone(stats_->exitless_calls);
      if (request.trapped_after != 0) Count(stats_->trapped_calls);
      ++window->served;
      not_served_in_a_row_.store(0, std::memory_order_relaxed);
      Answer(page, result, whole_stores_);
    } else {
      gate.SetPunted();
      CountAlone(stats_->exitless_punts);
      ++window->punted;
      page.state.store(CallPage::kPunt, std::memory_order_release);
    }
    page.serving.store(0, std::memory_order_release);
  }
  gate.Leave();
}

}  // namespace ringfence::kvm
