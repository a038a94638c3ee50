// Files of /proc that describe the system.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/base/uts.h"
#include "sentry/fs/proc/cpuinfo.h"
#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kNsPerTick = 10'000'000;  // USER_HZ is 100

std::string Seconds(int64_t ns) { return absl::StrFormat("%.2f", static_cast<double>(ns) / 1e9); }

Result<std::string> Version(const CallContext&, const ProcPlace&) {
  return absl::StrCat(kUtsSysname, " version ", kUtsRelease, " (ringfence) ", kUtsVersion, "\n");
}

Result<std::string> Uptime(const CallContext&, const ProcPlace& place) {
  const SystemSnapshot system = place.source->System();
  const int64_t busy = system.user_ns + system.system_ns;
  const int64_t idle = std::max<int64_t>(0, system.uptime_ns * system.cpus - busy);
  return absl::StrCat(Seconds(system.uptime_ns), " ", Seconds(idle), "\n");
}

Result<std::string> LoadAverage(const CallContext&, const ProcPlace& place) {
  const SystemSnapshot system = place.source->System();
  return absl::StrFormat("%.2f %.2f %.2f %d/%d %d\n", system.loads[0], system.loads[1],
                         system.loads[2], system.running, system.tasks, system.last_pid);
}

// Memory of programs; the rest of what is used is shared memory and page tables.
uint64_t AnonymousBytes(const SystemSnapshot& system) {
  const uint64_t used = system.memory_bytes - system.memory_free_bytes;
  return used - std::min(used, system.shared_bytes + system.table_bytes);
}

// In the order of Linux. The page cache of the host's files is the host's; nothing is swapped,
// written back, or of the kernel itself.
Result<std::string> MemInfo(const CallContext&, const ProcPlace& place) {
  const SystemSnapshot system = place.source->System();
  const uint64_t anonymous = AnonymousBytes(system);
  const struct {
    const char* name;
    uint64_t bytes;
  } lines[] = {{"MemTotal", system.memory_bytes},
               {"MemFree", system.memory_free_bytes},
               {"MemAvailable", system.memory_free_bytes},
               {"Buffers", 0},
               {"Cached", system.shared_bytes},
               {"SwapCached", 0},
               {"Active", anonymous + system.shared_bytes},
               {"Inactive", 0},
               {"Active(anon)", anonymous + system.shared_bytes},
               {"Inactive(anon)", 0},
               {"Active(file)", 0},
               {"Inactive(file)", 0},
               {"Unevictable", 0},
               {"Mlocked", 0},
               {"SwapTotal", 0},
               {"SwapFree", 0},
               {"Dirty", 0},
               {"Writeback", 0},
               {"AnonPages", anonymous},
               {"Mapped", 0},
               {"Shmem", system.shared_bytes},
               {"KReclaimable", 0},
               {"Slab", 0},
               {"SReclaimable", 0},
               {"SUnreclaim", 0},
               {"KernelStack", 0},
               {"PageTables", system.table_bytes},
               {"NFS_Unstable", 0},
               {"Bounce", 0},
               {"WritebackTmp", 0},
               {"CommitLimit", system.memory_bytes},
               {"Committed_AS", system.memory_bytes - system.memory_free_bytes}};
  std::string text;
  for (const auto& line : lines) {
    absl::StrAppendFormat(&text, "%-15s %8d kB\n", absl::StrCat(line.name, ":"), line.bytes >> 10);
  }
  // No pages of hugetlbfs can be set aside.
  for (const char* name :
       {"HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"}) {
    absl::StrAppendFormat(&text, "%s:   %5d\n", name, 0);
  }
  absl::StrAppendFormat(&text, "Hugepagesize:   %8d kB\nHugetlb:        %8d kB\n",
                        kHugePageSize >> 10, 0);
  return text;
}

// The counters of Linux that have a counterpart; no block device, no swap.
Result<std::string> VmStat(const CallContext&, const ProcPlace& place) {
  const SystemSnapshot system = place.source->System();
  const uint64_t anonymous = AnonymousBytes(system) / kPageSize;
  const uint64_t shared = system.shared_bytes / kPageSize;
  const struct {
    const char* name;
    uint64_t value;
  } lines[] = {{"nr_free_pages", system.memory_free_bytes / kPageSize},
               {"nr_inactive_anon", 0},
               {"nr_active_anon", anonymous + shared},
               {"nr_inactive_file", 0},
               {"nr_active_file", 0},
               {"nr_unevictable", 0},
               {"nr_slab_reclaimable", 0},
               {"nr_slab_unreclaimable", 0},
               {"nr_anon_pages", anonymous},
               {"nr_file_pages", shared},
               {"nr_dirty", 0},
               {"nr_writeback", 0},
               {"nr_shmem", shared},
               {"nr_page_table_pages", system.table_bytes / kPageSize},
               {"pgpgin", 0},
               {"pgpgout", 0},
               {"pswpin", 0},
               {"pswpout", 0},
               {"pgfault", system.minor_faults + system.major_faults},
               {"pgmajfault", system.major_faults}};
  std::string text;
  for (const auto& line : lines) absl::StrAppend(&text, line.name, " ", line.value, "\n");
  return text;
}

