#include "platform/kvm/kvm_platform.h"

#include <sched.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "platform/base/log.h"
#include "platform/kvm/arch/x86_64/cpuid_filter.h"
#include "platform/kvm/arch/x86_64/kernel_image.h"
#include "platform/kvm/host_kernel.h"
#include "platform/kvm/kick_unsafe.h"
#include "platform/kvm/kvm_address_space.h"
#include "platform/kvm/kvm_context.h"
#include "platform/kvm/kvm_ioctl_unsafe.h"
#include "platform/kvm/probe.h"
#include "platform/kvm/service_thread.h"
#include "platform/kvm/stats.h"
#include "platform/kvm/vcpu.h"
#include "platform/kvm/vcpu_pool.h"
#include "platform/mem/safe_copy.h"

namespace ringfence::kvm {
namespace {

using platform::HostPaging;
using platform::KvmOptions;

constexpr unsigned kMostVcpus = 1024;

unsigned UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

// More than CPUs, so that one which waits for the host does not keep the others from running, but
// few: the more threads compete for the host's CPUs, the longer the one that holds a lock of the
// sentry waits for its turn. Where each handover takes 10 to 60 ms that is the lesser evil: threads
// that wake each other up should have a vCPU each.
unsigned DefaultVcpus() {
  constexpr unsigned kWhereHandoversAreSlow = 256;
  return HandoverWaitsForRcu() ? kWhereHandoversAreSlow : std::clamp(4 * UsableCpus(), 8u, 64u);
}

// A process needs about ten. 3% of RAM, where KVM would take 2% of a machine that has all of its
// memory from the start.
uint64_t ShadowTables(uint64_t guest_memory_bytes) {
  constexpr uint64_t kLeast = 4096;
  return std::max(kLeast, guest_memory_bytes / kPageSize / 32);
}

absl::Status SetupError(const char* what, Errno error) {
  std::string text = absl::StrCat("KVM: ", what, ": ", std::string(ErrnoName(error)));
  if (error == Errno::kNOMEM || error == Errno::kMFILE || error == Errno::kNOSPC) {
    return absl::ResourceExhaustedError(text);
  }
  return absl::FailedPreconditionError(text);
}

class KvmPlatform final : public platform::Platform {
 public:
  static absl::StatusOr<std::unique_ptr<platform::Platform>> Create(const KvmOptions& options);

  platform::GuestMemory& memory() override { return *memory_; }
  Result<std::unique_ptr<platform::AddressSpace>> NewAddressSpace() override {
    std::unique_ptr<platform::AddressSpace> space = TRY(KvmAddressSpace::Create(&space_shared_));
    return space;
  }
  Result<std::unique_ptr<platform::Context>> NewContext() override {
    std::unique_ptr<platform::Context> context = std::make_unique<KvmContext>(KvmContext::Shared{
        pool_.get(), memory_.get(), &stats_, service_.get(), host_.flavour, exit_ns_});
    return context;
  }
  uint64_t TscKhz() const override { return tsc_khz_; }
  int64_t TscOffset() const override { return host_.tsc_offset; }
  Counters GetCounters() const override;
  std::string Describe() const override;

 private:
  KvmPlatform() = default;
  absl::Status Init(const KvmOptions& options);
  absl::Status Probe(const KvmOptions& options);
  Result<std::unique_ptr<PooledVcpu>> NewVcpu(unsigned index);

