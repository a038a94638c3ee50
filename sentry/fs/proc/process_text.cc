#include "sentry/fs/proc/process_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kNsPerTick = 10'000'000;  // USER_HZ is 100
constexpr uint64_t kUnlimited = ~uint64_t{0};

MemoryManager::Usage UsageOf(const TaskSnapshot& task) {
  return task.mm == nullptr ? MemoryManager::Usage{} : task.mm->GetUsage();
}

MemoryManager::ImageInfo ImageOf(const TaskSnapshot& task) {
  return task.mm == nullptr ? MemoryManager::ImageInfo{} : task.mm->GetImageInfo();
}

const char* StateName(char state) {
  switch (state) {
    case 'R':
      return "R (running)";
    case 'S':
      return "S (sleeping)";
    case 'D':
      return "D (disk sleep)";
    case 'T':
      return "T (stopped)";
    default:
      return "Z (zombie)";
  }
}

std::string LimitText(uint64_t value) {
  return value == kUnlimited ? "unlimited" : absl::StrCat(value);
}

// What of the memory is whose: RssAnon, RssFile and RssShmem.
struct Resident {
  uint64_t anonymous = 0, file = 0, shared = 0;
};
Resident ResidentOf(const MemoryManager& mm) {
  Resident sum;
  mm.VisitUsage([&sum](const VmaInfo&, const VmaUsage& usage) {
    // Files of the host are clean to us, all memory of the sandbox is dirty.
    sum.anonymous += usage.anonymous;
    sum.file += usage.shared_clean + usage.private_clean;
    sum.shared += usage.shared_dirty + usage.private_dirty - usage.anonymous;
  });
  return sum;
}

uint64_t PageUpOf(VirtAddr addr) { return PageDown(addr.value() + kPageMask); }

size_t HighestFd(const TaskSnapshot& task) {
  size_t size = 64;  // the kernel's smallest table
  for (const Fd fd : task.fds->List()) {
    while (static_cast<size_t>(ToInt(fd)) >= size) size *= 2;
  }
  return size;
}

}  // namespace

std::string ProcessStat(const TaskSnapshot& task, const ProcSource&) {
  const MemoryManager::Usage usage = UsageOf(task);
  const MemoryManager::ImageInfo image = ImageOf(task);
  // Fields 1 to 52 of proc(5); what has no meaning here is 0.
  std::string text =
      absl::StrCat(task.tid, " (", task.comm, ") ", std::string(1, task.state), " ", task.ppid, " ",
                   task.pgid, " ", task.sid, " ", task.tty_device, " ", task.foreground_pgid,
                   " 4194304 ", task.minor_faults, " 0 ", task.major_faults, " 0 ");
  absl::StrAppend(&text, task.user_ns / kNsPerTick, " ", task.system_ns / kNsPerTick, " ",
                  task.children_user_ns / kNsPerTick, " ", task.children_system_ns / kNsPerTick,
                  " ", 20 + task.nice, " ", task.nice, " ", task.threads, " 0 ",
                  task.start_ns / kNsPerTick, " ", usage.virtual_bytes, " ",
                  usage.resident_bytes / kPageSize, " ", kUnlimited, " ");
  absl::StrAppend(&text, image.code_start.value(), " ", image.code_end.value(), " ",
                  image.stack_start.value(), " 0 0 ", task.pending & 0x7fffffff, " ",
                  task.blocked & 0x7fffffff, " ", task.ignored & 0x7fffffff, " ",
                  task.caught & 0x7fffffff, " 0 0 0 17 0 0 0 0 0 0 0 0 0 ");
  absl::StrAppend(&text, image.arg_start.value(), " ", image.arg_end.value(), " ",
                  image.env_start.value(), " ", image.env_end.value(), " 0\n");
  return text;
}

std::string ProcessStatm(const TaskSnapshot& task, const ProcSource&) {
  const MemoryManager::Usage usage = UsageOf(task);
  return absl::StrCat(usage.virtual_bytes / kPageSize, " ", usage.resident_bytes / kPageSize, " ",
                      usage.shared_bytes / kPageSize, " ", usage.text_bytes / kPageSize, " 0 ",
                      (usage.data_bytes + usage.stack_bytes) / kPageSize, " 0\n");
}

