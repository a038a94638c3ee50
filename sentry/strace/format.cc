#include "sentry/strace/format.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/strace/flag_names.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kMaxString = 32;
constexpr size_t kMaxPath = 256;
constexpr size_t kMaxElements = 8;

std::string Hex(uint64_t value) {
  return value == 0 ? "NULL" : absl::StrCat("0x", absl::Hex(value));
}

std::string Quote(std::string_view bytes, bool truncated) {
  std::string out = "\"";
  for (const char c : bytes) {
    const unsigned char u = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (u < 0x20 || u >= 0x7f) {
          absl::StrAppendFormat(&out, "\\%o", u);
        } else {
          out += c;
        }
    }
  }
  out += '"';
  if (truncated) out += "...";
  return out;
}

// A NUL-terminated string, read in pieces that do not cross a page (the next may not be mapped).
std::string FormatString(uint64_t addr, size_t max, MemoryReader read) {
  if (addr == 0) return "NULL";
  std::string text;
  while (text.size() < max) {
    const uint64_t at = addr + text.size();
    const size_t want = std::min<uint64_t>(max - text.size(), kPageSize - (at & kPageMask));
    char piece[kMaxPath];
    const size_t got = read(piece, VirtAddr(at), std::min(want, sizeof(piece)));
    if (got == 0) break;
    const size_t length = strnlen(piece, got);
    text.append(piece, length);
    if (length < got) return Quote(text, false);
  }
  return text.empty() ? Hex(addr) : Quote(text, true);
}

std::string FormatBuffer(uint64_t addr, uint64_t length, MemoryReader read) {
  if (addr == 0) return "NULL";
  char bytes[kMaxString];
  const size_t want = std::min<uint64_t>(length, sizeof(bytes));
  const size_t got = want == 0 ? 0 : read(bytes, VirtAddr(addr), want);
  if (got < want) return Hex(addr);
  return Quote(std::string_view(bytes, got), length > got);
}

template <typename T>
bool Read(T* out, uint64_t addr, MemoryReader read) {
  return addr != 0 && read(out, VirtAddr(addr), sizeof(T)) == sizeof(T);
}

// Reads a T and prints it with `print`, or its address when it cannot be read.
template <typename T, typename Print>
std::string FormatStruct(uint64_t addr, MemoryReader read, Print print) {
  T value;
  if (!Read(&value, addr, read)) return Hex(addr);
  return print(value);
}

template <typename T, typename Print>
std::string FormatList(uint64_t addr, uint64_t count, MemoryReader read, Print print) {
  if (addr == 0) return "NULL";
  std::string out = "[";
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) out += ", ";
    T value;
    if (i == kMaxElements || !Read(&value, addr + i * sizeof(T), read)) {
      out += "...";
      break;
    }
    out += print(value);
  }
  return out + "]";
}

std::string FormatIov(uint64_t addr, uint64_t count, uint64_t bytes, MemoryReader read) {
  return FormatList<iovec>(addr, count, read, [&](const iovec& v) {
    const uint64_t length = std::min<uint64_t>(bytes, v.iov_len);
    bytes -= length;
    // SAFETY: the number of a guest address, never dereferenced here.
    return absl::StrCat("{", FormatBuffer(reinterpret_cast<uint64_t>(v.iov_base), length, read),
                        ", ", v.iov_len, "}");
  });
}

std::string FormatStrings(uint64_t addr, MemoryReader read) {
  if (addr == 0) return "NULL";
  std::string out = "[";
  for (size_t i = 0;; ++i) {
    uint64_t pointer;
    if (i == kMaxElements || !Read(&pointer, addr + i * sizeof(pointer), read)) {
      out += i == 0 ? "..." : ", ...";
      break;
    }
    if (pointer == 0) break;
    absl::StrAppend(&out, i == 0 ? "" : ", ", FormatString(pointer, kMaxString, read));
  }
  return out + "]";
}

std::string CountStrings(uint64_t addr, MemoryReader read) {
  size_t n = 0;
  uint64_t pointer;
  while (n < 10000 && Read(&pointer, addr + n * sizeof(pointer), read) && pointer != 0) ++n;
  return absl::StrFormat("%s /* %d vars */", Hex(addr), n);
}

