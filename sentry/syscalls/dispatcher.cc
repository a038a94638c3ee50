#include "sentry/syscalls/dispatcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/strace/format.h"
#include "sentry/syscalls/syscall_context.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t ToRax(Errno error) { return -static_cast<int64_t>(error); }

RawArgs ToRawArgs(const platform::SyscallRequest& request) {
  RawArgs args;
  std::copy(std::begin(request.args), std::end(request.args), args.begin());
  return args;
}

// Calls that may leave nothing to finish the line with: printed when they start.
bool MayNotReturn(std::string_view name) {
  return name == "exit" || name == "exit_group" || name == "rt_sigreturn";
}

}  // namespace

TableDispatcher::TableDispatcher(Options options) : options_(std::move(options)) {}

int64_t TableDispatcher::Serve(int row, Task& task, const platform::SyscallRequest& request,
                               bool may_block) {
  const SyscallRow& entry = SyscallRows()[row];
  if (entry.handler == nullptr) {
    LogOnce(entry, row, task);
    return ToRax(entry.absent);
  }
  SyscallContext ctx(task, options_.services, request, may_block);
  const Result<int64_t> result = entry.handler(ctx);
  return result.ok() ? *result : ToRax(result.error());
}

int64_t TableDispatcher::ServeUnknown(Task& task, const platform::SyscallRequest& request) {
  if (unknown_.fetch_add(1, std::memory_order_relaxed) == 0 && options_.log) {
    options_.log(absl::StrCat("no system call has number ", request.number, " (task ", task.tid(),
                              ", ", task.comm(), "); further ones are not logged"));
  }
  return ToRax(Errno::kNOSYS);
}

void TableDispatcher::LogOnce(const SyscallRow& row, int position, Task& task) {
  if (!options_.log || logged_[position].exchange(true, std::memory_order_relaxed)) return;
  options_.log(absl::StrCat("system call ", row.name, " is not implemented (task ", task.tid(),
                            ", ", task.comm(), "): ", std::string(ErrnoName(row.absent))));
}

int64_t TableDispatcher::Dispatch(Task& task, const platform::SyscallRequest& request) {
  const int row = FindSyscall(request.number);
  if (row < 0) [[unlikely]]
    return ServeUnknown(task, request);
  counts_[row].fetch_add(1, std::memory_order_relaxed);
  task.history().Begin(request);
  const int64_t result = options_.trace ? DispatchTraced(row, task, request)
                                        : Serve(row, task, request, /*may_block=*/true);
  task.history().End(result);
  return result;
}

int64_t TableDispatcher::DispatchTraced(int row, Task& task,
                                        const platform::SyscallRequest& request) {
  const SyscallRow& entry = SyscallRows()[row];
  const std::string prefix = absl::StrCat("[", task.tid(), "] ");
  // execve replaces the mm: outputs are read from the one that is current then.
  const auto read = [&](void* dst, VirtAddr src, size_t n) -> size_t {
    const Result<size_t> got = task.mm().CopyInSome(dst, src, n);
    return got.ok() ? *got : 0;
  };
  const CallTrace trace(entry.name, entry.args, ToRawArgs(request), read);
  if (MayNotReturn(entry.name)) options_.trace(absl::StrCat(prefix, trace.Unfinished()));
  const int64_t result = Serve(row, task, request, /*may_block=*/true);
  if (!MayNotReturn(entry.name)) {
    options_.trace(absl::StrCat(prefix, trace.Finish(result, entry.returns_address(), read)));
  }
  return result;
}

bool TableDispatcher::IsExitless(uint64_t number) const {
  const int row = FindSyscall(number);
  return row >= 0 && SyscallRows()[row].thread == ServingThread::kAny && !options_.trace;
}

bool TableDispatcher::ServeNonBlocking(Task& task, const platform::SyscallRequest& request,
                                       int64_t* result) {
  const int row = FindSyscall(request.number);
  if (row < 0 || SyscallRows()[row].thread != ServingThread::kAny || options_.trace) return false;
  const int64_t value = Serve(row, task, request, /*may_block=*/false);
  // Restart codes mean a signal has to be handled first, on the task's own thread.
  if (value <= -512 && value >= -4095) return false;
  counts_[row].fetch_add(1, std::memory_order_relaxed);
  task.history().Begin(request);
  task.history().End(value);
  *result = value;
  return true;
}

std::vector<TableDispatcher::Count> TableDispatcher::Counts() const {
  std::vector<Count> counts;
  const absl::Span<const SyscallRow> rows = SyscallRows();
  for (size_t i = 0; i < rows.size(); ++i) {
    const uint64_t calls = counts_[i].load(std::memory_order_relaxed);
    if (calls != 0) counts.push_back({&rows[i], calls});
  }
  return counts;
}

}  // namespace ringfence::sentry
