#include "sentry/strace/format.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "sentry/strace/flag_names.h"

namespace ringfence::sentry {
namespace {

// The "guest" of these tests is one buffer at a made-up address.
constexpr uint64_t kBase = 0x10000;

struct Guest {
  std::string memory;
  uint64_t Put(const void* bytes, size_t n) {
    const uint64_t at = kBase + memory.size();
    memory.append(static_cast<const char*>(bytes), n);
    memory.resize((memory.size() + 15) / 16 * 16);
    return at;
  }
  uint64_t Put(const char* text) { return Put(text, strlen(text) + 1); }
  size_t Read(void* dst, VirtAddr src, size_t n) const {
    if (src.value() < kBase || src.value() >= kBase + memory.size()) return 0;
    const size_t at = src.value() - kBase;
    const size_t got = std::min(n, memory.size() - at);
    std::memcpy(dst, memory.data() + at, got);
    return got;
  }
};

std::string Trace(const Guest& guest, const char* name, ArgKinds kinds, RawArgs args,
                  int64_t result) {
  const auto read = [&](void* dst, VirtAddr src, size_t n) { return guest.Read(dst, src, n); };
  return CallTrace(name, kinds, args, read).Finish(result, false, read);
}

using enum ArgKind;

TEST_CASE("a call with a path and flags") {
  Guest guest;
  const uint64_t path = guest.Put("/etc/pass\"wd\n");
  CHECK(Trace(guest, "openat", {kDirFd, kPath, kOpenFlags, kMode},
              {static_cast<uint64_t>(AT_FDCWD), path, O_RDONLY | O_CLOEXEC, 0},
              3) == "openat(AT_FDCWD, \"/etc/pass\\\"wd\\n\", O_RDONLY|O_CLOEXEC, 00) = 3");
}

TEST_CASE("an error has its name") {
  Guest guest;
  CHECK(Trace(guest, "close", {kFd}, {99}, -9) == "close(99) = -1 EBADF");
  CHECK(FormatResult(-512, false) == "= ? ERESTARTSYS (interrupted by signal)");
  CHECK(FormatResult(-4096, true) == "= 0xfffffffffffff000");
}

TEST_CASE("a read shows what came in") {
  Guest guest;
  const uint64_t buffer = guest.Put("hello world, this is a long line of text");
  CHECK(Trace(guest, "read", {kFd, kBufOut, kSize}, {0, buffer, 100}, 5) ==
        "read(0, \"hello\", 100) = 5");
  CHECK(Trace(guest, "read", {kFd, kBufOut, kSize}, {0, buffer, 100}, 40) ==
        "read(0, \"hello world, this is a long line\"..., 100) = 40");
  CHECK(Trace(guest, "read", {kFd, kBufOut, kSize}, {0, buffer, 100}, -14) ==
        "read(0, 0x10000, 100) = -1 EFAULT");
}

TEST_CASE("what cannot be read is an address") {
  Guest guest;
  CHECK(Trace(guest, "write", {kFd, kBufIn, kSize}, {1, 0x7000, 5}, -14) ==
        "write(1, 0x7000, 5) = -1 EFAULT");
  CHECK(Trace(guest, "chdir", {kPath}, {0}, -14) == "chdir(NULL) = -1 EFAULT");
}

TEST_CASE("vectors show each part") {
  Guest guest;
  const uint64_t a = guest.Put("abc"), b = guest.Put("de");
  const uint64_t iov[4] = {a, 3, b, 2};
  const uint64_t vector = guest.Put(iov, sizeof(iov));
  CHECK(Trace(guest, "writev", {kFd, kIovIn, kSize}, {1, vector, 2}, 5) ==
        "writev(1, [{\"abc\", 3}, {\"de\", 2}], 2) = 5");
}

TEST_CASE("structures") {
  Guest guest;
  struct stat s = {};
  s.st_mode = S_IFREG | 0644;
  s.st_size = 17;
  CHECK(Trace(guest, "fstat", {kFd, kStatOut}, {3, guest.Put(&s, sizeof(s))}, 0) ==
        "fstat(3, {st_mode=S_IFREG|0644, st_size=17, ...}) = 0");
  struct pollfd p = {4, POLLIN, POLLIN | POLLHUP};
  CHECK(Trace(guest, "poll", {kPollFds, kUint, kInt}, {guest.Put(&p, sizeof(p)), 1, 100}, 1) ==
        "poll([{fd=4, events=POLLIN, revents=POLLIN|POLLHUP}], 1, 100) = 1");
  const int fds[2] = {3, 4};
  CHECK(Trace(guest, "pipe", {kPipeOut}, {guest.Put(fds, sizeof(fds))}, 0) == "pipe([3, 4]) = 0");
}

TEST_CASE("flags and unknown bits") {
  CHECK(FlagNames(kProt, PROT_READ | PROT_WRITE) == "PROT_READ|PROT_WRITE");
  CHECK(FlagNames(kProt, 0) == "PROT_NONE");
  CHECK(FlagNames(kMapFlags, MAP_PRIVATE | MAP_ANONYMOUS) == "MAP_PRIVATE|MAP_ANONYMOUS");
  CHECK(FlagNames(kFcntlCmd, 9999) == "0x270f");
  CHECK(SignalName(9) == "SIGKILL");
  CHECK(SignalName(34) == "SIGRT_2");
  CHECK(FlagNames(kCloneFlags, 0x11) == "SIGCHLD");
}

}  // namespace
}  // namespace ringfence::sentry