std::string SigsetNames(uint64_t set) {
  const bool inverted = __builtin_popcountll(set) > 32;
  std::string out = inverted ? "~[" : "[";
  const size_t start = out.size();
  const uint64_t shown = inverted ? ~set : set;
  for (int signo = 1; signo <= 64; ++signo) {
    if (((shown >> (signo - 1)) & 1) == 0) continue;
    const std::string name = SignalName(signo);
    absl::StrAppend(&out, out.size() == start ? "" : " ",
                    name.rfind("SIG", 0) == 0 ? name.substr(3) : name);
  }
  return out + "]";
}

std::string FormatSigaction(uint64_t addr, MemoryReader read) {
  struct Action {
    uint64_t handler, flags, restorer, mask;
  };
  return FormatStruct<Action>(addr, read, [](const Action& a) {
    const std::string handler = a.handler == 0   ? "SIG_DFL"
                                : a.handler == 1 ? "SIG_IGN"
                                                 : Hex(a.handler);
    return absl::StrFormat("{sa_handler=%s, sa_mask=%s, sa_flags=0x%x}", handler,
                           SigsetNames(a.mask), a.flags);
  });
}

std::string FormatStat(uint64_t addr, MemoryReader read) {
  return FormatStruct<struct stat>(addr, read, [](const struct stat& s) {
    static constexpr const char* kTypes[] = {"0",        "S_IFIFO", "S_IFCHR", "3", "S_IFDIR", "5",
                                             "S_IFBLK",  "7",       "S_IFREG", "9", "S_IFLNK", "11",
                                             "S_IFSOCK", "13",      "14",      "15"};
    const std::string mode =
        absl::StrFormat("%s|0%o", kTypes[(s.st_mode >> 12) & 15], s.st_mode & 07777);
    if (S_ISCHR(s.st_mode) || S_ISBLK(s.st_mode)) {
      return absl::StrFormat("{st_mode=%s, st_rdev=makedev(%d, %d), ...}", mode, major(s.st_rdev),
                             minor(s.st_rdev));
    }
    return absl::StrFormat("{st_mode=%s, st_size=%d, ...}", mode, s.st_size);
  });
}

std::string FormatWaitStatus(uint64_t addr, MemoryReader read) {
  return FormatStruct<int>(addr, read, [](int s) {
    if (WIFEXITED(s)) {
      return absl::StrFormat("[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", WEXITSTATUS(s));
    }
    if (WIFSIGNALED(s)) {
      return absl::StrFormat("[{WIFSIGNALED(s) && WTERMSIG(s) == %s%s}]", SignalName(WTERMSIG(s)),
                             WCOREDUMP(s) ? " && WCOREDUMP(s)" : "");
    }
    if (WIFSTOPPED(s)) {
      return absl::StrFormat("[{WIFSTOPPED(s) && WSTOPSIG(s) == %s}]", SignalName(WSTOPSIG(s)));
    }
    return absl::StrFormat("[0x%x]", s);
  });
}

std::string FormatTimespec(uint64_t addr, MemoryReader read) {
  return FormatStruct<timespec>(addr, read, [](const timespec& t) {
    return absl::StrFormat("{tv_sec=%d, tv_nsec=%d}", t.tv_sec, t.tv_nsec);
  });
}

std::string FormatTimeval(uint64_t addr, MemoryReader read) {
  return FormatStruct<timeval>(addr, read, [](const timeval& t) {
    return absl::StrFormat("{tv_sec=%d, tv_usec=%d}", t.tv_sec, t.tv_usec);
  });
}

std::string FormatItimerval(uint64_t addr, MemoryReader read) {
  return FormatStruct<itimerval>(addr, read, [](const itimerval& t) {
    return absl::StrFormat("{it_interval={%d, %d}, it_value={%d, %d}}", t.it_interval.tv_sec,
                           t.it_interval.tv_usec, t.it_value.tv_sec, t.it_value.tv_usec);
  });
}

