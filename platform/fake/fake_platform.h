// FakePlatform: a Platform without /dev/kvm for the sentry's unit tests. Guest memory and page
// tables are the real ones; what the guest does is scripted.
//
//   FakePlatform platform;
//   platform.SetContextHook([](FakeContext& guest) {
//     guest.AddSyscall(39, {});                                   // getpid
//     guest.Add([&](AddressSpace& space, ArchState& regs) -> Exit {...});
//     guest.AddUntilInterrupted();                                // a program that loops
//   });
//
// Each Switch runs the next step. A guest with no step left returns FatalExit, so that a wrong
// script ends a test instead of hanging it.
#ifndef RINGFENCE_PLATFORM_FAKE_FAKE_PLATFORM_H_
#define RINGFENCE_PLATFORM_FAKE_FAKE_PLATFORM_H_

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "platform/api/platform.h"

namespace ringfence::platform {

class FakePlatform;

class FakeContext : public Context {
 public:
  using Step = std::function<Exit(AddressSpace& space, ArchState& state)>;
  using Args = std::array<uint64_t, 6>;

  explicit FakeContext(FakePlatform* platform) : platform_(platform) {}

  // Scripting: before the task starts, or from a step of this context.
  void Add(Step step);
  // An exit with the registers as they are.
  void AddExit(Exit exit);
  // SYSCALL with these registers: offered to the service first when exitless is on (the script then
  // goes on with the next step, rax = result), else SyscallExit.
  void AddSyscall(uint64_t number, Args args);
  // Runs until Interrupt().
  void AddUntilInterrupted();
  // What to do when the script is at its end, each time; instead of FatalExit.
  void SetProgram(Step step) { program_ = std::move(step); }

  // Context. An interrupt that is pending when Switch begins is delivered before the next step.
  Exit Switch(AddressSpace& space, ArchState& state, const SwitchOptions& options) override;
  void SaveFpu(FpuState* out) override { *out = fpu_; }
  void LoadFpu(const FpuState& in) override { fpu_ = in; }
  void Release() override { ++releases_; }
  void Interrupt() override;
  void SetAnswer(uint64_t, std::optional<uint32_t>) override {}
  void EnableAnswers(bool) override {}
  void SetService(SyscallService* service) override { service_ = service; }

  // Offers a call to the service as a running guest would; nothing when there is no service or it
  // declines. Tests may call it from any thread.
  std::optional<int64_t> Offer(const SyscallRequest& request);

  int releases() const { return releases_; }
  size_t steps_left() const { return steps_.size(); }

 private:
  struct Syscall {
    uint64_t number;
    Args args;
  };
  struct Spin {};
  using AnyStep = std::variant<Step, Syscall, Spin>;

  bool TakeInterrupt() { return interrupted_.exchange(0) != 0; }
  // Nothing when the service answered and the guest goes on.
  std::optional<Exit> RunSyscall(const Syscall& call, ArchState& state, bool exitless);

  FakePlatform* const platform_;
  std::deque<AnyStep> steps_;
  Step program_;
  FpuState fpu_ = InitialFpuState();
  SyscallService* service_ = nullptr;
  std::atomic<int> releases_{0};
  std::atomic<uint32_t> interrupted_{0};
};

class FakePlatform : public Platform {
 public:
  explicit FakePlatform(const GuestMemory::Options& options = {});
  ~FakePlatform() override;

  GuestMemory& memory() override { return *memory_; }
  Result<std::unique_ptr<AddressSpace>> NewAddressSpace() override;
  Result<std::unique_ptr<Context>> NewContext() override;
  uint64_t TscKhz() const override { return 1000000; }
  int64_t TscOffset() const override { return 0; }
  Counters GetCounters() const override;
  std::string Describe() const override { return "fake"; }

  // Called for each new context, before its task gets it: the place to script it.
  void SetContextHook(std::function<void(FakeContext&)> hook) { hook_ = std::move(hook); }

  // Accesses as the guest's CPU would make them, page by page through the page tables: the fault,
  // if one stops the access. Earlier pages have been read or written then.
  std::optional<FaultExit> Load(AddressSpace& space, VirtAddr va, void* to, size_t n);
  std::optional<FaultExit> Store(AddressSpace& space, VirtAddr va, const void* from, size_t n);

 private:
  friend class FakeContext;
  struct AtomicCounters;

  std::unique_ptr<SlotSink> sink_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<AtomicCounters> counters_;
  std::function<void(FakeContext&)> hook_;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_FAKE_FAKE_PLATFORM_H_
