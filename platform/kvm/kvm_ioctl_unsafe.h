// The raw KVM interface: the only place that makes KVM ioctls and maps kvm_run pages.
// Follows Documentation/virt/kvm/api.rst. Nothing here knows what guests are for.
//
// KvmDevice, VmFd and VcpuFd own their descriptors; a VcpuFd also owns the mapping of its kvm_run.
#ifndef RINGFENCE_PLATFORM_KVM_KVM_IOCTL_UNSAFE_H_
#define RINGFENCE_PLATFORM_KVM_KVM_IOCTL_UNSAFE_H_

#include <linux/kvm.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "platform/api/arch_state.h"
#include "platform/base/result.h"
#include "platform/base/unique_fd.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::kvm {

// A virtual CPU. All methods except the static ones are for the thread that holds the vCPU.
class VcpuFd {
 public:
  VcpuFd(UniqueFd fd, kvm_run* run, size_t run_bytes)
      : fd_(std::move(fd)), run_(run), run_bytes_(run_bytes) {}
  ~VcpuFd();
  VcpuFd(VcpuFd&& other) noexcept
      : fd_(std::move(other.fd_)),
        run_(std::exchange(other.run_, nullptr)),
        run_bytes_(other.run_bytes_) {}
  VcpuFd& operator=(VcpuFd&&) = delete;

  // Shared with the kernel. `immediate_exit` may be stored by a signal handler.
  kvm_run* run() const { return run_; }

  // KVM_RUN: 0 or a positive errno.
  int Run();

  Result<kvm_sregs> GetSregs();
  Result<void> SetSregs(const kvm_sregs& sregs);
  Result<void> SetXcr0(uint64_t value);
  // At most kMaxCpuid.
  static constexpr size_t kMaxCpuid = 128;
  Result<void> SetCpuid(const kvm_cpuid_entry2* entries, size_t count);
  struct Msr {
    uint32_t index;
    uint64_t value;
  };
  static constexpr size_t kMaxMsrs = 8;
  Result<void> SetMsrs(const Msr* msrs, size_t count);
  // The first FpuState::size() bytes of KVM's struct kvm_xsave.
  Result<void> GetXsave(platform::FpuState* out);
  Result<void> SetXsave(const platform::FpuState& in);
  // KVM_VCPU_TSC_OFFSET; ENXIO where the host has no such attribute.
  Result<void> SetTscOffset(int64_t offset);
  Result<uint64_t> TscKhz();

 private:
  UniqueFd fd_;
  kvm_run* run_;
  size_t run_bytes_;
};

// A virtual machine; takes memory slots from platform/mem.
class VmFd : public platform::SlotSink {
 public:
  VmFd(UniqueFd fd, size_t run_bytes, platform::HostPaging paging)
      : fd_(std::move(fd)), run_bytes_(run_bytes), paging_(paging) {}

  // Any thread.
  Result<void> AddSlot(uint64_t phys, uint64_t bytes, std::byte* host, bool readonly) override;
  // How many page tables the shadow may have (KVM_SET_NR_MMU_PAGES), 4 KiB of host memory each. KVM
  // itself derives 2% from the memory slots of the moment, which grow here: it then spends its time
  // rebuilding the tables of a few hundred processes.
  Result<void> SetShadowTables(uint64_t count);
  platform::HostPaging Paging() const override { return paging_; }
  // Deleting a memory slot makes KVM drop all shadow page tables (KVM_X86_QUIRK_SLOT_ZAP_ALL, which
  // is on unless it is switched off): a slot of one page below guest memory comes and goes.
  Result<void> ForgetTables() override;
  // KVM's number of the vCPU = `index`, each used once.
  Result<VcpuFd> CreateVcpu(unsigned index);

 private:
  UniqueFd fd_;
  size_t run_bytes_;
  std::atomic<uint32_t> next_slot_{1};  // 0 is ForgetTables'
  const platform::HostPaging paging_;
  absl::Mutex forget_mutex_;
};

class KvmDevice {
 public:
  // `fd` >= 0 is duplicated, -1 opens /dev/kvm. Checks the API version and every capability the
  // platform needs; the errors are those documented for CreateKvmPlatform.
  static absl::StatusOr<KvmDevice> Open(int fd);

  absl::StatusOr<std::unique_ptr<VmFd>> CreateVm(platform::HostPaging paging) const;
  unsigned max_vcpus() const { return max_vcpus_; }

 private:
  KvmDevice(UniqueFd fd, unsigned max_vcpus, size_t run_bytes)
      : fd_(std::move(fd)), max_vcpus_(max_vcpus), run_bytes_(run_bytes) {}
  UniqueFd fd_;
  unsigned max_vcpus_;
  size_t run_bytes_;
};

// The judgements of Open, pure, for tests: of a KVM whose version and capabilities are these, and
// of an errno of open("/dev/kvm").
using CapabilityFn = int (*)(int number, void* arg);
absl::Status CheckCapabilities(int api_version, CapabilityFn check, void* arg);
absl::Status DescribeOpenError(int error);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_KVM_IOCTL_UNSAFE_H_