std::string FormatRlimit(uint64_t addr, MemoryReader read) {
  return FormatStruct<rlimit>(addr, read, [](const rlimit& r) {
    const auto text = [](uint64_t v) {
      return v == RLIM_INFINITY ? std::string("RLIM64_INFINITY") : absl::StrCat(v);
    };
    return absl::StrCat("{rlim_cur=", text(r.rlim_cur), ", rlim_max=", text(r.rlim_max), "}");
  });
}

std::string FormatPollFds(uint64_t addr, uint64_t count, bool returned, MemoryReader read) {
  return FormatList<pollfd>(addr, count, read, [&](const pollfd& p) {
    std::string out =
        absl::StrCat("{fd=", p.fd, ", events=", PollEventNames(static_cast<uint16_t>(p.events)));
    if (returned && p.revents != 0) {
      absl::StrAppend(&out, ", revents=", PollEventNames(static_cast<uint16_t>(p.revents)));
    }
    return out + "}";
  });
}

std::string FormatEpollEvent(const epoll_event& e) {
  const uint64_t data = e.data.u64;  // packed on x86-64: no reference to it
  return absl::StrFormat("{events=%s, data=0x%x}", EpollEventNames(e.events), data);
}

std::string FormatDirFd(uint64_t value) {
  const int fd = static_cast<int>(value);
  return fd == AT_FDCWD ? "AT_FDCWD" : absl::StrCat(fd);
}

std::string FormatScalar(ArgKind kind, uint64_t value) {
  switch (kind) {
    case ArgKind::kInt:
    case ArgKind::kFd:
    case ArgKind::kPid:
    case ArgKind::kUid:
      return absl::StrCat(static_cast<int32_t>(value));
    case ArgKind::kUint:
      return absl::StrCat(static_cast<uint32_t>(value));
    case ArgKind::kLong:
    case ArgKind::kOffset:
      return absl::StrCat(static_cast<int64_t>(value));
    case ArgKind::kSize:
      return absl::StrCat(value);
    case ArgKind::kHex:
      return absl::StrCat("0x", absl::Hex(value));
    case ArgKind::kMode:
      return absl::StrFormat("0%o", value & 0xffffffff);
    case ArgKind::kDirFd:
      return FormatDirFd(value);
    case ArgKind::kDev:
      return absl::StrFormat("makedev(%d, %d)", major(value), minor(value));
    case ArgKind::kPtr:
      return Hex(value);
    default:
      return FlagNames(kind, value);
  }
}

std::string FormatInput(ArgKind kind, uint64_t value, uint64_t next, MemoryReader read) {
  switch (kind) {
    case ArgKind::kPath:
      return FormatString(value, kMaxPath, read);
    case ArgKind::kString:
      return FormatString(value, kMaxString, read);
    case ArgKind::kBufIn:
      return FormatBuffer(value, next, read);
    case ArgKind::kIovIn:
      return FormatIov(value, next, ~uint64_t{0}, read);
    case ArgKind::kArgv:
      return FormatStrings(value, read);
    case ArgKind::kEnvp:
      return CountStrings(value, read);
    case ArgKind::kSigsetIn:
      return FormatStruct<uint64_t>(value, read, SigsetNames);
    case ArgKind::kSigactionIn:
      return FormatSigaction(value, read);
    case ArgKind::kTimespecIn:
      return FormatTimespec(value, read);
    case ArgKind::kTimevalIn:
      return FormatTimeval(value, read);
    case ArgKind::kItimervalIn:
      return FormatItimerval(value, read);
    case ArgKind::kRlimitIn:
      return FormatRlimit(value, read);
    case ArgKind::kPollFds:
      return FormatPollFds(value, next, false, read);
    case ArgKind::kEpollEventIn:
      return FormatStruct<epoll_event>(value, read, FormatEpollEvent);
    default:
      return FormatScalar(kind, value);
  }
}

