// devices/system/cpu and devices/system/node.
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/sys/cpu_caches.h"
#include "sentry/fs/sys/sys_rows.h"

namespace ringfence::sentry {
namespace {

// A CPU's inodes say which one it is by their place, as those of a process do.
uint32_t CpuOf(const ProcPlace& place) { return static_cast<uint32_t>(place.tid - 1); }

std::string ListOf(uint32_t first, uint32_t count) {
  return count == 1 ? absl::StrCat(first, "\n") : absl::StrCat(first, "-", first + count - 1, "\n");
}

// Hexadecimal words of 32 CPUs, the highest first (cpuset(7)).
std::string MaskOf(uint32_t first, uint32_t count, uint32_t cpus) {
  std::string text;
  for (uint32_t words = (cpus + 31) / 32; words > 0; --words) {
    uint32_t word = 0;
    for (uint32_t bit = 0; bit < 32; ++bit) {
      const uint32_t cpu = (words - 1) * 32 + bit;
      if (cpu >= first && cpu < first + count) word |= uint32_t{1} << bit;
    }
    const bool short_word = (cpus + 31) / 32 == 1;
    absl::StrAppend(&text, text.empty() ? "" : ",");
    if (short_word) {
      absl::StrAppendFormat(&text, "%x", word);
    } else {
      absl::StrAppendFormat(&text, "%08x", word);
    }
  }
  return text + "\n";
}

uint32_t Cpus(const ProcPlace& place) { return std::max(1u, place.source->Cpus()); }

Result<std::string> AllList(const CallContext&, const ProcPlace& place) {
  return ListOf(0, Cpus(place));
}
Result<std::string> AllMask(const CallContext&, const ProcPlace& place) {
  return MaskOf(0, Cpus(place), Cpus(place));
}
Result<std::string> OwnList(const CallContext&, const ProcPlace& place) {
  return ListOf(CpuOf(place), 1);
}
Result<std::string> OwnMask(const CallContext&, const ProcPlace& place) {
  return MaskOf(CpuOf(place), 1, Cpus(place));
}
Result<std::string> OwnNumber(const CallContext&, const ProcPlace& place) {
  return absl::StrCat(CpuOf(place), "\n");
}
Result<std::string> KernelMax(const CallContext&, const ProcPlace& place) {
  return absl::StrCat(Cpus(place) - 1, "\n");
}

// Each CPU is a core of its own, all in one package.
const std::vector<ProcRow>& TopologyRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("core_cpus", 0444, OwnMask),
      TextRow("core_cpus_list", 0444, OwnList),
      TextRow("core_id", 0444, OwnNumber),
      TextRow("core_siblings", 0444, AllMask),
      TextRow("core_siblings_list", 0444, AllList),
      TextRow("die_id", 0444, FixedText("0\n")),
      TextRow("package_cpus", 0444, AllMask),
      TextRow("package_cpus_list", 0444, AllList),
      TextRow("physical_package_id", 0444, FixedText("0\n")),
      TextRow("thread_siblings", 0444, OwnMask),
      TextRow("thread_siblings_list", 0444, OwnList),
  };
  return rows;
}

constexpr uint32_t kSharedLevel = 3;  // from here on all CPUs have one

std::vector<ProcRow> RowsOfCache(const CpuCache& cache) {
  const bool shared = cache.level >= kSharedLevel;
  return {
      TextRow("coherency_line_size", 0444, FixedText(absl::StrCat(cache.line_bytes, "\n"))),
      TextRow("id", 0444, shared ? FixedText("0\n") : ProcGenerator(OwnNumber)),
      TextRow("level", 0444, FixedText(absl::StrCat(cache.level, "\n"))),
      TextRow("number_of_sets", 0444, FixedText(absl::StrCat(cache.sets, "\n"))),
      TextRow("physical_line_partition", 0444, FixedText("1\n")),
      TextRow("shared_cpu_list", 0444, shared ? AllList : OwnList),
      TextRow("shared_cpu_map", 0444, shared ? AllMask : OwnMask),
      TextRow("size", 0444, FixedText(absl::StrCat(cache.KiB(), "K\n"))),
      TextRow("type", 0444, FixedText(absl::StrCat(cache.type, "\n"))),
      TextRow("ways_of_associativity", 0444, FixedText(absl::StrCat(cache.ways, "\n"))),
  };
}

