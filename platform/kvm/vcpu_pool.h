// VcpuPool: at most max_vcpus virtual CPUs, made when first needed, lent to clients (contexts).
//
// A client keeps its vCPU between uses while nobody else wants it. When all are lent, clients wait
// in order of arrival; the first in the queue takes a vCPU whose client is outside the guest and
// has used up its time slice (or has released it), or else asks the client with the oldest slice to
// stop.
//
// Only the first in the queue looks for a vCPU; the others sleep until they are the first, are
// given one or are told to stop: thousands of them (a fork bomb) cost nothing.
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
};

class VcpuPool {
 public:
  using Factory = std::function<Result<std::unique_ptr<PooledVcpu>>(unsigned index)>;
  static constexpr int kSliceMillis = 5;

  VcpuPool(unsigned max_vcpus, Factory factory);
  ~VcpuPool();

  // A vCPU for `client`; waits for one. EINTR when the client should stop waiting, ENOMEM and
  // others when no vCPU could be made and there is none at all.
  Result<PooledVcpu*> Acquire(VcpuClient* client);
  // Gives a vCPU back; the client has saved what it needs.
  void Yield(VcpuClient* client, PooledVcpu* vcpu);
  // `client` should stop waiting (ShouldStopWaiting has become true), if it waits at all.
  void StopWaiting(VcpuClient* client);
  // The slice of a vCPU that has just been acquired begins now.
  void StartSlice(PooledVcpu* vcpu);
  // Does anybody wait? One load.
  bool Contended() const { return waiting_.load(std::memory_order_relaxed) != 0; }
  bool SliceUsedUp(const PooledVcpu* vcpu) const;
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
  };
  struct Waiter {
    VcpuClient* client;
    PooledVcpu* granted = nullptr;
    absl::CondVar cv;
  };

  Slot* FindFree(VcpuClient* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<Slot*> Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  PooledVcpu* Lend(Slot* slot, VcpuClient* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes a vCPU from somebody or asks for one.
  Slot* Reclaim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<PooledVcpu*> Wait(VcpuClient* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const unsigned max_vcpus_;
  const Factory factory_;
  std::atomic<uint32_t> waiting_{0};
  std::atomic<uint64_t> handovers_{0};
  absl::Mutex mu_;
  std::vector<std::unique_ptr<Slot>> slots_ ABSL_GUARDED_BY(mu_);  // by vCPU index
  std::deque<Waiter*> waiters_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_VCPU_POOL_H_
