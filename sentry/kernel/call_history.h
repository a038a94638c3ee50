// CallHistory: the last system calls of a task, for `ringfence debug`. One writer at a time (the
// task's own thread, or a service thread while that waits), readers on any thread: entries that
// change while they are read are left out. Nothing waits; recording is a dozen plain stores.
#ifndef RINGFENCE_SENTRY_KERNEL_CALL_HISTORY_H_
#define RINGFENCE_SENTRY_KERNEL_CALL_HISTORY_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "platform/api/platform.h"

namespace ringfence::sentry {

class CallHistory {
 public:
  static constexpr size_t kCalls = 8;

  struct Call {
    uint64_t number = 0;
    std::array<uint64_t, 6> args{};
    bool finished = false;
    int64_t result = 0;  // as in rax
  };

  void Begin(const platform::SyscallRequest& request) {
    Entry& entry = entries_[next_.load(std::memory_order_relaxed) % kCalls];
    const uint32_t version = entry.version.load(std::memory_order_relaxed);
    entry.version.store(version + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    entry.number.store(request.number, std::memory_order_relaxed);
    for (size_t i = 0; i < entry.args.size(); ++i) {
      entry.args[i].store(request.args[i], std::memory_order_relaxed);
    }
    entry.finished.store(false, std::memory_order_relaxed);
    entry.version.store(version + 2, std::memory_order_release);
    next_.store(next_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // Of the call that began last.
  void End(int64_t result) {
    Entry& entry = entries_[(next_.load(std::memory_order_relaxed) - 1) % kCalls];
    entry.result.store(result, std::memory_order_relaxed);
    entry.finished.store(true, std::memory_order_release);
  }

  // The oldest first; the newest may not have finished.
  std::vector<Call> Read() const;

 private:
  struct Entry {
    std::atomic<uint32_t> version{0};  // odd: being written
    std::atomic<bool> finished{false};
    std::atomic<uint64_t> number{0};
    std::array<std::atomic<uint64_t>, 6> args{};
    std::atomic<int64_t> result{0};
  };
  std::array<Entry, kCalls> entries_;
  std::atomic<uint64_t> next_{0};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_CALL_HISTORY_H_