// Numbers of dev_t that files of this kernel have: /dev and devpts.
constexpr char kDevices[] =
    "Character devices:\n"
    "  1 mem\n"
    "  5 /dev/tty\n"
    "  5 /dev/console\n"
    "  5 /dev/ptmx\n"
    "136 pts\n"
    "\n"
    "Block devices:\n";
constexpr char kTerminalDrivers[] =
    "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
    "/dev/console         /dev/console    5       1 system:console\n"
    "/dev/ptmx            /dev/ptmx       5       2 system\n"
    "pty_slave            /dev/pts      136 0-1048575 pty:slave\n";

const std::vector<ProcRow>& TerminalRows() {
  static const std::vector<ProcRow> rows = {TextRow("drivers", 0444, FixedText(kTerminalDrivers))};
  return rows;
}

Result<std::string> Stat(const CallContext&, const ProcPlace& place) {
  const SystemSnapshot system = place.source->System();
  const int64_t user = system.user_ns / kNsPerTick, kernel = system.system_ns / kNsPerTick;
  const int64_t all = system.uptime_ns / kNsPerTick * system.cpus;
  const int64_t idle = std::max<int64_t>(0, all - user - kernel);
  std::string text = absl::StrCat("cpu  ", user, " 0 ", kernel, " ", idle, " 0 0 0 0 0 0\n");
  for (uint32_t cpu = 0; cpu < system.cpus; cpu++) {
    absl::StrAppend(&text, "cpu", cpu, " ", user / system.cpus, " 0 ", kernel / system.cpus, " ",
                    idle / system.cpus, " 0 0 0 0 0 0\n");
  }
  absl::StrAppend(&text, "intr 0\nctxt ", system.switches, "\nbtime ", system.boot_realtime_sec,
                  "\nprocesses ", system.forks, "\nprocs_running ", std::max(1u, system.running),
                  "\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n");
  return text;
}

Result<std::string> FileSystems(const CallContext&, const ProcPlace&) {
  return std::string("nodev\tproc\nnodev\ttmpfs\nnodev\tdevtmpfs\nnodev\tgoferfs\n");
}

Result<std::string> CommandLine(const CallContext&, const ProcPlace&) {
  return std::string("ringfence\n");
}

Result<std::string> CpuInfo(const CallContext&, const ProcPlace& place) {
  return DescribeCpus(place.source->System().cpus);
}

ProcLink::Target OfSelf(const char* rest) {
  return [rest](const CallContext&, const ProcPlace&) -> Result<std::string> {
    return absl::StrCat("self/", rest);
  };
}

Result<std::string> Self(const CallContext& ctx, const ProcPlace&) {
  if (ctx.tgid == 0) return Errno::kNOENT;
  return absl::StrCat(ctx.tgid);
}

Result<std::string> ThreadSelf(const CallContext& ctx, const ProcPlace&) {
  if (ctx.tgid == 0) return Errno::kNOENT;
  return absl::StrCat(ctx.tgid, "/task/", ctx.tid);
}

Result<std::string> SharedSegments(const CallContext&, const ProcPlace& place) {
  return place.source->SegmentTable();
}

// Message queues and semaphores of System V are not there.
const std::vector<ProcRow>& SysvIpcRows() {
  static const std::vector<ProcRow> rows = {TextRow("shm", 0444, SharedSegments)};
  return rows;
}

}  // namespace

const std::vector<ProcRow>& ProcSystemRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("cgroups", 0444, FixedText("#subsys_name\thierarchy\tnum_cgroups\tenabled\n")),
      TextRow("cmdline", 0444, CommandLine),
      TextRow("cpuinfo", 0444, CpuInfo),
      TextRow("devices", 0444, FixedText(kDevices)),
      TextRow("diskstats", 0444, FixedText("")),  // no block devices
      TextRow("filesystems", 0444, FileSystems),
      TextRow("loadavg", 0444, LoadAverage),
      TextRow("meminfo", 0444, MemInfo),
      LinkRow("mounts", OfSelf("mounts")),
      LinkRow("net", OfSelf("net")),
      TextRow("partitions", 0444, FixedText("")),
      LinkRow("self", Self),
      TextRow("stat", 0444, Stat),
      TextRow("swaps", 0444, FixedText("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")),
      TableRow("sys", &ProcSysRows()),
      TableRow("sysvipc", &SysvIpcRows()),
      LinkRow("thread-self", ThreadSelf),
      TableRow("tty", &TerminalRows()),
      TextRow("uptime", 0444, Uptime),
      TextRow("version", 0444, Version),
      TextRow("vmstat", 0444, VmStat),
  };
  return rows;
}

}  // namespace ringfence::sentry
