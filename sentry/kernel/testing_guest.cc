#include "sentry/kernel/testing_guest.h"

#include <cstdlib>

namespace ringfence::sentry {
namespace {

constexpr uint64_t kCallSite = 0x400000, kAfterCall = kCallSite + 2;
constexpr uint64_t kHandlers = 0x500000, kRestorer = 0x600000;
constexpr uint64_t kRunNumber = 1000, kSigReturnNumber = 15, kRestartNumber = 219;

}  // namespace

// --- the two sides of a context ---

Guest::~Guest() {
  {
    std::lock_guard lock(mutex_);
    turn_ = Turn::kOver;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

platform::Exit Guest::Switch(platform::AddressSpace&, platform::ArchState& state,
                             const SwitchOptions&) {
  std::unique_lock lock(mutex_);
  state_ = &state;
  if (spinning_ && !interrupted_) {
    changed_.wait(lock, [this] { return interrupted_; });
  }
  if (interrupted_) {
    interrupted_ = spinning_ = false;
    return platform::InterruptedExit{};
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { ThreadMain(); });
  turn_ = Turn::kGuest;
  changed_.notify_all();
  changed_.wait(lock, [this] { return turn_ == Turn::kKernel; });
  return *std::exchange(exit_, std::nullopt);
}

void Guest::Interrupt() {
  std::lock_guard lock(mutex_);
  interrupted_ = true;
  changed_.notify_all();
}

void Guest::ThreadMain() {
  try {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return turn_ != Turn::kKernel; });
      if (turn_ == Turn::kOver) return;
    }
    RunProgram();
  } catch (const Ended&) {
  }
}

void Guest::RunProgram() {
  while (true) {
    try {
      program_(*this);
      ExitGroup(0);
    } catch (Execed& execed) {
      program_ = std::move(execed.next);
    }
  }
}

void Guest::Yield(platform::Exit exit) {
  std::unique_lock lock(mutex_);
  if (turn_ == Turn::kOver) throw Ended();
  exit_ = std::move(exit);
  turn_ = Turn::kKernel;
  changed_.notify_all();
  changed_.wait(lock, [this] { return turn_ != Turn::kKernel; });
  if (turn_ == Turn::kOver) throw Ended();
}

// --- what a program can do ---

void Guest::RunHandler() {
  const platform::ArchState& state = *state_;
  const int sig = static_cast<int>(state.rdi);
  const std::function<void(int)> handler = platform_->FindHandler(state.rip);
  if (handler == nullptr && exec_ != nullptr) throw Execed{std::exchange(exec_, nullptr)};
  if (handler == nullptr) std::abort();
  const uint64_t frame = state.rsp;
  handler(sig);
  // The handler's RET takes the return address; the restorer calls rt_sigreturn.
  state_->rsp = frame + 8;
  state_->rax = state_->orig_rax = kSigReturnNumber;
  state_->rip = kRestorer;
  Yield(platform::SyscallExit{});
}

// Goes on as the registers say until the call has returned.
int64_t Guest::RunUntilReturned() {
  while (true) {
    if (state_->rip == kAfterCall) return static_cast<int64_t>(state_->rax);
    if (state_->rip == kCallSite) {
      state_->orig_rax = state_->rax;
      state_->rip = kAfterCall;
      Yield(platform::SyscallExit{});
    } else {
      RunHandler();
    }
  }
}

int64_t Guest::Call(const KernelSide& call) {
  const platform::ArchState saved = *state_;
  state_->rax = kRunNumber;
  state_->rdi = reinterpret_cast<uint64_t>(&call);
  state_->rip = kCallSite;
  const int64_t result = RunUntilReturned();
  // A caller that is a handler goes on with its own registers.
  state_->rip = saved.rip;
  state_->rdi = saved.rdi;
  return result;
}

void Guest::Trap(platform::Exit exit) {
  const uint64_t rip = state_->rip;
  state_->rip = kAfterCall;
  Yield(std::move(exit));
  (void)RunUntilReturned();
  state_->rip = rip;
}

void Guest::Spin() {
  const uint64_t rip = state_->rip;
  state_->rip = kAfterCall;
  {
    std::lock_guard lock(mutex_);
    spinning_ = true;
  }
  Yield(platform::InterruptedExit{});
  (void)RunUntilReturned();
  state_->rip = rip;
}

int64_t Guest::Clone(const CloneArgs& args, GuestProgram program) {
  std::lock_guard lock(platform_->clone_mutex());
  platform_->SetNext(std::move(program));
  return Call([&args](Task& task) { return AsRax(task.Clone(args)); });
}

int64_t Guest::Thread(GuestProgram program) {
  CloneArgs args;
  args.flags = kCloneVm | kCloneFs | kCloneFiles | kCloneSighand | kCloneThread;
  args.exit_signal = SigNo::kNone;
  return Clone(args, std::move(program));
}

int64_t Guest::Exec(const KernelSide& call, GuestProgram next) {
  exec_ = std::move(next);
  const int64_t result = Call(call);
  exec_ = nullptr;
  return result;
}

void Guest::Exit(int code) {
  Call([code](Task& task) {
    task.Exit(code);
    return 0;
  });
  std::abort();
}

