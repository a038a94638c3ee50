// What /proc shows of the kernel: ProcSource over sentry/kernel.
#ifndef RINGFENCE_SENTRY_BOOT_PROCESS_SOURCE_H_
#define RINGFENCE_SENTRY_BOOT_PROCESS_SOURCE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sentry/fs/proc/proc_source.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/sysv_shm.h"
#include "sentry/net/unix/domain.h"

namespace ringfence::sentry {

class ProcessSource final : public ProcSource {
 public:
  // `kernel` outlives it. `memory_bytes` and `cpus` are what the sandbox reports.
  ProcessSource(Kernel* kernel, uint64_t memory_bytes, uint32_t cpus)
      : kernel_(kernel), memory_bytes_(memory_bytes), cpus_(cpus) {}
  // Before init starts.
  void SetMounts(std::shared_ptr<MountNamespace> mounts) { mounts_ = std::move(mounts); }

  void SetSegments(std::shared_ptr<SharedSegments> segments) { segments_ = std::move(segments); }

  void SetUnixDomain(std::shared_ptr<UnixDomain> domain) { unix_domain_ = std::move(domain); }

  std::vector<int32_t> Processes() const override;
  std::vector<int32_t> Threads(int32_t tgid) const override;
  std::optional<TaskSnapshot> Find(int32_t tid) const override;
  SystemSnapshot System() const override;
  uint32_t Cpus() const override { return cpus_; }
  uint64_t MemoryBytes() const override { return memory_bytes_; }
  void SetComm(int32_t tid, std::string_view name) const override;
  void SetOomScoreAdjust(int32_t tid, int32_t value, AndMinimum minimum) const override;
  std::vector<MountNamespace::MountInfo> Mounts(const FsContext& fs) const override;
  std::string UnixSockets() const override;
  std::string SegmentTable() const override;

 private:
  Kernel* const kernel_;
  const uint64_t memory_bytes_;
  const uint32_t cpus_;
  std::shared_ptr<MountNamespace> mounts_;
  std::shared_ptr<UnixDomain> unix_domain_;
  std::shared_ptr<SharedSegments> segments_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_PROCESS_SOURCE_H_
