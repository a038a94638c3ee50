// /proc/sys (proc_sys(5)): limits and settings of this kernel that programs ask for. None can be
// changed; each says what the sentry does.
#include <sys/random.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/base/uts.h"
#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {
namespace {

template <typename F>
ProcGenerator Number(F of) {
  return [of](const CallContext&, const ProcPlace& place) -> Result<std::string> {
    return absl::StrCat(of(place.source->System()), "\n");
  };
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
      TextRow("boot_id", 0444, FixedText(RandomUuid())),
      TextRow("entropy_avail", 0444, FixedText("256\n")),
      TextRow("poolsize", 0444, FixedText("256\n")),
      TextRow(
          "uuid", 0444,
          [](const CallContext&, const ProcPlace&) -> Result<std::string> { return RandomUuid(); }),
  };
  return rows;
}

const std::vector<ProcRow>& KernelRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("ostype", 0444, FixedText(absl::StrCat(kUtsSysname, "\n"))),
      TextRow("osrelease", 0444, FixedText(absl::StrCat(kUtsRelease, "\n"))),
      TextRow("version", 0444, FixedText(absl::StrCat(kUtsVersion, "\n"))),
      TextRow("hostname", 0444,
              [](const CallContext&, const ProcPlace& place) -> Result<std::string> {
                return place.source->System().hostname + "\n";
              }),
      TextRow("domainname", 0444,
              [](const CallContext&, const ProcPlace& place) -> Result<std::string> {
                return place.source->System().domainname + "\n";
              }),
      TextRow("pid_max", 0444, Number([](const SystemSnapshot& s) { return s.pid_max; })),
      TextRow("ns_last_pid", 0444, Number([](const SystemSnapshot& s) { return s.last_pid; })),
      // Of SharedSegments (sentry/kernel/sysv_shm.h).
      TextRow("shmall", 0444, FixedText("18446744073692774399\n")),
      TextRow("shmmax", 0444, FixedText("18446744073692774399\n")),
      TextRow("shmmni", 0444, FixedText("4096\n")),
      TextRow("threads-max", 0444, Number([](const SystemSnapshot& s) { return s.max_tasks; })),
      TextRow("cap_last_cap", 0444, FixedText("40\n")),
      TextRow("ngroups_max", 0444, FixedText("65536\n")),
      // Core files are not written; cores are said to have been dumped where RLIMIT_CORE allows.
      TextRow("core_pattern", 0444, FixedText("core\n")),
      TextRow("core_uses_pid", 0444, FixedText("0\n")),
      TextRow("dmesg_restrict", 0444, FixedText("1\n")),  // syslog(2) asks for CAP_SYSLOG
      TextRow("panic", 0444, FixedText("0\n")),
      TextRow("print-fatal-signals", 0444, FixedText("0\n")),
      TableRow("random", &RandomRows()),
      TextRow("randomize_va_space", 0444, FixedText("2\n")),
      TextRow("overflowuid", 0444, FixedText("65534\n")),
      TextRow("overflowgid", 0444, FixedText("65534\n")),
  };
  return rows;
}

const std::vector<ProcRow>& NetCoreRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("rmem_default", 0444, FixedText("212992\n")),
      TextRow("rmem_max", 0444, FixedText("212992\n")),
      TextRow("somaxconn", 0444, FixedText("4096\n")),
      TextRow("wmem_default", 0444, FixedText("212992\n")),
      TextRow("wmem_max", 0444, FixedText("212992\n")),
  };
  return rows;
}

const std::vector<ProcRow>& NetUnixRows() {
  static const std::vector<ProcRow> rows = {TextRow("max_dgram_qlen", 0444, FixedText("10\n"))};
  return rows;
}

const std::vector<ProcRow>& NetRows() {
  static const std::vector<ProcRow> rows = {TableRow("core", &NetCoreRows()),
                                            TableRow("unix", &NetUnixRows())};
  return rows;
}

const std::vector<ProcRow>& VmRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("overcommit_memory", 0444, FixedText("1\n")),  // mmap(2) never refuses for want of it
      TextRow("legacy_va_layout", 0444, FixedText("0\n")),
      TextRow("max_map_count", 0444, FixedText("65530\n")),  // kMaxVmas of sentry/mm
      TextRow("mmap_rnd_bits", 0444, FixedText("28\n")),     // of PickMmapBase
      TextRow("nr_hugepages", 0444, FixedText("0\n")),       // MAP_HUGETLB gives ENOMEM
      TextRow("oom_kill_allocating_task", 0444, FixedText("0\n")),
      TextRow("overcommit_kbytes", 0444, FixedText("0\n")),
      TextRow("panic_on_oom", 0444, FixedText("0\n")),
      TextRow("mmap_min_addr", 0444, FixedText("65536\n")),
  };
  return rows;
}

const std::vector<ProcRow>& InotifyRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("max_queued_events", 0444, FixedText("16384\n")),
      TextRow("max_user_instances", 0444, FixedText("128\n")),
      TextRow("max_user_watches", 0444, FixedText("65536\n")),
  };
  return rows;
}

const std::vector<ProcRow>& FsRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("file-max", 0444, FixedText("9223372036854775807\n")),
      TableRow("inotify", &InotifyRows()),
      TextRow("leases-enable", 0444, FixedText("0\n")),
      TextRow("nr_open", 0444, FixedText("1048576\n")),
      TextRow("overflowgid", 0444, FixedText("65534\n")),
      TextRow("overflowuid", 0444, FixedText("65534\n")),
      TextRow("pipe-max-size", 0444, FixedText("1048576\n")),
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

}  // namespace ringfence::sentry
