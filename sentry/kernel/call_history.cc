#include "sentry/kernel/call_history.h"

namespace ringfence::sentry {

std::vector<CallHistory::Call> CallHistory::Read() const {
  std::vector<Call> calls;
  const uint64_t end = next_.load(std::memory_order_acquire);
  for (uint64_t i = end < kCalls ? 0 : end - kCalls; i < end; ++i) {
    const Entry& entry = entries_[i % kCalls];
    const uint32_t before = entry.version.load(std::memory_order_acquire);
    Call call;
    call.number = entry.number.load(std::memory_order_relaxed);
    for (size_t a = 0; a < call.args.size(); ++a) {
      call.args[a] = entry.args[a].load(std::memory_order_relaxed);
    }
    call.finished = entry.finished.load(std::memory_order_acquire);
    call.result = entry.result.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    const uint32_t after = entry.version.load(std::memory_order_relaxed);
    if (before == after && before % 2 == 0) calls.push_back(call);
  }
  return calls;
}

}  // namespace ringfence::sentry
