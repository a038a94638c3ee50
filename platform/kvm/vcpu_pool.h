// VcpuPool: at most max_vcpus virtual CPUs, made when first needed, lent to clients (contexts).
//
// A vCPU is a CPU of the sandbox: its client has it in the guest and while it serves a call of the
// guest, and releases it to block. It keeps it between uses while nobody else wants it. When all
// are lent, clients wait in a queue; the first takes a vCPU that is released, or asks the clients
// whose time slices are over to give theirs back when they next enter the guest. One that does
// neither for long, since it waits for something in the host, loses it.
//
// The queue is ordered by the CPU time that clients have used since it began to be (sched(7),
// SCHED_OTHER, in short): a client that mostly sleeps comes before those that always run, and stops
// one of them before its slice is over; a new client starts a slice behind its parent. So the
// processes of a fork bomb fight for CPUs among themselves, and the shell that is to end it, with
// its children, comes first.
//
// Only the first in the queue looks for a vCPU; the others sleep until they are the first, are
// given one or are told to stop: thousands of them cost nothing.
//
// Lock order: the pool's mutex is held while VcpuClient::TryLose runs, and is taken by StopWaiting;
// clients call the rest of the pool with none of their own locks held.
//
// Threads: any.
#ifndef RINGFENCE_PLATFORM_KVM_VCPU_POOL_H_
#define RINGFENCE_PLATFORM_KVM_VCPU_POOL_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "platform/base/result.h"

namespace ringfence::kvm {

// What the pool knows of a vCPU.
class PooledVcpu {
 public:
  explicit PooledVcpu(unsigned index) : index_(index) {}
  virtual ~PooledVcpu() = default;
  unsigned index() const { return index_; }

 private:
  friend class VcpuPool;
  const unsigned index_;
  std::atomic<int64_t> slice_start_{0};  // CLOCK_MONOTONIC, ns
};

class VcpuClient {
 public:
  virtual ~VcpuClient() = default;
  // Gives up the vCPU if the client is not using it right now, having saved what is in it; called
  // by another client's thread under the pool's mutex.
  virtual bool TryLose() = 0;
  // The client has released its vCPU: it may be taken before the slice ends.
  virtual bool IsReleased() const = 0;
  // Asks a client that is using its vCPU to call Yield soon. Any thread.
  virtual void AskToYield() = 0;
  // A waiting client that should stop waiting (an interrupt is pending): what makes it true is
  // followed by StopWaiting.
  virtual bool ShouldStopWaiting() const = 0;
  // CPU time its thread has used so far, in ns; called by that thread.
  virtual int64_t CpuNanos() const = 0;

 private:
  friend class VcpuPool;
  // Of the pool, under its mutex.
  uint64_t first_period_ = 0;  // when it first asked for a vCPU; 0 = never
  uint64_t period_ = 0;        // which one share_ is of
  int64_t share_ = 0;          // CPU time in the period, ns, on a scale all clients share
  int64_t counted_ = 0;        // CpuNanos() when it was last added to share_
};

class VcpuPool {
 public:
  using Factory = std::function<Result<std::unique_ptr<PooledVcpu>>(unsigned index)>;
  static constexpr int kSliceMillis = 5;
  // After this long outside of the guest a client may lose its vCPU.
  static constexpr int kStuckMillis = 100;

  VcpuPool(unsigned max_vcpus, Factory factory);
  ~VcpuPool();

  // A vCPU for `client`; waits for one. EINTR when the client should stop waiting, ENOMEM and
  // others when no vCPU could be made and there is none at all.
  Result<PooledVcpu*> Acquire(VcpuClient* client);
  // Gives a vCPU back; the client has saved what it needs.
  void Yield(VcpuClient* client, PooledVcpu* vcpu);
  // `child`, which has never asked for a vCPU, was made by `parent` and queues right behind it.
  void Inherit(const VcpuClient& parent, VcpuClient* child);
  // `client` should stop waiting (ShouldStopWaiting has become true), if it waits at all.
  void StopWaiting(VcpuClient* client);
  // The slice of a vCPU that has just been acquired begins now.
  void StartSlice(PooledVcpu* vcpu);
  // Does anybody wait? One load.
  bool Contended() const { return waiting_.load(std::memory_order_relaxed) != 0; }
  // Waits for a thief that is saving the client's state.
  void Synchronize();

  // Calls fn for each vCPU that exists; they live as long as the pool.
  void ForEach(const std::function<void(PooledVcpu*)>& fn);
  uint64_t handovers() const { return handovers_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    std::unique_ptr<PooledVcpu> vcpu;
    VcpuClient* client = nullptr;  // null = free
    VcpuClient* last_client = nullptr;
    int64_t asked_ns = 0;  // when the client was asked to yield; 0 = not
  };
  struct Waiter {
    VcpuClient* client;
    PooledVcpu* granted = nullptr;
    absl::CondVar cv;
  };

  Slot* FindFree(VcpuClient* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<Slot*> Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  PooledVcpu* Lend(Slot* slot, VcpuClient* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes a vCPU from somebody for `client`, who is the first, or asks for some.
  Slot* Reclaim(const VcpuClient& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MustMakeRoom(const Slot& slot, const VcpuClient& client, int64_t now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Brings share_ of a client that is about to wait up to date.
  void Charge(VcpuClient* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<PooledVcpu*> Wait(VcpuClient* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const unsigned max_vcpus_;
  const Factory factory_;
  std::atomic<uint32_t> waiting_{0};
  std::atomic<uint64_t> handovers_{0};
  absl::Mutex mu_;
  std::vector<std::unique_ptr<Slot>> slots_ ABSL_GUARDED_BY(mu_);  // by vCPU index
  std::deque<Waiter*> waiters_ ABSL_GUARDED_BY(mu_);               // by share_, then by arrival
  uint64_t period_ ABSL_GUARDED_BY(mu_) = 1;  // counts how often the queue began
  int64_t floor_ ABSL_GUARDED_BY(mu_) = 0;    // the largest share_ that got a vCPU
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_VCPU_POOL_H_