const std::vector<ProcRow>& CacheRows() {
  static const auto* const rows = [] {
    static const char* const kNames[] = {"index0", "index1", "index2", "index3",
                                         "index4", "index5", "index6", "index7"};
    auto* made = new std::vector<ProcRow>;
    for (size_t i = 0; i < CpuCaches().size(); ++i) {
      made->push_back(TableRow(kNames[i], new std::vector<ProcRow>(RowsOfCache(CpuCaches()[i]))));
    }
    return made;
  }();
  return *rows;
}

const std::vector<ProcRow>& OneCpuRows() {
  static const std::vector<ProcRow> rows = {
      TableRow("cache", &CacheRows()),
      TextRow("online", 0444, FixedText("1\n")),
      TableRow("topology", &TopologyRows()),
  };
  return rows;
}

const std::vector<ProcRow>& CpuRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("isolated", 0444, FixedText("\n")), TextRow("kernel_max", 0444, KernelMax),
      TextRow("offline", 0444, FixedText("\n")),  TextRow("online", 0444, AllList),
      TextRow("possible", 0444, AllList),         TextRow("present", 0444, AllList),
  };
  return rows;
}

// The rows above and a directory for each CPU.
class CpuDirectory final : public ProcTableDirectory {
 public:
  explicit CpuDirectory(const ProcPlace& place) : ProcTableDirectory(place, &CpuRows()) {}
  Result<std::vector<Name>> Names(const CallContext& ctx, int64_t position) override {
    std::vector<Name> names = TRY(ProcTableDirectory::Names(ctx, position));
    const int64_t first = static_cast<int64_t>(rows());
    for (uint32_t cpu = 0; cpu < Cpus(place()); ++cpu) {
      if (first + cpu >= position)
        names.push_back({absl::StrCat("cpu", cpu), S_IFDIR, first + cpu});
    }
    return names;
  }

 protected:
  Result<InodeRef> Find(const CallContext& ctx, std::string_view name) override {
    const int32_t cpu = name.starts_with("cpu") ? ParseId(name.substr(3)) : -1;
    if (cpu < 0) return ProcTableDirectory::Find(ctx, name);
    if (static_cast<uint32_t>(cpu) >= Cpus(place())) return Errno::kNOENT;
    ProcPlace child = place().Child(rows());
    child.tid = cpu + 1;
    return InodeRef(std::make_shared<ProcTableDirectory>(child, &OneCpuRows()));
  }
};

Result<std::string> NodeMemory(const CallContext&, const ProcPlace& place) {
  const SystemSnapshot system = place.source->System();
  const uint64_t used = system.memory_bytes - system.memory_free_bytes;
  std::string text;
  const struct {
    const char* name;
    uint64_t bytes;
  } lines[] = {{"MemTotal:", system.memory_bytes},
               {"MemFree:", system.memory_free_bytes},
               {"MemUsed:", used}};
  for (const auto& line : lines) {
    absl::StrAppendFormat(&text, "Node 0 %-14s %9d kB\n", line.name, line.bytes >> 10);
  }
  return text;
}

const std::vector<ProcRow>& OneNodeRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("cpulist", 0444, AllList),
      TextRow("cpumap", 0444, AllMask),
      TextRow("distance", 0444, FixedText("10\n")),
      TextRow("meminfo", 0444, NodeMemory),
      TextRow("numastat", 0444,
              FixedText("numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\n"
                        "local_node 0\nother_node 0\n")),
  };
  return rows;
}

const std::vector<ProcRow>& NodeRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("has_cpu", 0444, FixedText("0\n")),
      TextRow("has_memory", 0444, FixedText("0\n")),
      TextRow("has_normal_memory", 0444, FixedText("0\n")),
      TableRow("node0", &OneNodeRows()),
      TextRow("online", 0444, FixedText("0\n")),
      TextRow("possible", 0444, FixedText("0\n")),
  };
  return rows;
}

}  // namespace

const std::vector<ProcRow>& SysSystemRows() {
  static const std::vector<ProcRow> rows = {
      {"cpu", S_IFDIR,
       [](const ProcPlace& place) -> InodeRef { return std::make_shared<CpuDirectory>(place); }},
      TableRow("node", &NodeRows()),
  };
  return rows;
}

}  // namespace ringfence::sentry
