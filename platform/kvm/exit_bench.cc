// What a call costs: the bare loops of KVM next to the same through Context::Switch and
// SyscallService. Interleaved rounds, medians; a round in which the host stole CPU time is dropped.
//
//   bare exit      KVM_RUN in a loop on a guest that does OUT, registers by sync regs
//   Switch         getpid-like calls through Context::Switch
//   bare exitless  two threads and a shared word, no vCPU pool, no gate, guest spins in ring 3
//   Serve          the same calls through the service thread
//
//   bare trap      SYSCALL to an entry that returns at once: no host, no sentry
//
// Usage: exit_bench [ROUNDS | bare-exit | bare-exitless | bare-trap]. Prints ns per call and the
// two ratios, or one number in ns for a bare loop; exits with 77 without KVM.
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "platform/kvm/arch/x86_64/answer_unsafe.h"
#include "platform/kvm/arch/x86_64/cpu_relax.h"
#include "platform/kvm/arch/x86_64/kernel_image.h"
#include "platform/kvm/probe.h"
#include "platform/kvm/service_thread.h"
#include "platform/kvm/test_guest.h"
#include "platform/kvm/vcpu.h"
#include "platform/mem/host_paging.h"

namespace ringfence::kvm {
namespace {

constexpr int kExitCalls = 2000;
constexpr int kExitlessCalls = 40000;
constexpr int kTrapCalls = 5000;
constexpr uint32_t kMsrLstar = 0xc0000082;
// Offsets in the page of code.
constexpr uint64_t kTrapLoop = 0x100, kTrapEntry = 0x180;

int64_t Nanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

// Jiffies stolen by the hypervisor underneath, of all CPUs.
uint64_t Steal() {
  std::FILE* stat = std::fopen("/proc/stat", "re");
  unsigned long long v[8] = {};
  if (stat != nullptr) {
    (void)!std::fscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2],
                       &v[3], &v[4], &v[5], &v[6], &v[7]);
    std::fclose(stat);
  }
  return v[7];
}

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "exit_bench: %s\n", what.c_str());
  std::exit(1);
}

// mov eax, 39; syscall; dec r15; jnz back; mov eax, 60; syscall; jmp back. The first call is made
// as hot ones are: by a call site, where the space has them.
Code CallLoop(platform::AddressSpace& space, bool call_site = true) {
  Code code;
  const Result<uint32_t> slot =
      space.AddCallSite({VirtAddr(kTestCode + 7), VirtAddr(kTestCode), 39});
  if (slot.ok() && call_site) {
    code({0xff, 0x24, 0x25}).Imm32(*slot);
  } else {
    code({0xb8, 39, 0, 0, 0, 0x0f, 0x05});
  }
  return code({0x49, 0xff, 0xcf, 0x75, 0xf4})({0xb8, 60, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xeb});
}

// A virtual machine without the platform around it.
class BareLoop {
 public:
  BareLoop() {
    auto device = KvmDevice::Open(-1);
    if (!device.ok()) {
      std::fprintf(stderr, "%s\n", device.status().ToString().c_str());
      std::exit(77);
    }
    vm_ = *device->CreateVm(platform::GetHostPaging());
    memory_ = *platform::GuestMemory::Create({}, vm_.get());
    image_ = MUST(KernelImage::Create(memory_.get(), 1, Flavour::kPrivileged));  // fresh memory
    vcpu_ = MUST(Vcpu::Create(*vm_, image_.get(), Flavour::kPrivileged, 0));     // a fresh VM
    auto host = ProbeHost(memory_.get(), *image_, *vcpu_);
    if (!host.ok()) Fail(host.status().ToString());
    flavour_ = host->flavour;
    image_->SetFlavour(flavour_);
    MUST(image_->PrepareVcpu(0));  // it exists
    vcpu_->SetFlavour(flavour_);
    shared_ = {memory_.get(), image_->table(), image_->trampoline(),
               flavour_ == Flavour::kDeprivileged, 0};
    if (flavour_ == Flavour::kDeprivileged) {
      shared_.direct_entry = kTrampolineCode.value() + TrampolineTable(flavour_).direct;
    }
    space_ = MUST(KvmAddressSpace::Create(&shared_));  // fresh memory
    code_ = MUST(memory_->Allocate(1));                // fresh memory
    const Code code = CallLoop(*space_);
    std::memcpy(memory_->HostAddress(code_.first), code.bytes().data(), code.size());
    AddTrapCode();
    MUST(space_->Map(VirtAddr(kTestCode), code_, {.prot = Prot::RX()}));  // an empty space
    MUST(vcpu_->SetSpace(*space_));                                       // an empty space
    state_.rip = kTestCode;
    state_.rsp = kTestStack;
  }
  ~BareLoop() {
    const auto drop = [this](FrameRun run) { memory_->Unref(run); };
    (void)space_->Unmap({VirtAddr(kTestCode), VirtAddr(kTestCode + kPageSize)}, drop);
  }

