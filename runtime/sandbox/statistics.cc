#include "runtime/sandbox/statistics.h"

#include <nlohmann/json.hpp>

namespace ringfence::runtime {

std::string StatisticsJson(const Statistics& statistics) {
  const platform::Platform::Counters& platform = statistics.platform;
  const nlohmann::json json = {
      {"syscalls", statistics.system_calls},
      {"gofer_calls", statistics.gofer_calls},
      {"exits_syscall", platform.exits_syscall},
      {"exits_fault", platform.exits_fault},
      {"exits_exception", platform.exits_exception},
      {"exits_interrupt", platform.exits_interrupt},
      {"exits_other", platform.exits_other},
      {"exitless_calls", platform.exitless_calls},
      {"exitless_punts", platform.exitless_punts},
      {"trapped_calls", platform.trapped_calls},
      {"kicks", platform.kicks},
      {"vcpu_handovers", platform.vcpu_handovers},
      {"spin_ns", platform.spin_ns},
      {"anonymous_bytes", statistics.memory.anonymous_bytes},
      {"file_chunks", statistics.memory.file_chunks},
      {"copied_bytes", statistics.memory.copied_bytes},
      {"invalidations", statistics.memory.invalidations},
      {"tables_forgotten", statistics.memory.forgotten},
  };
  return json.dump(2) + "\n";
}

}  // namespace ringfence::runtime
