#include "platform/kvm/kvm_ioctl_unsafe.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "platform/kvm/request_numbers.h"

namespace ringfence::kvm {
namespace {

struct KvmCapability {
  int number;
  const char* name;
};

// Capabilities without which nothing works.
constexpr KvmCapability kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
};
constexpr int kNeededSync = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;

// SAFETY: every ioctl here passes a pointer to a live object of the type its number demands, or an
// integer; the kernel writes nothing beyond that object.
template <typename T>
int Ioctl(int fd, unsigned long request, T arg) {
  int r;
  do {
    r = ioctl(fd, request, arg);
  } while (r < 0 && errno == EINTR);
  return r;
}

Result<void> IoctlResult(int fd, unsigned long request, const void* arg) {
  if (Ioctl(fd, request, arg) < 0) return LastHostErrno();
  return Ok();
}

// The structures of <linux/kvm.h> with the layout of C: see request_numbers.h.
template <typename Entry, size_t kCount>
struct Counted {
  uint32_t count;
  uint32_t padding;
  Entry entries[kCount];
};

struct alignas(64) Xsave {
  std::byte region[kXsaveBytes];
};

absl::Status SystemError(const char* what, int error = errno) {
  std::string text = absl::StrCat(what, ": ", std::strerror(error));
  if (error == ENOMEM || error == ENOSPC || error == EMFILE || error == ENFILE) {
    return absl::ResourceExhaustedError(text);
  }
  return absl::FailedPreconditionError(text);
}

absl::StatusOr<UniqueFd> OpenDevice(int fd) {
  UniqueFd device(fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (device.valid()) return device;
  if (fd >= 0) return SystemError("the descriptor given for /dev/kvm cannot be duplicated");
  return DescribeOpenError(errno);
}

int CheckWithIoctl(int number, void* arg) {
  return Ioctl(*static_cast<int*>(arg), KVM_CHECK_EXTENSION, static_cast<long>(number));
}

}  // namespace

absl::Status DescribeOpenError(int error) {
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return absl::NotFoundError(
          "/dev/kvm does not exist: this host has no KVM, or its module is not loaded "
          "(modprobe kvm_intel or kvm_amd; in a container, pass the device in)");
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          "/dev/kvm may not be opened: add yourself to the group that owns it "
          "(usermod -aG kvm USER, then log in again) or run as root");
    default:
      return SystemError("/dev/kvm cannot be opened", error);
  }
}

absl::Status CheckCapabilities(int api_version, CapabilityFn check, void* arg) {
  if (api_version != KVM_API_VERSION) {
    return absl::FailedPreconditionError(absl::StrCat("KVM speaks API version ", api_version,
                                                      ", Ringfence needs ", KVM_API_VERSION,
                                                      ": use a kernel newer than 2.6.22"));
  }
  std::string missing;
  for (const KvmCapability& c : kNeeded) {
    if (check(c.number, arg) <= 0) absl::StrAppend(&missing, missing.empty() ? "" : ", ", c.name);
  }
  if ((check(KVM_CAP_SYNC_REGS, arg) & kNeededSync) != kNeededSync) {
    absl::StrAppend(&missing, missing.empty() ? "" : ", ", "KVM_CAP_SYNC_REGS");
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("this kernel's KVM is too old, it lacks ",
                                                    missing, ": use Linux 5.10 or newer"));
}

VcpuFd::~VcpuFd() {
  if (run_ != nullptr) munmap(run_, run_bytes_);
}

int VcpuFd::Run() { return ioctl(fd_.get(), KVM_RUN, 0) < 0 ? errno : 0; }

Result<kvm_sregs> VcpuFd::GetSregs() {
  kvm_sregs sregs;
  if (Ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0) return LastHostErrno();
  return sregs;
}

Result<void> VcpuFd::SetSregs(const kvm_sregs& sregs) {
  return IoctlResult(fd_.get(), KVM_SET_SREGS, &sregs);
}

Result<void> VcpuFd::SetXcr0(uint64_t value) {
  kvm_xcrs xcrs = {};
  xcrs.nr_xcrs = 1;
  xcrs.xcrs[0].value = value;
  return IoctlResult(fd_.get(), KVM_SET_XCRS, &xcrs);
}

Result<void> VcpuFd::SetCpuid(const kvm_cpuid_entry2* entries, size_t count) {
  if (count > kMaxCpuid) return Errno::kINVAL;
  Counted<kvm_cpuid_entry2, kMaxCpuid> arg = {};
  static_assert(offsetof(decltype(arg), entries) == kCountedHeader);
  arg.count = static_cast<uint32_t>(count);
  std::copy(entries, entries + count, arg.entries);
  return IoctlResult(fd_.get(), kSetCpuid2, &arg);
}

Result<void> VcpuFd::SetMsrs(const Msr* msrs, size_t count) {
  if (count > kMaxMsrs) return Errno::kINVAL;
  Counted<kvm_msr_entry, kMaxMsrs> arg = {};
  static_assert(offsetof(decltype(arg), entries) == kCountedHeader);
  arg.count = static_cast<uint32_t>(count);
  for (size_t i = 0; i < count; ++i) {
    arg.entries[i].index = msrs[i].index;
    arg.entries[i].data = msrs[i].value;
  }
  const int done = Ioctl(fd_.get(), kSetMsrs, &arg);
  if (done < 0) return LastHostErrno();
  if (static_cast<size_t>(done) != count) return Errno::kINVAL;
  return Ok();
}

