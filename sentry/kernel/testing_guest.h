// Scripted guests for tests of the kernel: a guest program is a C++ function that runs on a thread
// of its own in step with Context::Switch. It makes "system calls" by handing a function over to
// the kernel's side, is interrupted, gets signal handlers run, forks.
//
//   TestKernel test;
//   int32_t status = test.Run([](Guest& g) {
//     int64_t pid = g.Fork([](Guest& child) { child.ExitGroup(7); });
//     ...
//   });
#ifndef RINGFENCE_SENTRY_KERNEL_TESTING_GUEST_H_
#define RINGFENCE_SENTRY_KERNEL_TESTING_GUEST_H_

#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>

#include "platform/fake/fake_platform.h"
#include "sentry/kernel/kernel.h"

namespace ringfence::sentry {

class Guest;
class GuestPlatform;
using GuestProgram = std::function<void(Guest&)>;
// What a call does on the kernel's side, and the result for rax.
using KernelSide = std::function<int64_t(Task&)>;

template <typename T>
int64_t AsRax(const Result<T>& result) {
  if (!result.ok()) return -static_cast<int>(result.error());
  if constexpr (std::is_void_v<T>) {
    return 0;
  } else {
    return static_cast<int64_t>(*result);
  }
}

// Runs one guest program; also the test's handle inside of it.
class Guest final : public platform::Context {
 public:
  Guest(GuestPlatform* platform, GuestProgram program)
      : platform_(platform), program_(std::move(program)) {}
  ~Guest() override;

  // --- for the program ---
  int64_t Call(const KernelSide& call);
  // fork, or clone with `args`; the child runs `program`.
  int64_t Clone(const CloneArgs& args, GuestProgram program);
  int64_t Fork(GuestProgram program) { return Clone({}, std::move(program)); }
  int64_t Thread(GuestProgram program);
  [[noreturn]] void Exit(int code);
  [[noreturn]] void ExitGroup(int code);
  void Trap(platform::Exit exit);  // an exception or fault, then goes on
  void Spin();                     // user code without calls, until interrupted
  // Installs a handler; the function runs as the handler.
  void Handle(SigNo sig, std::function<void(int)> handler, uint64_t flags = 0, SigSet mask = {});
  int64_t SetAction(SigNo sig, SigAction action);
  int64_t Wait(int32_t pid, int32_t* status, bool no_hang = false, bool stopped = false,
               bool continued = false);
  int64_t Kill(int32_t pid, SigNo sig);
  // execve by `call`; `next` runs as the new program. Returns only when it fails.
  int64_t Exec(const KernelSide& call, GuestProgram next);
  int64_t Sleep(int64_t ns);  // nanosleep without the rest
  // What user code finds as the answer to a call, without making it.
  std::optional<uint32_t> Answer(uint64_t number);

  // --- platform::Context ---
  platform::Exit Switch(platform::AddressSpace& space, platform::ArchState& state,
                        const SwitchOptions& options) override;
  void SaveFpu(platform::FpuState* out) override { *out = fpu_; }
  void LoadFpu(const platform::FpuState& in) override { fpu_ = in; }
  void Release() override {}
  void Interrupt() override;
  void SetAnswer(uint64_t number, std::optional<uint32_t> value) override;
  void EnableAnswers(bool) override {}
  void SetService(platform::SyscallService*) override {}

 private:
  struct Ended {};
  struct Execed {
    GuestProgram next;
  };
  enum class Turn { kKernel, kGuest, kOver };
  void ThreadMain();
  // Leaves the guest with `exit`; returns when the kernel enters it again.
  void Yield(platform::Exit exit);
  int64_t RunUntilReturned();
  void RunHandler();
  void RunProgram();

  GuestPlatform* const platform_;
  GuestProgram program_;
  GuestProgram exec_;  // of the execve that is being made
  platform::FpuState fpu_ = platform::InitialFpuState();
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Turn turn_ = Turn::kKernel;
  std::map<uint64_t, uint32_t> answers_;
  bool interrupted_ = false;
  bool spinning_ = false;
  std::optional<platform::Exit> exit_;
  platform::ArchState* state_ = nullptr;
};

class GuestPlatform final : public platform::FakePlatform {
 public:
  Result<std::unique_ptr<platform::Context>> NewContext() override;
  // The program of the next context.
  void SetNext(GuestProgram program);
  std::mutex& clone_mutex() { return clone_mutex_; }
  // Handlers live at made-up addresses.
  uint64_t AddHandler(std::function<void(int)> handler);
  std::function<void(int)> FindHandler(uint64_t address);

 private:
  std::mutex mutex_, clone_mutex_;
  GuestProgram next_;
  std::map<uint64_t, std::function<void(int)>> handlers_;
};

class TestDispatcher final : public SyscallDispatcher {
 public:
  int64_t Dispatch(Task& task, const platform::SyscallRequest& request) override;
  bool IsExitless(uint64_t) const override { return false; }
  bool ServeNonBlocking(Task&, const platform::SyscallRequest&, int64_t*) override { return false; }
};

class TestKernel {
 public:
  explicit TestKernel(Kernel::Options options = {});
  void SetInitHasShell(bool has_shell) { has_shell_ = has_shell; }  // before Start
  // Starts init with `program`.
  TaskRef Start(GuestProgram program);
  // Starts it, waits for the end of everything and returns init's wait status.
  int32_t Run(GuestProgram program);
  Kernel& kernel() { return *kernel_; }
  static void Must(const Result<void>& result) {
    if (!result.ok()) std::abort();
  }
  GuestPlatform& platform() { return platform_; }

 private:
  GuestPlatform platform_;
  TestDispatcher dispatcher_;
  bool has_shell_ = false;
  std::unique_ptr<Kernel> kernel_;
};

// Addresses of every test program: two pages of stack, one of data.
inline constexpr uint64_t kGuestStackTop = 0x800000;
inline constexpr uint64_t kGuestData = 0x900000;

class KernelTester {
 public:
  static Result<TaskRef> Launch(Kernel& kernel, Kernel::Program program, const InitArgs& args) {
    return kernel.LaunchInit(std::move(program), args);
  }
  static uint32_t LiveThreads(Kernel& kernel) {
    absl::MutexLock lock(&kernel.threads_mutex_);
    return kernel.live_threads_;
  }
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_KERNEL_TESTING_GUEST_H_
