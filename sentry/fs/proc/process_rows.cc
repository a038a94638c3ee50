// Text files and links of /proc/PID and /proc/PID/task/TID.
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/proc_inode.h"
#include "sentry/fs/proc/process_text.h"

namespace ringfence::sentry {
namespace {

using Text = std::string (*)(const TaskSnapshot&, const ProcSource&);

ProcGenerator Of(Text text) {
  return [text](const CallContext&, const ProcPlace& place) -> Result<std::string> {
    return text(TRY(TaskOf(place)), *place.source);
  };
}

ProcGenerator Private(Text text) {
  return [text](const CallContext& ctx, const ProcPlace& place) -> Result<std::string> {
    const TaskSnapshot task = TRY(TaskOf(place));
    TRY(CheckPrivate(ctx, task));
    return text(task, *place.source);
  };
}

// A range of the process's own memory: its arguments or environment, at most 2 MiB.
std::string Memory(const TaskSnapshot& task, VirtAddr start, VirtAddr end) {
  constexpr uint64_t kMost = 2 << 20;
  if (task.mm == nullptr || end <= start) return "";
  std::string bytes(std::min(end.value() - start.value(), kMost), '\0');
  const Result<size_t> n = task.mm->CopyInSome(bytes.data(), start, bytes.size());
  bytes.resize(n.ok() ? *n : 0);
  return bytes;
}

std::string CmdLine(const TaskSnapshot& task, const ProcSource&) {
  if (task.mm == nullptr) return "";
  const MemoryManager::ImageInfo image = task.mm->GetImageInfo();
  return Memory(task, image.arg_start, image.arg_end);
}

std::string Environment(const TaskSnapshot& task, const ProcSource&) {
  if (task.mm == nullptr) return "";
  const MemoryManager::ImageInfo image = task.mm->GetImageInfo();
  return Memory(task, image.env_start, image.env_end);
}

std::string AuxiliaryVector(const TaskSnapshot& task, const ProcSource&) {
  if (task.mm == nullptr) return "";
  const std::vector<uint64_t> auxv = task.mm->GetImageInfo().auxv;
  std::string bytes(auxv.size() * sizeof(uint64_t), '\0');
  if (!auxv.empty()) memcpy(bytes.data(), auxv.data(), bytes.size());
  return bytes;
}

std::string Comm(const TaskSnapshot& task, const ProcSource&) { return task.comm + "\n"; }

std::string OomScoreAdjust(const TaskSnapshot& task, const ProcSource&) {
  return absl::StrCat(task.oom_score_adj, "\n");
}

// The name of a thread of the caller's own process.
Result<void> SetComm(const CallContext& ctx, const ProcPlace& place, std::string_view text) {
  const TaskSnapshot task = TRY(TaskOf(place));
  if (task.tgid != ctx.tgid) return Errno::kINVAL;
  if (text.ends_with('\n')) text.remove_suffix(1);
  place.source->SetComm(place.tid, text.substr(0, text.find('\0')));
  return Ok();
}

constexpr int32_t kMinAdjust = -1000, kMaxAdjust = 1000;
// The older scale of oom_adj: -17 exempts, 15 is the most.
constexpr int32_t kMinOldAdjust = -16, kMaxOldAdjust = 15, kOldExempt = -17;

std::string OomAdjust(const TaskSnapshot& task, const ProcSource&) {
  const int32_t value = task.oom_score_adj == kMaxAdjust
                            ? kMaxOldAdjust
                            : task.oom_score_adj * -kOldExempt / kMaxAdjust;
  return absl::StrCat(value, "\n");
}

// A number as kstrtoint() of Linux reads it: EINVAL.
Result<int32_t> NumberIn(std::string_view text) {
  int32_t value = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value)) return Errno::kINVAL;
  return value;
}

bool HasResourceRight(const CallContext& ctx) {
  constexpr int kCapSysResource = 24;
  return ctx.creds->HasCapability(kCapSysResource);
}

Result<void> SetOomScoreAdjust(const CallContext& ctx, const ProcPlace& place,
                               std::string_view text) {
  const int32_t value = TRY(NumberIn(text));
  if (value < kMinAdjust || value > kMaxAdjust) return Errno::kINVAL;
  const TaskSnapshot task = TRY(TaskOf(place));
  const bool may_all = HasResourceRight(ctx);
  if (value < task.oom_score_adj_min && !may_all) return Errno::kACCES;
  place.source->SetOomScoreAdjust(
      place.tid, value, may_all ? ProcSource::AndMinimum::kYes : ProcSource::AndMinimum::kNo);
  return Ok();
}

Result<void> SetOomAdjust(const CallContext& ctx, const ProcPlace& place, std::string_view text) {
  const int32_t old = TRY(NumberIn(text));
  if ((old < kMinOldAdjust || old > kMaxOldAdjust) && old != kOldExempt) return Errno::kINVAL;
  const int32_t value = old == kMaxOldAdjust ? kMaxAdjust : old * kMaxAdjust / -kOldExempt;
  const TaskSnapshot task = TRY(TaskOf(place));
  if (value < task.oom_score_adj && !HasResourceRight(ctx)) return Errno::kACCES;
  place.source->SetOomScoreAdjust(place.tid, value, ProcSource::AndMinimum::kNo);
  return Ok();
}

// There are no control groups: everything is in the root of an empty version 2 hierarchy.
std::string ControlGroup(const TaskSnapshot&, const ProcSource&) { return "0::/\n"; }

