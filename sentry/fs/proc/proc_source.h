// ProcSource: what /proc shows, as the kernel tells it. An interface, so that the file system can
// be tested without a kernel; sentry/boot implements it over sentry/kernel.
//
// Threads: any. Everything is a snapshot: a process may be gone when the answer is used.
#ifndef RINGFENCE_SENTRY_FS_PROC_PROC_SOURCE_H_
#define RINGFENCE_SENTRY_FS_PROC_PROC_SOURCE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/base/call_context.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

// A thread; what belongs to the process is the same in all its threads. Null pointers: it has
// exited (zombie).
struct TaskSnapshot {
  int32_t tid = 0, tgid = 0, ppid = 0, pgid = 0, sid = 0;
  int32_t foreground_pgid = -1;  // of the controlling terminal
  uint64_t tty_device = 0;       // 0: none
  char state = 'R';              // R S T Z
  std::string comm;
  CredentialsRef creds;
  MemoryManagerRef mm;
  std::shared_ptr<FdTable> fds;
  std::shared_ptr<FsContext> fs;
  int64_t user_ns = 0, system_ns = 0, children_user_ns = 0, children_system_ns = 0;
  int64_t start_ns = 0;  // after boot
  uint32_t threads = 1;
  int32_t nice = 0, oom_score_adj = 0, oom_score_adj_min = 0;
  uint32_t personality = 0;
  std::vector<bool> cpus_allowed;  // one for each CPU there is
  MemoryPolicy memory_policy;
  std::string waits_in;  // name of the system call it sleeps in; "" when it does not
  uint64_t minor_faults = 0, major_faults = 0, voluntary_switches = 0, involuntary_switches = 0;
  // By read(2), write(2) and their kin, of a process with the children it has waited for.
  uint64_t read_calls = 0, read_bytes = 0, write_calls = 0, written_bytes = 0;
  uint64_t pending = 0, group_pending = 0, blocked = 0, ignored = 0, caught = 0;  // bit n-1
  uint64_t queued_signals = 0;
  struct Limit {
    uint64_t soft, hard;  // ~0: unlimited
  };
  std::array<Limit, 16> limits{};  // by RLIMIT_* number
};

struct SystemSnapshot {
  std::string hostname, domainname;
  int64_t uptime_ns = 0, boot_realtime_sec = 0;
  uint64_t memory_bytes = 0, memory_free_bytes = 0;
  uint64_t shared_bytes = 0;  // of tmpfs, memfd and shared anonymous memory
  uint64_t table_bytes = 0;   // page tables
  uint32_t cpus = 1;
  // Since the start, of tasks that are gone as well.
  int64_t user_ns = 0, system_ns = 0;
  uint64_t forks = 0, switches = 0, minor_faults = 0, major_faults = 0;
  std::array<double, 3> loads{};  // mean of 1, 5, 15 minutes
  uint32_t tasks = 0, running = 0, max_tasks = 0;
  int32_t last_pid = 0, pid_max = 32768;
};

class ProcSource {
 public:
  virtual ~ProcSource() = default;
  virtual std::vector<int32_t> Processes() const = 0;            // tgids, ascending
  virtual std::vector<int32_t> Threads(int32_t tgid) const = 0;  // tids, leader first
  // By tid; nothing when there is no such task. A tgid names its leader, also a zombie.
  virtual std::optional<TaskSnapshot> Find(int32_t tid) const = 0;
  virtual SystemSnapshot System() const = 0;  // looks at every process
  virtual uint32_t Cpus() const { return System().cpus; }
  virtual uint64_t MemoryBytes() const { return System().memory_bytes; }
  // What writes to /proc/PID change; a task that is gone is left alone.
  virtual void SetComm(int32_t tid, std::string_view name) const = 0;
  enum class AndMinimum { kNo, kYes };
  virtual void SetOomScoreAdjust(int32_t tid, int32_t value, AndMinimum minimum) const = 0;
  virtual std::vector<MountNamespace::MountInfo> Mounts(const FsContext& fs) const = 0;
  virtual std::string UnixSockets() const { return {}; }   // the text of /proc/net/unix
  virtual std::string SegmentTable() const { return {}; }  // that of /proc/sysvipc/shm
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_PROC_PROC_SOURCE_H_
