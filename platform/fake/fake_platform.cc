#include "platform/fake/fake_platform.h"

#include <algorithm>

#include "platform/base/check.h"
#include "platform/mem/safe_copy.h"

namespace ringfence::platform {
namespace {

class NoSlots : public SlotSink {
 public:
  Result<void> AddSlot(uint64_t, uint64_t, std::byte*, bool) override { return Ok(); }
};

bool Allows(Prot prot, Access access) {
  switch (access) {
    case Access::kRead:
      return prot.read;
    case Access::kWrite:
      return prot.write;
    case Access::kExec:
      return prot.exec;
  }
  return false;
}

// Calls copy(host address, bytes done, bytes) for each page of the access.
template <typename Fn>
std::optional<FaultExit> ForEachPage(GuestMemory& memory, AddressSpace& space, VirtAddr va,
                                     size_t n, Access access, Fn copy) {
  for (size_t done = 0; done < n;) {
    const VirtAddr at(va.value() + done);
    const size_t bytes = std::min<size_t>(n - done, kPageSize - at.page_offset());
    const std::optional<Leaf> leaf = space.Lookup(at);
    if (!leaf || !Allows(leaf->prot, access)) {
      return FaultExit{at, access, leaf && leaf->prot.any()};
    }
    copy(memory.HostAddress(leaf->frame) + at.page_offset(), done, bytes);
    done += bytes;
  }
  return std::nullopt;
}

}  // namespace

struct FakePlatform::AtomicCounters {
  std::atomic<uint64_t> syscalls{0}, faults{0}, exceptions{0}, interrupts{0}, others{0};
  std::atomic<uint64_t> exitless{0}, punts{0}, kicks{0};

  void Count(const Exit& exit) {
    if (std::holds_alternative<SyscallExit>(exit)) {
      ++syscalls;
    } else if (std::holds_alternative<FaultExit>(exit)) {
      ++faults;
    } else if (std::holds_alternative<ExceptionExit>(exit)) {
      ++exceptions;
    } else if (std::holds_alternative<InterruptedExit>(exit)) {
      ++interrupts;
    } else {
      ++others;
    }
  }
};

void FakeContext::Add(Step step) { steps_.push_back(std::move(step)); }
void FakeContext::AddExit(Exit exit) {
  Add([exit = std::move(exit)](AddressSpace&, ArchState&) { return exit; });
}
void FakeContext::AddSyscall(uint64_t number, Args args) {
  steps_.push_back(Syscall{number, args});
}
void FakeContext::AddUntilInterrupted() { steps_.push_back(Spin{}); }

void FakeContext::Interrupt() {
  ++platform_->counters_->kicks;
  interrupted_.store(1);
  interrupted_.notify_all();
}

std::optional<int64_t> FakeContext::Offer(const SyscallRequest& request) {
  int64_t result = 0;
  if (service_ == nullptr) return std::nullopt;
  if (!service_->Serve(request, &result)) {
    ++platform_->counters_->punts;
    return std::nullopt;
  }
  ++platform_->counters_->exitless;
  return result;
}

std::optional<Exit> FakeContext::RunSyscall(const Syscall& call, ArchState& state, bool exitless) {
  const Args& a = call.args;
  state.rdi = a[0];
  state.rsi = a[1];
  state.rdx = a[2];
  state.r10 = a[3];
  state.r8 = a[4];
  state.r9 = a[5];
  state.rip += 2;  // the SYSCALL instruction
  state.rcx = state.rip;
  state.r11 = state.rflags;
  if (exitless) {
    SyscallRequest request{call.number, {a[0], a[1], a[2], a[3], a[4], a[5]}};
    if (auto result = Offer(request)) {
      state.rax = static_cast<uint64_t>(*result);
      return std::nullopt;
    }
  }
  state.rax = call.number;
  state.orig_rax = call.number;
  return SyscallExit{};
}

Exit FakeContext::Switch(AddressSpace& space, ArchState& state, const SwitchOptions& options) {
  std::optional<Exit> exit;
  while (!exit) {
    if (TakeInterrupt()) {
      exit = InterruptedExit{};
    } else if (steps_.empty()) {
      exit = program_ ? program_(space, state)
                      : Exit(FatalExit{"the script of the fake guest is at its end"});
    } else if (std::holds_alternative<Spin>(steps_.front())) {
      interrupted_.wait(0);
      steps_.pop_front();
    } else {
      const AnyStep step = std::move(steps_.front());
      steps_.pop_front();
      if (const auto* call = std::get_if<Syscall>(&step)) {
        exit = RunSyscall(*call, state, options.exitless);
      } else {
        exit = std::get<Step>(step)(space, state);
      }
    }
  }
  platform_->counters_->Count(*exit);
  return *std::move(exit);
}

FakePlatform::FakePlatform(const GuestMemory::Options& options)
    : sink_(std::make_unique<NoSlots>()), counters_(std::make_unique<AtomicCounters>()) {
  InstallSafeCopyHandler();
  auto memory = GuestMemory::Create(options, sink_.get());
  Check(memory.ok(), "the fake platform gets its guest memory");
  memory_ = std::move(memory).value();
}

FakePlatform::~FakePlatform() = default;

Result<std::unique_ptr<AddressSpace>> FakePlatform::NewAddressSpace() {
  return AddressSpace::Create(memory_.get());
}

Result<std::unique_ptr<Context>> FakePlatform::NewContext() {
  auto context = std::make_unique<FakeContext>(this);
  if (hook_) hook_(*context);
  return context;
}

Platform::Counters FakePlatform::GetCounters() const {
  return {.exits_syscall = counters_->syscalls,
          .exits_fault = counters_->faults,
          .exits_exception = counters_->exceptions,
          .exits_interrupt = counters_->interrupts,
          .exits_other = counters_->others,
          .exitless_calls = counters_->exitless,
          .exitless_punts = counters_->punts,
          .kicks = counters_->kicks,
          .vcpu_handovers = 0,
          .spin_ns = 0,
          .trapped_calls = 0};
}

std::optional<FaultExit> FakePlatform::Load(AddressSpace& space, VirtAddr va, void* to, size_t n) {
  return ForEachPage(*memory_, space, va, n, Access::kRead,
                     [&](std::byte* page, size_t done, size_t bytes) {
                       SafeCopy(static_cast<std::byte*>(to) + done, page, bytes);
                     });
}

std::optional<FaultExit> FakePlatform::Store(AddressSpace& space, VirtAddr va, const void* from,
                                             size_t n) {
  return ForEachPage(*memory_, space, va, n, Access::kWrite,
                     [&](std::byte* page, size_t done, size_t bytes) {
                       SafeCopy(page, static_cast<const std::byte*>(from) + done, bytes);
                     });
}

}  // namespace ringfence::platform