  // KVM_RUN, two registers, KVM_RUN: nothing else.
  double Exits() {
    vcpu_->page()->mode.store(0);
    kvm_run* run = vcpu_->run();
    state_.r15 = uint64_t{1} << 40;
    vcpu_->Load(state_);
    if (vcpu_->Run().kind != ExitKind::kCall) Fail("bare loop: no exit");
    const int64_t start = Nanos();
    for (int i = 0; i < kExitCalls; ++i) {
      kvm_regs& regs = run->s.regs.regs;
      if (flavour_ == Flavour::kDeprivileged) {
        regs.rip = regs.rcx;
        regs.rflags = regs.r11;
      } else {
        regs.rip = kTrampolineCode.value() + TrampolineTable(flavour_).exited;
      }
      regs.rax = 0;
      run->kvm_valid_regs = KVM_SYNC_X86_REGS;
      run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
      if (vcpu_->fd().Run() != 0) Fail("bare loop: KVM_RUN failed");
    }
    const double ns = static_cast<double>(Nanos() - start) / kExitCalls;
    run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    return ns;
  }

  // The stub spins on its page; a thread answers.
  double Exitless() {
    CallPage* page = vcpu_->page();
    page->mode.store(1);
    page->spin_limit.store(1u << 31);
    page->state.store(CallPage::kIdle);
    std::atomic<bool> stop{false};
    std::atomic<bool> ready{false};
    const bool whole_stores = HasWholeStores();
    const uint32_t turn_spins = SpinsFor(ServiceThread::kTurnNanos);
    std::thread server([&] {
      ready = true;
      while (!stop.load(std::memory_order_relaxed)) {
        if (page->state.load(std::memory_order_acquire) != CallPage::kPosted) {
          CpuRelax();
          continue;
        }
        if (page->rax.load(std::memory_order_relaxed) == 60) {
          page->state.store(CallPage::kPunt, std::memory_order_release);
          continue;
        }
        Answer(*page, 1, whole_stores);
        for (uint32_t n = turn_spins; n > 0; --n) CpuRelax();
      }
    });
    while (!ready) CpuRelax();
    state_.rip = kTestCode;
    state_.r15 = kExitlessCalls;
    vcpu_->Load(state_);
    const int64_t start = Nanos();
    const DecodedExit exit = vcpu_->Run();
    const double ns = static_cast<double>(Nanos() - start) / kExitlessCalls;
    stop = true;
    server.join();
    if (exit.kind != ExitKind::kCall) Fail("bare exitless loop: unexpected exit " + exit.text);
    return ns;
  }

  // SYSCALL goes to an entry of ours, for good: the other loops do not run afterwards.
  double Traps() {
    const VcpuFd::Msr entry = {kMsrLstar, kTestCode + kTrapEntry};
    MUST(vcpu_->fd().SetMsrs(&entry, 1));  // a register that every vCPU has
    state_.rip = kTestCode + kTrapLoop;
    state_.r15 = kTrapCalls;
    vcpu_->Load(state_);
    const int64_t start = Nanos();
    const DecodedExit exit = vcpu_->Run();
    const double ns = static_cast<double>(Nanos() - start) / kTrapCalls;
    if (exit.kind != ExitKind::kException) Fail("bare trap: unexpected exit " + exit.text);
    return ns;
  }

 private:
  // L: mov eax, 39; syscall; dec r15; jnz L; ud2. The entry returns as each flavour can: SYSRET, or
  // jmp rcx where SYSCALL stays in ring 3.
  void AddTrapCode() {
    const Code loop =
        Code()({0xb8, 39, 0, 0, 0, 0x0f, 0x05})({0x49, 0xff, 0xcf, 0x75, 0xf4})({0x0f, 0x0b});
    Code entry;
    if (flavour_ == Flavour::kDeprivileged) {
      entry({0xff, 0xe1});
    } else {
      entry({0x48, 0x0f, 0x07});
    }
    std::byte* const page = memory_->HostAddress(code_.first);
    std::memcpy(page + kTrapLoop, loop.bytes().data(), loop.size());
    std::memcpy(page + kTrapEntry, entry.bytes().data(), entry.size());
  }

  std::unique_ptr<VmFd> vm_;
  std::unique_ptr<platform::GuestMemory> memory_;
  std::unique_ptr<KernelImage> image_;
  std::unique_ptr<Vcpu> vcpu_;
  Flavour flavour_;
  SpaceShared shared_;
  std::unique_ptr<KvmAddressSpace> space_;
  FrameRun code_;
  platform::ArchState state_;
};

class GetpidService : public platform::SyscallService {
 public:
  bool Serve(const platform::SyscallRequest& request, int64_t* result) override {
    *result = 1;
    return request.number == 39;
  }
};

class PlatformLoop {
 public:
  explicit PlatformLoop(platform::ExitlessMode mode)
      : platform_(NewTestPlatform({.exitless = mode})), guest_(platform_.get()) {
    guest_.SetCode(CallLoop(*guest_.space));
    context_ = MUST(platform_->NewContext());  // fresh memory
    context_->SetService(&service_);
    state_ = guest_.Start();
  }
  platform::Platform& platform() { return *platform_; }