std::string Personality(const TaskSnapshot& task, const ProcSource&) {
  return absl::StrFormat("%08x\n", task.personality);
}

// The kernel function that a task sleeps in. Ours are named after the call; no newline, as Linux.
Result<std::string> WaitChannel(const CallContext& ctx, const ProcPlace& place) {
  const TaskSnapshot task = TRY(TaskOf(place));
  if (task.waits_in.empty() || !CheckPrivate(ctx, task).ok()) return std::string("0");
  return "sys_" + task.waits_in;
}

// Whoever may not look into the memory of a task may not open the file.
Result<void> OwnersOnly(const CallContext& ctx, const ProcPlace& place) {
  return CheckPrivate(ctx, TRY(TaskOf(place)));
}

ProcRow MemoryRow(std::string_view name, Text text) {
  return TextRow(name, 0444, Private(text), nullptr, OwnersOnly);
}

constexpr std::string_view kMountSpecial = " \t\n\\", kDeviceSpecial = " \t\n\\#";

std::string Mounts(const TaskSnapshot& task, const ProcSource& source) {
  std::string text;
  if (task.fs == nullptr) return text;
  for (const auto& m : source.Mounts(*task.fs)) {
    absl::StrAppend(&text, EscapedText(m.source, kDeviceSpecial), " ",
                    EscapedText(m.path, kMountSpecial), " ", m.type, " ", m.options, " 0 0\n");
  }
  return text;
}

std::string MountInfo(const TaskSnapshot& task, const ProcSource& source) {
  std::string text;
  if (task.fs == nullptr) return text;
  for (const auto& m : source.Mounts(*task.fs)) {
    absl::StrAppend(&text, m.id, " ", m.parent_id, " 0:", m.device, " ",
                    EscapedText(m.root, kMountSpecial), " ", EscapedText(m.path, kMountSpecial),
                    " ", m.options, " - ", m.type, " ", EscapedText(m.source, kDeviceSpecial), " ",
                    m.options, "\n");
  }
  return text;
}

using PathOfTask = DentryRef (*)(const FsContext&);
DentryRef Cwd(const FsContext& fs) { return fs.cwd(); }
DentryRef Root(const FsContext& fs) { return fs.root(); }

template <PathOfTask path>
Result<DentryRef> FsDentry(const CallContext& ctx, const ProcPlace& place) {
  const TaskSnapshot task = TRY(TaskOf(place));
  TRY(CheckPrivate(ctx, task));
  if (task.fs == nullptr) return Errno::kNOENT;
  return path(*task.fs);
}

template <PathOfTask path>
Result<std::string> FsLink(const CallContext& ctx, const ProcPlace& place) {
  const DentryRef dentry = TRY(FsDentry<path>(ctx, place));
  return Vfs::AbsolutePathOf(dentry);
}

Result<std::string> ExeLink(const CallContext& ctx, const ProcPlace& place) {
  const TaskSnapshot task = TRY(TaskOf(place));
  TRY(CheckPrivate(ctx, task));
  if (task.mm == nullptr) return Errno::kNOENT;
  return task.mm->GetImageInfo().exe_path;
}

// The program's file, found again by its path: what was replaced meanwhile is not found.
Result<DentryRef> ExeDentry(const CallContext& ctx, const ProcPlace& place) {
  const TaskSnapshot task = TRY(TaskOf(place));
  TRY(CheckPrivate(ctx, task));
  if (task.mm == nullptr || task.fs == nullptr) return Errno::kNOENT;
  return Vfs::Resolve(ctx, {.fs = task.fs.get(), .start = nullptr},
                      task.mm->GetImageInfo().exe_path);
}

}  // namespace

const std::vector<ProcRow>& ProcProcessRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("auxv", 0400, Private(AuxiliaryVector), nullptr, OwnersOnly),
      TextRow("cgroup", 0444, Of(ControlGroup)),
      TextRow("cmdline", 0444, Of(CmdLine)),
      TextRow("comm", 0644, Of(Comm), SetComm),
      LinkRow("cwd", FsLink<Cwd>, FsDentry<Cwd>),
      TextRow("environ", 0400, Private(Environment), nullptr, OwnersOnly),
      LinkRow("exe", ExeLink, ExeDentry),
      TextRow("io", 0400, Private(ProcessIo)),
      TextRow("limits", 0444, Of(ProcessLimits)),
      MemoryRow("maps", ProcessMaps),
      {"mem", S_IFREG, MakeProcMem},
      TextRow("mountinfo", 0444, Of(MountInfo)),
      TextRow("mounts", 0444, Of(Mounts)),
      TableRow("net", &ProcNetRows()),
      MemoryRow("numa_maps", ProcessNumaMaps),
      TextRow("oom_adj", 0644, Of(OomAdjust), SetOomAdjust),
      TextRow("oom_score", 0444, Of(ProcessOomScore)),
      TextRow("oom_score_adj", 0644, Of(OomScoreAdjust), SetOomScoreAdjust),
      TextRow("personality", 0400, Private(Personality)),
      LinkRow("root", FsLink<Root>, FsDentry<Root>),
      MemoryRow("smaps", ProcessSmaps),
      MemoryRow("smaps_rollup", ProcessSmapsRollup),
      TextRow("stat", 0444, Of(ProcessStat)),
      TextRow("statm", 0444, Of(ProcessStatm)),
      TextRow("status", 0444, Of(ProcessStatus)),
      TextRow("wchan", 0444, WaitChannel),
  };
  return rows;
}

}  // namespace ringfence::sentry
