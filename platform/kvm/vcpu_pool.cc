#include "platform/kvm/vcpu_pool.h"

#include <algorithm>
#include <ctime>

namespace ringfence::kvm {
namespace {

int64_t NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

constexpr int64_t kSliceNanos = VcpuPool::kSliceMillis * int64_t{1000000};
const absl::Duration kSlice = absl::Milliseconds(VcpuPool::kSliceMillis);

}  // namespace

VcpuPool::VcpuPool(unsigned max_vcpus, Factory factory)
    : max_vcpus_(max_vcpus), factory_(std::move(factory)) {}

VcpuPool::~VcpuPool() = default;

VcpuPool::Slot* VcpuPool::FindFree(VcpuClient* client) {
  Slot* any = nullptr;
  for (auto& slot : slots_) {
    if (slot->client != nullptr) continue;
    if (slot->last_client == client) return slot.get();
    if (any == nullptr) any = slot.get();
  }
  return any;
}

Result<VcpuPool::Slot*> VcpuPool::Grow() {
  auto slot = std::make_unique<Slot>();
  slot->vcpu = TRY(factory_(static_cast<unsigned>(slots_.size())));
  slots_.push_back(std::move(slot));
  return slots_.back().get();
}

PooledVcpu* VcpuPool::Lend(Slot* slot, VcpuClient* client) {
  if (slot->last_client != nullptr && slot->last_client != client) {
    handovers_.fetch_add(1, std::memory_order_relaxed);
  }
  slot->client = client;
  slot->last_client = client;
  slot->vcpu->slice_start_.store(NowNanos(), std::memory_order_relaxed);
  return slot->vcpu.get();
}

Result<PooledVcpu*> VcpuPool::Acquire(VcpuClient* client) {
  absl::MutexLock lock(&mu_);
  if (waiters_.empty()) {
    if (Slot* slot = FindFree(client)) return Lend(slot, client);
    if (slots_.size() < max_vcpus_) {
      Result<Slot*> grown = Grow();
      if (grown.ok()) return Lend(*grown, client);
      // With at least one vCPU everybody gets a turn.
      if (slots_.empty()) return grown.error();
    }
  }
  return Wait(client);
}

Result<PooledVcpu*> VcpuPool::Wait(VcpuClient* client) {
  Waiter self{client, nullptr, {}};
  waiters_.push_back(&self);
  // Before the client's flag is read: StopWaiting reads them in the other order.
  waiting_.store(static_cast<uint32_t>(waiters_.size()), std::memory_order_seq_cst);
  while (self.granted == nullptr) {
    Slot* slot = nullptr;
    const bool stop = client->ShouldStopWaiting();
    if (!stop && waiters_.front() == &self) slot = Reclaim();
    if (stop || slot != nullptr) {
      waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &self));
      waiting_.store(static_cast<uint32_t>(waiters_.size()), std::memory_order_relaxed);
      if (!waiters_.empty()) waiters_.front()->cv.Signal();
      if (stop) return Errno::kINTR;
      return Lend(slot, client);
    }
    if (waiters_.front() == &self) {
      self.cv.WaitWithTimeout(&mu_, kSlice / 4);
    } else {
      self.cv.Wait(&mu_);
    }
  }
  return self.granted;
}

VcpuPool::Slot* VcpuPool::Reclaim() {
  if (Slot* slot = FindFree(nullptr)) return slot;
  Slot* oldest = nullptr;
  const int64_t now = NowNanos();
  for (auto& slot : slots_) {
    const bool expired =
        now - slot->vcpu->slice_start_.load(std::memory_order_relaxed) >= kSliceNanos;
    if ((expired || slot->client->IsReleased()) && slot->client->TryLose()) {
      slot->client = nullptr;
      return slot.get();
    }
    if (expired &&
        (oldest == nullptr || slot->vcpu->slice_start_.load(std::memory_order_relaxed) <
                                  oldest->vcpu->slice_start_.load(std::memory_order_relaxed))) {
      oldest = slot.get();
    }
  }
  if (oldest != nullptr) oldest->client->AskToYield();
  return nullptr;
}

void VcpuPool::Yield(VcpuClient* client, PooledVcpu* vcpu) {
  absl::MutexLock lock(&mu_);
  Slot* slot = slots_[vcpu->index()].get();
  if (slot->client != client) return;
  slot->client = nullptr;
  if (waiters_.empty()) return;
  Waiter* next = waiters_.front();
  waiters_.pop_front();
  waiting_.store(static_cast<uint32_t>(waiters_.size()), std::memory_order_relaxed);
  next->granted = Lend(slot, next->client);
  next->cv.Signal();
  if (!waiters_.empty()) waiters_.front()->cv.Signal();
}

void VcpuPool::StopWaiting(VcpuClient* client) {
  if (waiting_.load(std::memory_order_seq_cst) == 0) return;
  absl::MutexLock lock(&mu_);
  for (Waiter* waiter : waiters_) {
    if (waiter->client == client) waiter->cv.Signal();
  }
}

void VcpuPool::StartSlice(PooledVcpu* vcpu) {
  vcpu->slice_start_.store(NowNanos(), std::memory_order_relaxed);
}

bool VcpuPool::SliceUsedUp(const PooledVcpu* vcpu) const {
  return NowNanos() - vcpu->slice_start_.load(std::memory_order_relaxed) >= kSliceNanos;
}

void VcpuPool::Synchronize() { absl::MutexLock lock(&mu_); }

void VcpuPool::ForEach(const std::function<void(PooledVcpu*)>& fn) {
  absl::MutexLock lock(&mu_);
  for (auto& slot : slots_) fn(slot->vcpu.get());
}

}  // namespace ringfence::kvm
