#include "sentry/boot/task_report.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sentry/strace/format.h"
#include "sentry/syscalls/table.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kMaxName = 200;

// What a descriptor is, as /proc/PID/fd shows it.
std::string DescriptorName(FdTable& fds, int32_t number) {
  const Result<FileRef> file = fds.Get(Fd{number});
  if (!file.ok()) return "closed";
  const DentryRef& dentry = (*file)->dentry();
  std::string name = dentry == nullptr ? (*file)->AnonymousName() : Vfs::AbsolutePathOf(dentry);
  if (name.size() > kMaxName) name = name.substr(0, kMaxName) + "...";
  return name;
}

std::string Arguments(Task& task, const SyscallRow& row, const CallHistory::Call& call) {
  // The memory of a finished call may say something else by now: addresses stay addresses.
  const MemoryManagerRef mm = call.finished ? nullptr : task.mm_ref();
  const auto read = [&](void* dst, VirtAddr src, size_t n) -> size_t {
    if (mm == nullptr) return 0;
    const Result<size_t> got = mm->CopyInSome(dst, src, n);
    return got.ok() ? *got : 0;
  };
  const std::shared_ptr<FdTable> fds = call.finished ? nullptr : task.fds_ref();
  std::string text;
  for (int i = 0; i < row.arg_count(); ++i) {
    if (i != 0) text += ", ";
    const uint64_t next = i + 1 < 6 ? call.args[i + 1] : 0;
    // What the call fills in is not there yet: -1, as when it failed.
    text += FormatArg(row.args[i], call.args[i], next, -1, read);
    if (fds == nullptr || row.args[i] != ArgKind::kFd) continue;
    absl::StrAppend(&text, "<", DescriptorName(*fds, static_cast<int32_t>(call.args[i])), ">");
  }
  return text;
}

std::string Describe(Task& task, const CallHistory::Call& call) {
  const int position = FindSyscall(call.number);
  if (position < 0) return absl::StrCat("system call ", call.number);
  const SyscallRow& row = SyscallRows()[position];
  std::string text = absl::StrCat(row.name, "(", Arguments(task, row, call), ")");
  if (call.finished) {
    absl::StrAppend(&text, " ", FormatResult(call.result, row.returns_address()));
  }
  return text;
}

void ReportTask(Task& task, const std::function<void(std::string_view)>& line) {
  std::vector<CallHistory::Call> calls = task.history().Read();
  std::string doing = "in the program";
  if (!calls.empty() && !calls.back().finished) {
    doing = "in " + Describe(task, calls.back());
    calls.pop_back();
  }
  line(absl::StrCat("pid ", task.tgid(), " tid ", task.tid(), " ",
                    std::string(1, task.StateLetter()), " ", task.comm(), ": ", doing));
  for (const CallHistory::Call& call : calls) line("    " + Describe(task, call));
}

}  // namespace

void ReportTasks(const Kernel& kernel, const std::function<void(std::string_view)>& line) {
  size_t reported = 0;
  for (const ThreadGroupRef& group : kernel.ThreadGroups()) {
    const std::vector<TaskRef> tasks = group->Tasks();
    if (tasks.empty()) line(absl::StrCat("pid ", group->tgid(), " Z: has ended, not waited for"));
    for (const TaskRef& task : tasks) {
      if (reported++ == kMaxReportTasks) {
        line(absl::StrCat("... and more, ", kernel.NumTasks(), " tasks in all"));
        return;
      }
      ReportTask(*task, line);
    }
  }
}

}  // namespace ringfence::sentry