  std::unique_ptr<VmFd> vm_;
  std::unique_ptr<platform::GuestMemory> memory_;
  std::unique_ptr<KernelImage> image_;
  SpaceShared space_shared_{};
  Stats stats_;
  ProbeResult host_{};
  uint64_t tsc_khz_ = 0;
  unsigned max_vcpus_ = 0;
  int64_t exit_ns_ = 0;  // a call that leaves the guest and returns, as measured at start
  std::unique_ptr<Vcpu> first_vcpu_;  // made for the probe, then the pool's number 0
  std::unique_ptr<VcpuPool> pool_;
  std::unique_ptr<ServiceThread> service_;  // polls the pool's vCPUs: goes first
};

absl::StatusOr<std::unique_ptr<platform::Platform>> KvmPlatform::Create(const KvmOptions& options) {
  std::unique_ptr<KvmPlatform> self(new KvmPlatform);
  absl::Status status = self->Init(options);
  if (!status.ok()) return status;
  return std::unique_ptr<platform::Platform>(std::move(self));
}

absl::Status KvmPlatform::Init(const KvmOptions& options) {
  if (const char* missing = MissingCpuFeature(HostCpuid)) {
    return absl::FailedPreconditionError(
        absl::StrCat("this CPU lacks ", missing, ", which Ringfence needs on x86-64"));
  }
  absl::StatusOr<KvmDevice> device = KvmDevice::Open(options.kvm_fd);
  if (!device.ok()) return device.status();
  const HostPaging paging = options.paging ? *options.paging : platform::GetHostPaging();
  if (paging == HostPaging::kShadowWithoutHuge) {
    Log(kWarning,
        "this kernel's shadow paging may lose split 2 MiB entries (CVE-2026-53359): using "
        "4 KiB entries, which is slower; update the host's kernel");
  }
  absl::StatusOr<std::unique_ptr<VmFd>> vm = device->CreateVm(paging);
  if (!vm.ok()) return vm.status();
  vm_ = *std::move(vm);
  max_vcpus_ = std::min({options.max_vcpus == 0 ? DefaultVcpus() : options.max_vcpus, kMostVcpus,
                         device->max_vcpus()});
  platform::InstallSafeCopyHandler();
  InstallKickHandler();

  platform::GuestMemory::Options memory_options;
  memory_options.max_anonymous_bytes = options.guest_memory_bytes;
  memory_options.max_file_bytes = options.file_window_bytes;
  auto memory = platform::GuestMemory::Create(memory_options, vm_.get());
  if (!memory.ok()) return memory.status();
  memory_ = *std::move(memory);
  auto image = KernelImage::Create(memory_.get(), max_vcpus_, Flavour::kPrivileged);
  if (!image.ok()) return SetupError("building the kernel part", image.error());
  image_ = std::move(image).value();
  absl::Status status = Probe(options);
  if (!status.ok()) return status;
  const bool deprivileged = host_.flavour == Flavour::kDeprivileged;
  const uint64_t direct = kTrampolineCode.value() + TrampolineTable(Flavour::kDeprivileged).direct;
  space_shared_ = {memory_.get(), image_->table(), image_->trampoline(), deprivileged,
                   deprivileged ? direct : 0};
  if (deprivileged && !CallSitesWork(&space_shared_, *first_vcpu_)) {
    Log(kWarning, "call sites do not work on this host: SYSCALL stays as slow as it is");
    space_shared_.direct_entry = 0;
  }
  absl::StatusOr<int64_t> exit_ns = MeasureExit(&space_shared_, *first_vcpu_);
  if (!exit_ns.ok()) return exit_ns.status();
  exit_ns_ = *exit_ns;
  service_ = std::make_unique<ServiceThread>(
      ExitlessPolicy(options.exitless, UsableCpus(), exit_ns_), max_vcpus_, SpinsFor(exit_ns_),
      SpinsFor(ServiceThread::kTurnNanos), &stats_);
  pool_ = std::make_unique<VcpuPool>(max_vcpus_, [this](unsigned index) { return NewVcpu(index); });
  return absl::OkStatus();
}

absl::Status KvmPlatform::Probe(const KvmOptions& options) {
  auto vcpu = Vcpu::Create(*vm_, image_.get(), Flavour::kPrivileged, 0);
  if (!vcpu.ok()) return SetupError("creating a virtual CPU", vcpu.error());
  first_vcpu_ = std::move(vcpu).value();
  auto khz = first_vcpu_->fd().TscKhz();
  if (!khz.ok()) return SetupError("reading the TSC frequency", khz.error());
  tsc_khz_ = *khz;
  absl::StatusOr<ProbeResult> host = ProbeHost(memory_.get(), *image_, *first_vcpu_);
  if (!host.ok()) return host.status();
  host_ = *host;
  const bool privileged = host_.flavour == Flavour::kPrivileged;
  if ((options.flavour == KvmOptions::kPrivileged && !privileged) ||
      (options.flavour == KvmOptions::kDeprivileged && privileged)) {
    return absl::FailedPreconditionError(
        privileged ? "SYSCALL enters ring 0 on this host: a deprivileged trampoline is unsafe"
                   : "SYSCALL stays in ring 3 on this host: a privileged trampoline cannot work");
  }
  if (vm_->Paging() != HostPaging::kNested) {
    const uint64_t tables = ShadowTables(options.guest_memory_bytes);
    const Result<void> set = vm_->SetShadowTables(tables);
    if (!set.ok()) return SetupError("the number of shadow page tables", set.error());
  }
  image_->SetFlavour(host_.flavour);
  Result<void> prepared = image_->PrepareVcpu(0);
  if (!prepared.ok()) return SetupError("preparing a virtual CPU", prepared.error());
  first_vcpu_->SetFlavour(host_.flavour);
  return absl::OkStatus();
}

Result<std::unique_ptr<PooledVcpu>> KvmPlatform::NewVcpu(unsigned index) {
  std::unique_ptr<Vcpu> vcpu;
  if (index == 0 && first_vcpu_ != nullptr) {
    vcpu = std::move(first_vcpu_);
  } else {
    vcpu = TRY(Vcpu::Create(*vm_, image_.get(), host_.flavour, index));
  }
  service_->Register(&vcpu->gate());
  return std::unique_ptr<PooledVcpu>(std::move(vcpu));
}

KvmPlatform::Counters KvmPlatform::GetCounters() const {
  const auto get = [](const std::atomic<uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  Counters c = {};
  c.exits_syscall = get(stats_.exits_syscall);
  c.exits_fault = get(stats_.exits_fault);
  c.exits_exception = get(stats_.exits_exception);
  c.exits_interrupt = get(stats_.exits_interrupt);
  c.exits_other = get(stats_.exits_other);
  c.exitless_calls = get(stats_.exitless_calls);
  c.exitless_punts = get(stats_.exitless_punts);
  c.trapped_calls = get(stats_.trapped_calls);
  c.kicks = get(stats_.kicks);
  c.vcpu_handovers = pool_->handovers();
  c.spin_ns = get(stats_.spin_ns);
  return c;
}

std::string KvmPlatform::Describe() const {
  return absl::StrCat(
      "kvm x86-64, ",
      host_.flavour == Flavour::kPrivileged ? "hardware virtualisation, privileged trampoline"
                                            : "no hardware virtualisation, deprivileged trampoline",
      ", at most ", max_vcpus_, " vCPUs, TSC ", tsc_khz_, " kHz, offset ", host_.tsc_offset,
      space_shared_.direct_entry != 0 ? ", call sites jump" : "", ", exit and return ", exit_ns_,
      " ns, exitless ", service_->enabled() ? "possible" : "off");
}

}  // namespace
}  // namespace ringfence::kvm

namespace ringfence::platform {

absl::StatusOr<std::unique_ptr<Platform>> CreateKvmPlatform(const KvmOptions& options) {
  return kvm::KvmPlatform::Create(options);
}

int KickSignal() { return kvm::KickSignalNumber(); }

}  // namespace ringfence::platform