std::string ProcessStatus(const TaskSnapshot& task, const ProcSource&) {
  const Credentials& creds = *task.creds;
  std::string text = absl::StrFormat(
      "Name:\t%s\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n"
      "TracerPid:\t0\nUid:\t%d\t%d\t%d\t%d\nGid:\t%d\t%d\t%d\t%d\nFDSize:\t%d\nGroups:\t%s \n"
      "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n",
      task.comm, task.fs == nullptr ? 0 : task.fs->umask(), StateName(task.state), task.tgid,
      task.tid, task.ppid, creds.ruid, creds.euid, creds.suid, creds.fsuid, creds.rgid, creds.egid,
      creds.sgid, creds.fsgid, task.fds == nullptr ? 0 : HighestFd(task),
      absl::StrJoin(creds.groups, " "), task.tgid, task.tid, task.pgid, task.sid);
  if (task.mm != nullptr) {
    const MemoryManager::Usage usage = UsageOf(task);
    const MemoryManager::ImageInfo image = ImageOf(task);
    const uint64_t exe =
        std::min(PageUpOf(image.code_end) - PageDown(image.code_start.value()), usage.text_bytes);
    const Resident resident = ResidentOf(*task.mm);
    const struct {
      const char* name;
      uint64_t bytes;
    } lines[] = {{"VmPeak", usage.peak_virtual_bytes},
                 {"VmSize", usage.virtual_bytes},
                 {"VmLck", usage.locked_bytes},
                 {"VmPin", 0},
                 {"VmHWM", usage.peak_resident_bytes},
                 {"VmRSS", usage.resident_bytes},
                 {"RssAnon", resident.anonymous},
                 {"RssFile", resident.file},
                 {"RssShmem", resident.shared},
                 {"VmData", usage.data_bytes},
                 {"VmStk", usage.stack_bytes},
                 {"VmExe", exe},
                 {"VmLib", usage.text_bytes - exe},
                 {"VmPTE", usage.table_bytes},
                 {"VmSwap", 0},
                 {"HugetlbPages", 0}};
    for (const auto& line : lines) {
      absl::StrAppendFormat(&text, "%s:\t%8d kB\n", line.name, line.bytes >> 10);
    }
    absl::StrAppend(&text, "CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n");
  }
  // The one node among those that a mask of set_mempolicy(2) has room for.
  std::vector<bool> nodes(kMaxNodes);
  nodes[0] = true;
  absl::StrAppendFormat(
      &text,
      "Threads:\t%d\nSigQ:\t%d/%s\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\n"
      "SigIgn:\t%016x\nSigCgt:\t%016x\nCapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\n"
      "CapBnd:\t%016x\nCapAmb:\t%016x\nNoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n"
      "Cpus_allowed:\t%s\nCpus_allowed_list:\t%s\nMems_allowed:\t%s\nMems_allowed_list:"
      "\t0\nvoluntary_ctxt_switches:\t%d\n"
      "nonvoluntary_ctxt_switches:\t%d\n",
      task.threads, task.queued_signals, LimitText(task.limits[11].soft), task.pending,
      task.group_pending, task.blocked, task.ignored, task.caught, creds.inheritable,
      creds.permitted, creds.effective, creds.bounding, creds.ambient, creds.no_new_privs ? 1 : 0,
      MaskText(task.cpus_allowed), ListText(task.cpus_allowed), MaskText(nodes),
      task.voluntary_switches, task.involuntary_switches);
  return text;
}

std::string ProcessLimits(const TaskSnapshot& task, const ProcSource&) {
  struct Row {
    const char* name;
    const char* unit;
  };
  static constexpr Row kRows[] = {
      {"Max cpu time", "seconds"},     {"Max file size", "bytes"},
      {"Max data size", "bytes"},      {"Max stack size", "bytes"},
      {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
      {"Max processes", "processes"},  {"Max open files", "files"},
      {"Max locked memory", "bytes"},  {"Max address space", "bytes"},
      {"Max file locks", "locks"},     {"Max pending signals", "signals"},
      {"Max msgqueue size", "bytes"},  {"Max nice priority", ""},
      {"Max realtime priority", ""},   {"Max realtime timeout", "us"}};
  std::string text =
      absl::StrFormat("%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  for (size_t i = 0; i < task.limits.size(); i++) {
    absl::StrAppendFormat(&text, "%-25s %-20s %-20s %-10s\n", kRows[i].name,
                          LimitText(task.limits[i].soft), LimitText(task.limits[i].hard),
                          kRows[i].unit);
  }
  return text;
}

// No block device stands behind the files of a sandbox: no bytes are read from or written to one.
std::string ProcessIo(const TaskSnapshot& task, const ProcSource&) {
  return absl::StrCat("rchar: ", task.read_bytes, "\nwchar: ", task.written_bytes,
                      "\nsyscr: ", task.read_calls, "\nsyscw: ", task.write_calls,
                      "\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n");
}

// oom_badness() of Linux scaled as proc_oom_score() does: 0 to 2000, 666 and more without a bonus.
std::string ProcessOomScore(const TaskSnapshot& task, const ProcSource& source) {
  constexpr int32_t kExempt = -1000;
  if (task.mm == nullptr || task.oom_score_adj == kExempt) return "0\n";
  const MemoryManager::Usage usage = UsageOf(task);
  const auto total = static_cast<int64_t>(std::max<uint64_t>(source.MemoryBytes() / kPageSize, 1));
  const auto used = static_cast<int64_t>((usage.resident_bytes + usage.table_bytes) / kPageSize);
  const int64_t badness = used + total / 1000 * task.oom_score_adj;
  return absl::StrCat((1000 + badness * 1000 / total) * 2 / 3, "\n");
}

}  // namespace ringfence::sentry