  // From now on the guest answers the call itself.
  void Answer(bool call_site) {
    guest_.SetCode(CallLoop(*guest_.space, call_site));
    context_->SetAnswer(39, 1);
  }

  double Run(int calls) {
    state_ = guest_.Start();
    state_.r15 = static_cast<uint64_t>(calls);
    const int64_t start = Nanos();
    for (;;) {
      const platform::Exit exit = context_->Switch(*guest_.space, state_, {});
      if (!std::holds_alternative<platform::SyscallExit>(exit)) Fail("Switch: unexpected exit");
      if (state_.orig_rax == 60) break;
      state_.rax = 1;
    }
    return static_cast<double>(Nanos() - start) / calls;
  }

 private:
  std::unique_ptr<platform::Platform> platform_;
  TestGuest guest_;
  GetpidService service_;
  std::unique_ptr<platform::Context> context_;
  platform::ArchState state_;
};

double Median(std::vector<double> v) {
  if (v.empty()) Fail("every round was disturbed");
  std::nth_element(v.begin(), v.begin() + v.size() / 2, v.end());
  return v[v.size() / 2];
}

int Main(int rounds) {
  BareLoop bare, bare_traps;
  PlatformLoop exits(platform::ExitlessMode::kOff);
  PlatformLoop exitless(platform::ExitlessMode::kOn);
  PlatformLoop trapping(platform::ExitlessMode::kOn), jumping(platform::ExitlessMode::kOn);
  trapping.Answer(/*call_site=*/false);
  jumping.Answer(/*call_site=*/true);
  std::printf("%s\n", exits.platform().Describe().c_str());
  std::vector<double> bare_exit, through_switch, bare_exitless, through_serve, bare_trap, answered,
      answered_at_site;
  int dropped = 0;
  for (int round = -1; round < rounds; ++round) {  // the first only warms up
    const uint64_t steal = Steal();
    const double a = bare.Exits();
    const double b = exits.Run(kExitCalls);
    const double c = bare.Exitless();
    const double d = exitless.Run(kExitlessCalls);
    const double f = bare_traps.Traps();
    const double g = trapping.Run(kTrapCalls);
    const double h = jumping.Run(kExitlessCalls);
    if (round < 0) continue;
    if (Steal() - steal > 1 && dropped < rounds / 2) {
      ++dropped;
      continue;
    }
    bare_exit.push_back(a);
    through_switch.push_back(b);
    bare_exitless.push_back(c);
    through_serve.push_back(d);
    bare_trap.push_back(f);
    answered.push_back(g);
    answered_at_site.push_back(h);
  }
  const double e = Median(bare_exit), s = Median(through_switch);
  const double x = Median(bare_exitless), v = Median(through_serve);
  std::printf("bare KVM_RUN exit   %8.0f ns\nContext::Switch     %8.0f ns   %.2fx (target 1.25x)\n",
              e, s, s / e);
  std::printf("bare exitless loop  %8.0f ns\nSyscallService      %8.0f ns   %.2fx (target 2x)\n", x,
              v, v / x);
  const double t = Median(bare_trap), k = Median(answered), j = Median(answered_at_site);
  std::printf("bare SYSCALL        %8.0f ns\nanswered in guest   %8.0f ns   %.2fx (target 1.2x)\n",
              t, k, k / t);
  std::printf("  at a call site    %8.0f ns   %.3fx\n", j, j / t);
  const auto counters = exitless.platform().GetCounters();
  const uint64_t calls = counters.exitless_calls + counters.exits_syscall;
  std::printf("%d rounds, %d dropped for steal; %llu of %llu calls answered exitless\n", rounds,
              dropped, static_cast<unsigned long long>(counters.exitless_calls),
              static_cast<unsigned long long>(calls));
  return 0;
}

// One bare loop, as one number, for whoever compares it with something else (bench/run).
int PrintBare(double (BareLoop::*loop)()) {
  constexpr int kRuns = 3;
  BareLoop bare;
  (void)(bare.*loop)();  // warms up
  std::vector<double> values;
  for (int i = 0; i < kRuns; ++i) values.push_back((bare.*loop)());
  std::printf("%.0f\n", Median(values));
  return 0;
}

}  // namespace
}  // namespace ringfence::kvm

int main(int argc, char** argv) {
  using ringfence::kvm::BareLoop;
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "bare-exit") return ringfence::kvm::PrintBare(&BareLoop::Exits);
  if (what == "bare-exitless") return ringfence::kvm::PrintBare(&BareLoop::Exitless);
  if (what == "bare-trap") return ringfence::kvm::PrintBare(&BareLoop::Traps);
  const int rounds = std::atoi(what.c_str());
  return ringfence::kvm::Main(rounds > 0 ? rounds : 11);
}