std::string FormatOutput(ArgKind kind, uint64_t value, uint64_t next, uint64_t result,
                         MemoryReader read) {
  switch (kind) {
    case ArgKind::kBufOut:
      return FormatBuffer(value, result, read);
    case ArgKind::kPathOut:
      return FormatBuffer(value, std::min(result, next), read);
    case ArgKind::kIovOut:
      return FormatIov(value, next, result, read);
    case ArgKind::kPipeOut:
      return FormatList<int>(value, 2, read, [](int fd) { return absl::StrCat(fd); });
    case ArgKind::kIntOut:
      return FormatStruct<int>(value, read, [](int n) { return absl::StrCat("[", n, "]"); });
    case ArgKind::kStatOut:
      return FormatStat(value, read);
    case ArgKind::kWaitStatusOut:
      return FormatWaitStatus(value, read);
    case ArgKind::kSigsetOut:
      return FormatStruct<uint64_t>(value, read, SigsetNames);
    case ArgKind::kSigactionOut:
      return FormatSigaction(value, read);
    case ArgKind::kTimespecOut:
      return FormatTimespec(value, read);
    case ArgKind::kTimevalOut:
      return FormatTimeval(value, read);
    case ArgKind::kItimervalOut:
      return FormatItimerval(value, read);
    case ArgKind::kRlimitOut:
      return FormatRlimit(value, read);
    case ArgKind::kPollFds:
      return FormatPollFds(value, next, true, read);
    case ArgKind::kUtsnameOut:
      return FormatStruct<utsname>(value, read, [](const utsname& u) {
        return absl::StrCat("{sysname=\"", std::string(u.sysname, strnlen(u.sysname, 65)),
                            "\", ...}");
      });
    case ArgKind::kEpollEventsOut:
      return FormatList<epoll_event>(value, result, read, FormatEpollEvent);
    default:
      return Hex(value);
  }
}

}  // namespace

std::string FormatArg(ArgKind kind, uint64_t value, uint64_t next, int64_t result,
                      MemoryReader read) {
  if (!IsDeferred(kind)) return FormatInput(kind, value, next, read);
  if (result < 0) {
    return kind == ArgKind::kPollFds ? FormatInput(kind, value, next, read) : Hex(value);
  }
  return FormatOutput(kind, value, next, static_cast<uint64_t>(result), read);
}

std::string FormatResult(int64_t result, bool is_address) {
  if (result < 0 && result >= -4095) {
    const int error = static_cast<int>(-result);
    if (error >= 512) {
      const char* name = error == 512   ? "ERESTARTSYS"
                         : error == 513 ? "ERESTARTNOINTR"
                         : error == 514 ? "ERESTARTNOHAND"
                                        : "ERESTART_RESTARTBLOCK";
      return absl::StrCat("= ? ", name, " (interrupted by signal)");
    }
    return absl::StrFormat("= -1 %s", std::string(ErrnoName(FromHostErrno(error))));
  }
  if (is_address) return absl::StrCat("= 0x", absl::Hex(static_cast<uint64_t>(result)));
  return absl::StrCat("= ", result);
}

CallTrace::CallTrace(std::string_view name, const ArgKinds& kinds, const RawArgs& args,
                     MemoryReader read)
    : name_(name), kinds_(kinds), args_(args) {
  for (size_t i = 0; i < kinds_.size(); ++i) {
    if (kinds_[i] == ArgKind::kNone || IsDeferred(kinds_[i])) continue;
    texts_[i] = FormatInput(kinds_[i], args_[i], i + 1 < args_.size() ? args_[i + 1] : 0, read);
  }
}

std::string CallTrace::Arguments(int64_t result, const MemoryReader* read) const {
  std::string out = absl::StrCat(std::string(name_), "(");
  for (size_t i = 0; i < kinds_.size() && kinds_[i] != ArgKind::kNone; ++i) {
    if (i != 0) out += ", ";
    if (!IsDeferred(kinds_[i])) {
      out += texts_[i];
    } else if (read == nullptr) {
      out += Hex(args_[i]);
    } else {
      out += FormatArg(kinds_[i], args_[i], i + 1 < args_.size() ? args_[i + 1] : 0, result, *read);
    }
  }
  return out + ")";
}

std::string CallTrace::Finish(int64_t result, bool is_address, MemoryReader read) const {
  return absl::StrCat(Arguments(result, &read), " ", FormatResult(result, is_address));
}

std::string CallTrace::Unfinished() const { return absl::StrCat(Arguments(-1, nullptr), " = ?"); }

}  // namespace ringfence::sentry
