#include "bench/run/host.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ringfence::bench {
namespace {

constexpr size_t kStealField = 7;  // user nice system idle iowait irq softirq steal

std::string CpuModel() {
  const std::string cpuinfo = ReadTextFile("/proc/cpuinfo");
  for (absl::string_view line : absl::StrSplit(cpuinfo, '\n')) {
    if (!absl::StartsWith(line, "model name")) continue;
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    if (parts.size() == 2) return parts[1];
  }
  return "unknown CPU";
}

}  // namespace

std::string ReadTextFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

double LoadAverage() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0;
}

CpuTimes ParseCpuTimes(std::string_view proc_stat) {
  std::istringstream line{std::string(proc_stat.substr(0, proc_stat.find('\n')))};
  std::string label;
  line >> label;
  CpuTimes times;
  uint64_t value = 0;
  // guest and guest_nice, after steal, are part of user and nice already.
  for (size_t field = 0; field <= kStealField && line >> value; field++) {
    times.total += value;
    if (field == kStealField) times.steal = value;
  }
  return times;
}

CpuTimes ReadCpuTimes() { return ParseCpuTimes(ReadTextFile("/proc/stat")); }

double StealShare(const CpuTimes& before, const CpuTimes& after) {
  if (after.total <= before.total) return 0;
  return static_cast<double>(after.steal - before.steal) /
         static_cast<double>(after.total - before.total);
}

std::string DescribeHost() {
  utsname names{};
  uname(&names);
  return absl::StrCat(CpuModel(), ", ", sysconf(_SC_NPROCESSORS_ONLN), " cores, Linux ",
                      names.release);
}

}  // namespace ringfence::bench
