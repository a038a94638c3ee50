// Files of /proc that describe the system, and /proc/sys.
#include <sys/random.h>

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
  return absl::StrCat("0.00 0.00 0.00 ", system.running, "/", system.tasks, " ", system.last_pid,
                      "\n");
}

Result<std::string> MemInfo(const CallContext&, const ProcPlace& place) {
  const SystemSnapshot system = place.source->System();
  const struct {
    const char* name;
    uint64_t bytes;
  } lines[] = {{"MemTotal", system.memory_bytes},
               {"MemFree", system.memory_free_bytes},
               {"MemAvailable", system.memory_free_bytes},
               {"Buffers", 0},
               {"Cached", system.shared_bytes},
               {"SwapCached", 0},
               {"Active", system.memory_bytes - system.memory_free_bytes},
               {"Inactive", 0},
               {"SwapTotal", 0},
               {"SwapFree", 0},
               {"Dirty", 0},
               {"Writeback", 0},
               {"AnonPages", system.memory_bytes - system.memory_free_bytes - system.shared_bytes},
               {"Mapped", 0},
               {"Shmem", system.shared_bytes},
               {"CommitLimit", system.memory_bytes},
               {"Committed_AS", system.memory_bytes - system.memory_free_bytes}};
  std::string text;
  for (const auto& line : lines) {
    absl::StrAppendFormat(&text, "%-15s %8d kB\n", absl::StrCat(line.name, ":"), line.bytes >> 10);
  }
  return text;
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
  absl::StrAppend(&text, "intr 0\nctxt 0\nbtime ", system.boot_realtime_sec, "\nprocesses ",
                  system.forks, "\nprocs_running ", std::max(1u, system.running),
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

ProcGenerator Fixed(std::string text) {
  return [text](const CallContext&, const ProcPlace&) -> Result<std::string> { return text; };
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

// A random UUID (RFC 4122, version 4) and a newline.
std::string RandomUuid() {
  uint8_t b[16];
  if (getrandom(b, sizeof(b), 0) != sizeof(b)) return "";
  b[6] = static_cast<uint8_t>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<uint8_t>((b[8] & 0x3f) | 0x80);
  std::string text;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    absl::StrAppendFormat(&text, "%02x", b[i]);
  }
  return text + "\n";
}

const std::vector<ProcRow>& RandomRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("boot_id", 0444, Fixed(RandomUuid())),
      TextRow("entropy_avail", 0444, Fixed("256\n")),
      TextRow("poolsize", 0444, Fixed("256\n")),
      TextRow(
          "uuid", 0444,
          [](const CallContext&, const ProcPlace&) -> Result<std::string> { return RandomUuid(); }),
  };
  return rows;
}

const std::vector<ProcRow>& KernelRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("ostype", 0444, Fixed(absl::StrCat(kUtsSysname, "\n"))),
      TextRow("osrelease", 0444, Fixed(absl::StrCat(kUtsRelease, "\n"))),
      TextRow("version", 0444, Fixed(absl::StrCat(kUtsVersion, "\n"))),
      TextRow("hostname", 0444,
              [](const CallContext&, const ProcPlace& place) -> Result<std::string> {
                return place.source->System().hostname + "\n";
              }),
      TextRow("domainname", 0444,
              [](const CallContext&, const ProcPlace& place) -> Result<std::string> {
                return place.source->System().domainname + "\n";
              }),
      TextRow("pid_max", 0444,
              [](const CallContext&, const ProcPlace& place) -> Result<std::string> {
                return absl::StrCat(place.source->System().pid_max, "\n");
              }),
      TextRow("threads-max", 0444, Fixed("4096\n")),
      TextRow("cap_last_cap", 0444, Fixed("40\n")),
      TextRow("ngroups_max", 0444, Fixed("65536\n")),
      TableRow("random", &RandomRows()),
      TextRow("randomize_va_space", 0444, Fixed("2\n")),
      TextRow("overflowuid", 0444, Fixed("65534\n")),
      TextRow("overflowgid", 0444, Fixed("65534\n")),
  };
  return rows;
}

const std::vector<ProcRow>& NetCoreRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("rmem_max", 0444, Fixed("212992\n")),
      TextRow("somaxconn", 0444, Fixed("4096\n")),
      TextRow("wmem_max", 0444, Fixed("212992\n")),
  };
  return rows;
}

const std::vector<ProcRow>& NetUnixRows() {
  static const std::vector<ProcRow> rows = {TextRow("max_dgram_qlen", 0444, Fixed("10\n"))};
  return rows;
}

const std::vector<ProcRow>& NetRows() {
  static const std::vector<ProcRow> rows = {TableRow("core", &NetCoreRows()),
                                            TableRow("unix", &NetUnixRows())};
  return rows;
}

const std::vector<ProcRow>& VmRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("overcommit_memory", 0444, Fixed("1\n")),
      TextRow("max_map_count", 0444, Fixed("65530\n")),
      TextRow("mmap_min_addr", 0444, Fixed("65536\n")),
  };
  return rows;
}

const std::vector<ProcRow>& InotifyRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("max_queued_events", 0444, Fixed("16384\n")),
      TextRow("max_user_instances", 0444, Fixed("128\n")),
      TextRow("max_user_watches", 0444, Fixed("65536\n")),
  };
  return rows;
}

const std::vector<ProcRow>& FsRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("file-max", 0444, Fixed("9223372036854775807\n")),
      TableRow("inotify", &InotifyRows()),
      TextRow("nr_open", 0444, Fixed("1048576\n")),
      TextRow("pipe-max-size", 0444, Fixed("1048576\n")),
  };
  return rows;
}

}  // namespace

const std::vector<ProcRow>& ProcSysRows() {
  static const std::vector<ProcRow> rows = {
      TableRow("fs", &FsRows()),
      TableRow("kernel", &KernelRows()),
      TableRow("net", &NetRows()),
      TableRow("vm", &VmRows()),
  };
  return rows;
}

const std::vector<ProcRow>& ProcSystemRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("cmdline", 0444, CommandLine),
      TextRow("cpuinfo", 0444, CpuInfo),
      TextRow("filesystems", 0444, FileSystems),
      TextRow("loadavg", 0444, LoadAverage),
      TextRow("meminfo", 0444, MemInfo),
      LinkRow("mounts", OfSelf("mounts")),
      LinkRow("net", OfSelf("net")),
      LinkRow("self", Self),
      TextRow("stat", 0444, Stat),
      TableRow("sys", &ProcSysRows()),
      LinkRow("thread-self", ThreadSelf),
      TextRow("uptime", 0444, Uptime),
      TextRow("version", 0444, Version),
  };
  return rows;
}

}  // namespace ringfence::sentry
