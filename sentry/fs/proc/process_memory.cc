// /proc/PID/maps, smaps, smaps_rollup and numa_maps, as fs/proc/task_mmu.c of Linux prints them.
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/proc_inode.h"
#include "sentry/fs/proc/process_text.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kShareUnits = 4096;  // of VmaUsage::share_*

// Begins a line; the name, if any, stands at its column.
std::string RangeLine(const VmaInfo& vma, std::string_view name) {
  std::string line = absl::StrFormat(
      "%08x-%08x %c%c%c%c %08x %02x:%02x %d ", vma.range.start.value(), vma.range.end.value(),
      vma.prot.read ? 'r' : '-', vma.prot.write ? 'w' : '-', vma.prot.exec ? 'x' : '-',
      vma.shared ? 's' : 'p', vma.offset, vma.device >> 8 & 0xfff, vma.device & 0xff, vma.inode);
  if (!name.empty()) {
    constexpr size_t kNameColumn = 73;
    if (line.size() < kNameColumn) line.resize(kNameColumn, ' ');
    line += EscapedText(name, "\n");
  }
  return line + "\n";
}

void AddLine(std::string* text, std::string_view name, uint64_t bytes) {
  absl::StrAppendFormat(text, "%-16s%8d kB\n", absl::StrCat(std::string(name), ":"), bytes >> 10);
}

// Whose shares a rollup tells apart.
enum class Detail { kMapping, kRollup };

void AddUsage(const VmaUsage& usage, uint64_t locked, Detail detail, std::string* text) {
  AddLine(text, "Rss", usage.resident);
  AddLine(text, "Pss", usage.share() / kShareUnits);
  AddLine(text, "Pss_Dirty", usage.share_dirty / kShareUnits);
  if (detail == Detail::kRollup) {
    AddLine(text, "Pss_Anon", usage.share_anonymous / kShareUnits);
    AddLine(text, "Pss_File", usage.share_file / kShareUnits);
    AddLine(text, "Pss_Shmem", usage.share_of_sandbox / kShareUnits);
  }
  const struct {
    const char* name;
    uint64_t bytes;
  } lines[] = {{"Shared_Clean", usage.shared_clean},
               {"Shared_Dirty", usage.shared_dirty},
               {"Private_Clean", usage.private_clean},
               {"Private_Dirty", usage.private_dirty},
               // Leaves are made as if they had been used.
               {"Referenced", usage.resident},
               {"Anonymous", usage.anonymous},
               // Nothing is merged, freed later, of hugetlbfs or swapped.
               {"KSM", 0},
               {"LazyFree", 0},
               {"AnonHugePages", usage.huge_anonymous},
               {"ShmemPmdMapped", usage.huge_of_sandbox},
               {"FilePmdMapped", 0},  // files of the host have no 2 MiB pages to show
               {"Shared_Hugetlb", 0},
               {"Private_Hugetlb", 0},
               {"Swap", 0},
               {"SwapPss", 0},
               {"Locked", locked}};
  for (const auto& line : lines) AddLine(text, line.name, line.bytes);
}

uint64_t LockedShare(const VmaUsage& usage) {
  return usage.locked ? usage.share() / kShareUnits : 0;
}

void Add(const VmaUsage& usage, VmaUsage* sum) {
  sum->resident += usage.resident;
  sum->shared_clean += usage.shared_clean;
  sum->shared_dirty += usage.shared_dirty;
  sum->private_clean += usage.private_clean;
  sum->private_dirty += usage.private_dirty;
  sum->anonymous += usage.anonymous;
  sum->huge_anonymous += usage.huge_anonymous;
  sum->huge_of_sandbox += usage.huge_of_sandbox;
  sum->share_anonymous += usage.share_anonymous;
  sum->share_file += usage.share_file;
  sum->share_of_sandbox += usage.share_of_sandbox;
  sum->share_dirty += usage.share_dirty;
}

std::string NumaLine(const VmaInfo& vma, const VmaUsage& usage, const MemoryPolicy& of_task) {
  const MemoryPolicy& policy = usage.policy == MemoryPolicy() ? of_task : usage.policy;
  std::string line = absl::StrFormat("%08x %s", vma.range.start.value(), policy.ToString());
  if (vma.inode != 0) {
    absl::StrAppend(&line, " file=", EscapedText(vma.name, "\n\t= "));
  } else if (vma.name == "[heap]") {
    line += " heap";
  } else if (vma.name == "[stack]") {
    line += " stack";
  }
  const uint64_t pages = usage.resident / kPageSize;
  if (pages == 0) return line + "\n";
  const uint64_t anonymous = usage.anonymous / kPageSize;
  const uint64_t dirty = (usage.shared_dirty + usage.private_dirty) / kPageSize;
  if (anonymous != 0) absl::StrAppend(&line, " anon=", anonymous);
  if (dirty != 0) absl::StrAppend(&line, " dirty=", dirty);
  if (pages != anonymous && pages != dirty) absl::StrAppend(&line, " mapped=", pages);
  if (usage.most_mappings > 1) absl::StrAppend(&line, " mapmax=", usage.most_mappings);
  absl::StrAppend(&line, " N0=", pages, " kernelpagesize_kB=", kPageSize >> 10, "\n");
  return line;
}

}  // namespace

std::string ProcessMaps(const TaskSnapshot& task, const ProcSource&) {
  std::string text;
  if (task.mm == nullptr) return text;
  task.mm->VisitVmas([&text](const VmaInfo& vma) { text += RangeLine(vma, vma.name); });
  return text;
}

std::string ProcessSmaps(const TaskSnapshot& task, const ProcSource&) {
  std::string text;
  if (task.mm == nullptr) return text;
  task.mm->VisitUsage([&text](const VmaInfo& vma, const VmaUsage& usage) {
    text += RangeLine(vma, vma.name);
    AddLine(&text, "Size", vma.range.size());
    AddLine(&text, "KernelPageSize", kPageSize);
    AddLine(&text, "MMUPageSize", kPageSize);
    AddUsage(usage, LockedShare(usage), Detail::kMapping, &text);
    absl::StrAppendFormat(&text, "THPeligible:    %8d\nVmFlags: %s\n", usage.huge_eligible ? 1 : 0,
                          usage.flags);
  });
  return text;
}

std::string ProcessSmapsRollup(const TaskSnapshot& task, const ProcSource&) {
  if (task.mm == nullptr) return "";
  std::optional<VirtAddr> first;
  VirtAddr last;
  VmaUsage sum;
  uint64_t locked = 0;
  task.mm->VisitUsage([&](const VmaInfo& vma, const VmaUsage& usage) {
    if (!first.has_value()) first = vma.range.start;
    last = vma.range.end;
    Add(usage, &sum);
    locked += LockedShare(usage);
  });
  VmaInfo all{};
  all.range = {first.value_or(VirtAddr()), last};
  std::string text = RangeLine(all, "[rollup]");
  AddUsage(sum, locked, Detail::kRollup, &text);
  return text;
}

std::string ProcessNumaMaps(const TaskSnapshot& task, const ProcSource&) {
  std::string text;
  if (task.mm == nullptr) return text;
  task.mm->VisitUsage([&](const VmaInfo& vma, const VmaUsage& usage) {
    text += NumaLine(vma, usage, task.memory_policy);
  });
  return text;
}

}  // namespace ringfence::sentry
