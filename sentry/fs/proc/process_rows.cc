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

Result<void> SetOomScoreAdjust(const CallContext& ctx, const ProcPlace& place,
                               std::string_view text) {
  constexpr int kCapSysResource = 24;
  int32_t value = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value) || value < -1000 ||
      value > 1000) {
    return Errno::kINVAL;
  }
  const TaskSnapshot task = TRY(TaskOf(place));
  if (value < task.oom_score_adj && !ctx.creds->HasCapability(kCapSysResource)) {
    return Errno::kACCES;
  }
  place.source->SetOomScoreAdjust(place.tid, value);
  return Ok();
}

std::string Mounts(const TaskSnapshot& task, const ProcSource& source) {
  std::string text;
  if (task.fs == nullptr) return text;
  for (const auto& m : source.Mounts(*task.fs)) {
    absl::StrAppend(&text, m.source, " ", m.path, " ", m.type, " ", m.options, " 0 0\n");
  }
  return text;
}

std::string MountInfo(const TaskSnapshot& task, const ProcSource& source) {
  std::string text;
  if (task.fs == nullptr) return text;
  for (const auto& m : source.Mounts(*task.fs)) {
    absl::StrAppend(&text, m.id, " ", m.parent_id, " 0:", m.device, " ", m.root, " ", m.path, " ",
                    m.options, " - ", m.type, " ", m.source, " ", m.options, "\n");
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

Result<std::string> UnixSockets(const CallContext&, const ProcPlace& place) {
  return place.source->UnixSockets();
}

const std::vector<ProcRow>& NetRows() {
  static const std::vector<ProcRow> rows = {TextRow("unix", 0444, UnixSockets)};
  return rows;
}

}  // namespace

const std::vector<ProcRow>& ProcProcessRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("auxv", 0400, Private(AuxiliaryVector)),
      TextRow("cmdline", 0444, Of(CmdLine)),
      TextRow("comm", 0644, Of(Comm), SetComm),
      LinkRow("cwd", FsLink<Cwd>, FsDentry<Cwd>),
      TextRow("environ", 0400, Private(Environment)),
      LinkRow("exe", ExeLink, ExeDentry),
      TextRow("limits", 0444, Of(ProcessLimits)),
      TextRow("maps", 0444, Private(ProcessMaps)),
      {"mem", S_IFREG, MakeProcMem},
      TextRow("mountinfo", 0444, Of(MountInfo)),
      TextRow("mounts", 0444, Of(Mounts)),
      TableRow("net", &NetRows()),
      TextRow("oom_score_adj", 0644, Of(OomScoreAdjust), SetOomScoreAdjust),
      LinkRow("root", FsLink<Root>, FsDentry<Root>),
      TextRow("stat", 0444, Of(ProcessStat)),
      TextRow("statm", 0444, Of(ProcessStatm)),
      TextRow("status", 0444, Of(ProcessStatus)),
  };
  return rows;
}

}  // namespace ringfence::sentry