void Guest::ExitGroup(int code) {
  Call([code](Task& task) {
    task.ExitGroup(code);
    return 0;
  });
  std::abort();
}

int64_t Guest::SetAction(SigNo sig, SigAction action) {
  return Call([&](Task& task) {
    const auto old = task.group().SetAction(sig, &action);
    return old.ok() ? 0 : -static_cast<int>(old.error());
  });
}

void Guest::Handle(SigNo sig, std::function<void(int)> handler, uint64_t flags, SigSet mask) {
  SigAction action;
  action.handler = platform_->AddHandler(std::move(handler));
  action.flags = flags | kSaRestorer | kSaSigInfo;
  action.restorer = kRestorer;
  action.mask = mask;
  SetAction(sig, action);
}

int64_t Guest::Wait(int32_t pid, int32_t* status, bool no_hang, bool stopped, bool continued) {
  return Call([&](Task& task) -> int64_t {
    WaitRequest request;
    request.which = pid > 0 ? WaitRequest::Which::kPid : WaitRequest::Which::kAny;
    request.id = pid;
    request.no_hang = no_hang;
    request.stopped = stopped;
    request.continued = continued;
    const Result<WaitResult> result = WaitForChild(task, task.call_context(), request);
    if (!result.ok()) return -static_cast<int>(result.error());
    if (status != nullptr) *status = result->status;
    return result->pid;
  });
}

int64_t Guest::Kill(int32_t pid, SigNo sig) {
  return Call([&](Task& task) { return AsRax(sentry::Kill(task, pid, sig)); });
}

void Guest::SetAnswer(uint64_t number, std::optional<uint32_t> value) {
  std::lock_guard lock(mutex_);
  answers_.erase(number);
  if (value.has_value()) answers_[number] = *value;
}

std::optional<uint32_t> Guest::Answer(uint64_t number) {
  std::lock_guard lock(mutex_);
  const auto found = answers_.find(number);
  return found == answers_.end() ? std::nullopt : std::optional(found->second);
}

int64_t Guest::Sleep(int64_t ns) {
  return Call([ns](Task& task) -> int64_t {
    const Deadline deadline = Deadline::After(ns);
    while (true) {
      const Result<void> slept = task.Block(deadline);
      if (slept.ok()) continue;
      return slept.error() == Errno::kTIMEDOUT ? 0 : -static_cast<int>(Errno::kINTR);
    }
  });
}

// --- platform, dispatcher, kernel ---

Result<std::unique_ptr<platform::Context>> GuestPlatform::NewContext() {
  std::lock_guard lock(mutex_);
  return std::unique_ptr<platform::Context>(
      std::make_unique<Guest>(this, std::exchange(next_, nullptr)));
}

void GuestPlatform::SetNext(GuestProgram program) {
  std::lock_guard lock(mutex_);
  next_ = std::move(program);
}

uint64_t GuestPlatform::AddHandler(std::function<void(int)> handler) {
  std::lock_guard lock(mutex_);
  const uint64_t address = kHandlers + handlers_.size() * 16;
  handlers_[address] = std::move(handler);
  return address;
}

std::function<void(int)> GuestPlatform::FindHandler(uint64_t address) {
  std::lock_guard lock(mutex_);
  const auto it = handlers_.find(address);
  return it == handlers_.end() ? nullptr : it->second;
}

int64_t TestDispatcher::Dispatch(Task& task, const platform::SyscallRequest& request) {
  switch (request.number) {
    case kRunNumber:
      return (*reinterpret_cast<const KernelSide*>(request.args[0]))(task);
    case kSigReturnNumber:
      task.SignalReturn();
      return 0;
    case kRestartNumber:
      return task.Restart();
    default:
      return -static_cast<int>(Errno::kNOSYS);
  }
}

TestKernel::TestKernel(Kernel::Options options) {
  options.platform = &platform_;
  options.dispatcher = &dispatcher_;
  kernel_ = std::make_unique<Kernel>(std::move(options));
}

TaskRef TestKernel::Start(GuestProgram program) {
  Kernel::Program loaded;
  // A test's memory is large enough.
  loaded.mm = MUST(MemoryManager::Create(&platform_));
  for (const uint64_t start : {kGuestStackTop - 8 * kPageSize, kGuestData}) {
    MapRequest request;
    request.addr = VirtAddr(start);
    request.length = start == kGuestData ? kPageSize : 8 * kPageSize;
    request.prot = Prot::RW();
    request.fixed = true;
    MUST(loaded.mm->Map(request));
  }
  loaded.creds = std::make_shared<Credentials>();
  loaded.image.entry.rsp = kGuestStackTop;
  loaded.image.comm = "test";
  InitArgs args;
  args.creds = loaded.creds;
  args.fs = std::make_shared<FsContext>(nullptr, nullptr, 022);
  args.fds = std::make_shared<FdTable>();
  args.has_shell = has_shell_;
  platform_.SetNext(std::move(program));
  return MUST(KernelTester::Launch(*kernel_, std::move(loaded), args));
}

int32_t TestKernel::Run(GuestProgram program) {
  Start(std::move(program));
  return kernel_->WaitForInit();
}

}  // namespace ringfence::sentry
