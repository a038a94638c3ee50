// Signal types of the Linux ABI (signal(7), asm-generic/siginfo.h, asm-generic/signal.h), shared
// by sentry/arch (signal frames), kernel, fs (signalfd) and syscalls. Layouts are those the guest
// sees on x86-64 and arm64.
#ifndef RINGFENCE_SENTRY_BASE_SIGNAL_H_
#define RINGFENCE_SENTRY_BASE_SIGNAL_H_

#include <array>
#include <bit>
#include <cstdint>

namespace ringfence::sentry {

// A signal number as a guest passed it; any value. 0 is "no signal".
enum class SigNo : int32_t {
  kNone = 0,
  kHup = 1,
  kInt = 2,
  kQuit = 3,
  kIll = 4,
  kTrap = 5,
  kAbrt = 6,
  kBus = 7,
  kFpe = 8,
  kKill = 9,
  kUsr1 = 10,
  kSegv = 11,
  kUsr2 = 12,
  kPipe = 13,
  kAlrm = 14,
  kTerm = 15,
  kStkflt = 16,
  kChld = 17,
  kCont = 18,
  kStop = 19,
  kTstp = 20,
  kTtin = 21,
  kTtou = 22,
  kUrg = 23,
  kXcpu = 24,
  kXfsz = 25,
  kVtalrm = 26,
  kProf = 27,
  kWinch = 28,
  kIo = 29,
  kPwr = 30,
  kSys = 31,
};
inline constexpr int32_t kNumSignals = 64;           // _NSIG: 1..64 are valid
inline constexpr int32_t kFirstRealTimeSignal = 32;  // SIGRTMIN of the kernel

constexpr int32_t ToInt(SigNo s) { return static_cast<int32_t>(s); }
constexpr bool IsValid(SigNo s) { return ToInt(s) >= 1 && ToInt(s) <= kNumSignals; }
constexpr bool IsRealTime(SigNo s) { return ToInt(s) >= kFirstRealTimeSignal; }

// sigset_t of the kernel ABI: bit n-1 is signal n. Members take valid signals only.
struct SigSet {
  uint64_t bits = 0;

  static constexpr SigSet Of(SigNo s) { return {uint64_t{1} << (ToInt(s) - 1)}; }
  template <typename... S>
  static constexpr SigSet Make(S... s) {
    return {(uint64_t{0} | ... | Of(s).bits)};
  }
  constexpr bool Has(SigNo s) const { return (bits & Of(s).bits) != 0; }
  constexpr void Add(SigNo s) { bits |= Of(s).bits; }
  constexpr void Remove(SigNo s) { bits &= ~Of(s).bits; }
  constexpr bool empty() const { return bits == 0; }
  // The lowest member; kNone when empty.
  constexpr SigNo First() const {
    return bits == 0 ? SigNo::kNone : static_cast<SigNo>(std::countr_zero(bits) + 1);
  }
  friend constexpr SigSet operator|(SigSet a, SigSet b) { return {a.bits | b.bits}; }
  friend constexpr SigSet operator&(SigSet a, SigSet b) { return {a.bits & b.bits}; }
  friend constexpr SigSet operator~(SigSet a) { return {~a.bits}; }
  friend constexpr bool operator==(SigSet, SigSet) = default;
};

// si_code (sigaction(2)).
inline constexpr int32_t kSiUser = 0, kSiKernel = 0x80, kSiQueue = -1, kSiTimer = -2, kSiMesgq = -3,
                         kSiAsyncIo = -4, kSiSigIo = -5, kSiTkill = -6;
inline constexpr int32_t kIllIllOpn = 2;
inline constexpr int32_t kFpeIntDiv = 1, kFpeIntOvf = 2, kFpeFltDiv = 3, kFpeFltOvf = 4,
                         kFpeFltUnd = 5, kFpeFltRes = 6, kFpeFltInv = 7;
inline constexpr int32_t kSegvMapErr = 1, kSegvAccErr = 2;
inline constexpr int32_t kBusAdrAln = 1, kBusAdrErr = 2, kBusObjErr = 3;
inline constexpr int32_t kTrapBrkpt = 1, kTrapTrace = 2;
inline constexpr int32_t kCldExited = 1, kCldKilled = 2, kCldDumped = 3, kCldTrapped = 4,
                         kCldStopped = 5, kCldContinued = 6;
inline constexpr int32_t kSysSeccomp = 1;

// siginfo_t: 128 bytes. Which member of the union counts follows from signo and code.
struct SigInfo {
  int32_t signo = 0;
  int32_t error = 0;  // si_errno
  int32_t code = 0;
  int32_t pad = 0;
  struct Kill {  // kill, tgkill, sigqueue, mqueue
    int32_t pid;
    uint32_t uid;
    uint64_t value;  // sigval
  };
  struct Child {
    int32_t pid;
    uint32_t uid;
    int32_t status;
    int32_t pad;
    int64_t utime, stime;  // clock ticks
  };
  struct Fault {
    uint64_t addr;
    int16_t addr_lsb;
  };
  struct Timer {
    int32_t id;
    int32_t overrun;
    uint64_t value;
    int32_t sys_private;
  };
  struct Poll {
    int64_t band;
    int32_t fd;
  };
  struct Sys {
    uint64_t call_addr;
    int32_t syscall;
    uint32_t arch;
  };
  union {
    std::array<uint8_t, 112> raw{};
    Kill kill;
    Child child;
    Fault fault;
    Timer timer;
    Poll poll;
    Sys sys;
  };

  SigNo sig() const { return static_cast<SigNo>(signo); }
  static SigInfo Kernel(SigNo s) { return Make(s, kSiKernel); }
  static SigInfo User(SigNo s, int32_t code, int32_t pid, uint32_t uid, uint64_t value = 0) {
    SigInfo info = Make(s, code);
    info.kill = Kill{pid, uid, value};
    return info;
  }
  static SigInfo FaultAt(SigNo s, int32_t code, uint64_t addr) {
    SigInfo info = Make(s, code);
    info.fault.addr = addr;
    return info;
  }

 private:
  static SigInfo Make(SigNo s, int32_t code) {
    SigInfo info;
    info.signo = ToInt(s);
    info.code = code;
    return info;
  }
};
static_assert(sizeof(SigInfo) == 128);

// sa_flags.
inline constexpr uint64_t kSaNoCldStop = 1, kSaNoCldWait = 2, kSaSigInfo = 4,
                          kSaUnsupported = 0x400, kSaExposeTagBits = 0x800,
                          kSaRestorer = 0x04000000, kSaOnStack = 0x08000000,
                          kSaRestart = 0x10000000, kSaNoDefer = 0x40000000,
                          kSaResetHand = 0x80000000;
inline constexpr uint64_t kSigDfl = 0, kSigIgn = 1;

// struct sigaction of the kernel ABI.
struct SigAction {
  uint64_t handler = kSigDfl;
  uint64_t flags = 0;
  uint64_t restorer = 0;
  SigSet mask;
};
static_assert(sizeof(SigAction) == 32);

// ss_flags (sigaltstack(2)).
inline constexpr uint32_t kSsOnStack = 1, kSsDisable = 2, kSsAutoDisarm = 1u << 31;

// stack_t. "Disabled" is the initial state.
struct SigAltStack {
  uint64_t sp = 0;
  uint32_t flags = kSsDisable;
  uint32_t pad = 0;
  uint64_t size = 0;
  bool Contains(uint64_t address) const { return address > sp && address - sp <= size; }
};
static_assert(sizeof(SigAltStack) == 24);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BASE_SIGNAL_H_
