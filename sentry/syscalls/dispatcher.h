// TableDispatcher: serves system calls by the table (table.h).
//
// One per sandbox. Counts every row, answers rows without a handler with their errno and logs each
// of those once, prints calls when tracing is on (strace(1)'s format, "[pid] name(args) = value").
// Threads: any.
#ifndef RINGFENCE_SENTRY_SYSCALLS_DISPATCHER_H_
#define RINGFENCE_SENTRY_SYSCALLS_DISPATCHER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentry/kernel/syscall_dispatcher.h"
#include "sentry/syscalls/services.h"
#include "sentry/syscalls/table.h"

namespace ringfence::sentry {

class TableDispatcher final : public SyscallDispatcher {
 public:
  using LineSink = std::function<void(std::string_view line)>;  // without newline; any thread
  struct Options {
    SyscallServices services;
    LineSink trace;  // --strace; null = off
    LineSink log;    // calls that are not implemented; null = off
  };
  explicit TableDispatcher(Options options);
  // For boot, whose services need the kernel that needs the dispatcher. Before init starts.
  void SetServices(SyscallServices services) { options_.services = std::move(services); }

  int64_t Dispatch(Task& task, const platform::SyscallRequest& request) override;
  bool IsExitless(uint64_t number) const override;
  bool ServeNonBlocking(Task& task, const platform::SyscallRequest& request,
                        int64_t* result) override;

  struct Count {
    const SyscallRow* row;
    uint64_t calls;
  };
  // Rows that were called, by number.
  std::vector<Count> Counts() const;
  uint64_t unknown_calls() const { return unknown_.load(std::memory_order_relaxed); }

 private:
  // Calls the handler, or answers for what has none.
  int64_t Serve(int row, Task& task, const platform::SyscallRequest& request, bool may_block);
  int64_t ServeUnknown(Task& task, const platform::SyscallRequest& request);
  void LogOnce(const SyscallRow& row, int position, Task& task);
  int64_t DispatchTraced(int row, Task& task, const platform::SyscallRequest& request);

  Options options_;
  std::array<std::atomic<uint64_t>, kMaxSyscall + 1> counts_{};  // by position in the table
  std::array<std::atomic<bool>, kMaxSyscall + 1> logged_{};
  std::atomic<uint64_t> unknown_{0};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_DISPATCHER_H_