Result<void> VcpuFd::GetXsave(platform::FpuState* out) {
  Xsave xsave;
  if (Ioctl(fd_.get(), kGetXsave, &xsave) < 0) return LastHostErrno();
  std::memcpy(out->image.data(), xsave.region, platform::FpuState::size());
  // KVM reports components of the host that the guest's XCR0 does not have (PKRU).
  platform::SanitizeFpuState(out);
  return Ok();
}

Result<void> VcpuFd::SetXsave(const platform::FpuState& in) {
  Xsave xsave = {};
  std::memcpy(xsave.region, in.image.data(), platform::FpuState::size());
  return IoctlResult(fd_.get(), kSetXsave, &xsave);
}

Result<void> VcpuFd::SetTscOffset(int64_t offset) {
  kvm_device_attr attr = {};
  attr.group = KVM_VCPU_TSC_CTRL;
  attr.attr = KVM_VCPU_TSC_OFFSET;
  // SAFETY: the kernel reads 8 bytes at this address.
  attr.addr = reinterpret_cast<uint64_t>(&offset);
  if (Ioctl(fd_.get(), KVM_HAS_DEVICE_ATTR, &attr) < 0) return Errno::kNXIO;
  return IoctlResult(fd_.get(), KVM_SET_DEVICE_ATTR, &attr);
}

Result<uint64_t> VcpuFd::TscKhz() {
  int khz = Ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0L);
  if (khz <= 0) return Errno::kIO;
  return static_cast<uint64_t>(khz);
}

Result<void> VmFd::AddSlot(uint64_t phys, uint64_t bytes, std::byte* host, bool readonly) {
  kvm_userspace_memory_region region = {};
  region.slot = next_slot_.fetch_add(1, std::memory_order_relaxed);
  region.flags = readonly ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = phys;
  region.memory_size = bytes;
  // SAFETY: GuestMemory keeps [host, host + bytes) mapped for as long as the VM lives.
  region.userspace_addr = reinterpret_cast<uint64_t>(host);
  return IoctlResult(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region);
}

Result<void> VmFd::SetShadowTables(uint64_t count) {
  const int result = Ioctl(fd_.get(), KVM_SET_NR_MMU_PAGES, static_cast<long>(count));
  return result == 0 ? Ok() : Result<void>(LastHostErrno());
}

Result<void> VmFd::ForgetTables() {
  alignas(kPageSize) static std::byte page[kPageSize];
  absl::MutexLock lock(&forget_mutex_);
  kvm_userspace_memory_region region = {};
  // SAFETY: static memory outlives the VM, and no page table of ours points there.
  region.userspace_addr = reinterpret_cast<uint64_t>(page);
  region.memory_size = kPageSize;
  TRY(IoctlResult(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region));
  region.memory_size = 0;
  return IoctlResult(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region);
}

Result<VcpuFd> VmFd::CreateVcpu(unsigned index) {
  UniqueFd fd(Ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<long>(index)));
  if (!fd.valid()) return LastHostErrno();
  // SAFETY: a fresh mapping of the size KVM names; owned and unmapped by the VcpuFd.
  void* run = mmap(nullptr, run_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) return LastHostErrno();
  return VcpuFd(std::move(fd), static_cast<kvm_run*>(run), run_bytes_);
}

absl::StatusOr<KvmDevice> KvmDevice::Open(int fd) {
  absl::StatusOr<UniqueFd> device = OpenDevice(fd);
  if (!device.ok()) return device.status();
  int raw = device->get();
  int version = Ioctl(raw, KVM_GET_API_VERSION, 0L);
  if (version < 0) return SystemError("/dev/kvm is not a KVM device");
  absl::Status status = CheckCapabilities(version, CheckWithIoctl, &raw);
  if (!status.ok()) return status;
  int run_bytes = Ioctl(raw, KVM_GET_VCPU_MMAP_SIZE, 0L);
  if (run_bytes < static_cast<int>(sizeof(kvm_run))) {
    return SystemError("KVM_GET_VCPU_MMAP_SIZE failed");
  }
  int max_vcpus = CheckWithIoctl(KVM_CAP_MAX_VCPUS, &raw);
  if (max_vcpus <= 0) max_vcpus = 4;  // what the documentation says to assume
  return KvmDevice(*std::move(device), static_cast<unsigned>(max_vcpus),
                   static_cast<size_t>(run_bytes));
}

absl::StatusOr<std::unique_ptr<VmFd>> KvmDevice::CreateVm(platform::HostPaging paging) const {
  UniqueFd vm(Ioctl(fd_.get(), KVM_CREATE_VM, 0L));
  if (!vm.valid()) return SystemError("KVM cannot create a virtual machine");
  return std::make_unique<VmFd>(std::move(vm), run_bytes_, paging);
}

}  // namespace ringfence::kvm
