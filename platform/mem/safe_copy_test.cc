#include "platform/mem/safe_copy.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>
#include <vector>

#include "platform/base/addr.h"

namespace ringfence::platform {
namespace {

// `accessible` pages followed by one PROT_NONE page.
class GuardedPages {
 public:
  explicit GuardedPages(size_t accessible) : size_(accessible * kPageSize) {
    InstallSafeCopyHandler();
    void* p = mmap(nullptr, size_ + kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED);
    base_ = static_cast<std::byte*>(p);
    if (size_ != 0) REQUIRE(mprotect(base_, size_, PROT_READ | PROT_WRITE) == 0);
  }
  ~GuardedPages() { munmap(base_, size_ + kPageSize); }
  std::byte* base() const { return base_; }
  std::byte* end() const { return base_ + size_; }

 private:
  size_t size_;
  std::byte* base_;
};

// Sanitizers install handlers of their own before main; these tests are about the default.
[[maybe_unused]] const bool defaults_restored = [] {
  signal(SIGSEGV, SIG_DFL);
  signal(SIGBUS, SIG_DFL);
  return true;
}();

// Runs `body` in a child process; returns its wait status.
template <typename Body>
int StatusOfChild(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

void StoreToPageZero() {
  volatile uintptr_t address = 8;
  *reinterpret_cast<volatile int*>(address) = 1;
}

// First in this file: the handler is not installed yet.
TEST_CASE("faults elsewhere go to the handler that was there before") {
  const int status = StatusOfChild([] {
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      _exit(info->si_addr == reinterpret_cast<void*>(uintptr_t{8}) ? 42 : 1);
    };
    sigaction(SIGSEGV, &action, nullptr);
    InstallSafeCopyHandler();
    StoreToPageZero();
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE("faults elsewhere end the process by default") {
  InstallSafeCopyHandler();
  int status = StatusOfChild(StoreToPageZero);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
  status = StatusOfChild([] { kill(getpid(), SIGBUS); });
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGBUS);
}

TEST_CASE("a copy without a fault is complete") {
  InstallSafeCopyHandler();
  for (size_t n : {0, 1, 7, 8, 100, 4096, 100000}) {
    std::vector<uint8_t> from(n + 1, 0xab), to(n + 1, 0);
    CHECK(SafeCopy(to.data(), from.data(), n) == n);
    CHECK(std::memcmp(to.data(), from.data(), n) == 0);
    CHECK(to[n] == 0);
    CHECK(SafeZero(from.data(), n) == n);
    CHECK(std::count(from.begin(), from.end(), 0) == static_cast<long>(n));
  }
}

TEST_CASE("a copy stops exactly at the first byte that faults") {
  GuardedPages pages(1);
  uint8_t buffer[200] = {};
  for (size_t before : {0, 1, 3, 8, 63, 64, 65, 150}) {
    std::memset(pages.base(), 0x5a, kPageSize);
    std::memset(buffer, 0, sizeof buffer);
    CHECK(SafeCopy(buffer, pages.end() - before, sizeof buffer) == before);
    CHECK(std::count(buffer, buffer + sizeof buffer, 0x5a) == static_cast<long>(before));
    std::memset(buffer, 0x77, sizeof buffer);
    CHECK(SafeCopy(pages.end() - before, buffer, sizeof buffer) == before);
    CHECK(SafeZero(pages.end() - before, sizeof buffer) == before);
  }
  CHECK(SafeCopy(buffer, pages.end(), 10) == 0);
  CHECK(SafeCopy(nullptr, buffer, 10) == 0);
  // Not canonical: the CPU raises #GP, the kernel SIGSEGV without an address.
  void* wild = reinterpret_cast<void*>(uint64_t{0x123456789abcdef0});
  CHECK(SafeCopy(buffer, wild, 10) == 0);
}

TEST_CASE("a file that shrinks under its mapping ends the copy") {
  InstallSafeCopyHandler();
  const int fd = memfd_create("shrinks", MFD_CLOEXEC);
  REQUIRE(ftruncate(fd, 3 * kPageSize) == 0);
  void* p = mmap(nullptr, 3 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  REQUIRE(p != MAP_FAILED);
  std::vector<std::byte> buffer(3 * kPageSize);
  CHECK(SafeCopy(buffer.data(), p, buffer.size()) == 3 * kPageSize);
  REQUIRE(ftruncate(fd, kPageSize) == 0);
  CHECK(SafeCopy(buffer.data(), p, buffer.size()) == kPageSize);
  CHECK(SafeZero(p, buffer.size()) == kPageSize);
  auto* second = static_cast<std::byte*>(p) + kPageSize;
  CHECK(SafeLoad32(second).error() == Errno::kFAULT);
  munmap(p, 3 * kPageSize);
  close(fd);
}

TEST_CASE("futex word access") {
  GuardedPages pages(1);
  std::byte* word = pages.base() + 8;
  CHECK(SafeStore32(word, 41).ok());
  CHECK(SafeLoad32(word).value() == 41);
  CHECK(SafeCompareExchange32(word, 40, 50).value() == 41);
  CHECK(SafeLoad32(word).value() == 41);
  CHECK(SafeCompareExchange32(word, 41, 50).value() == 41);
  CHECK(SafeLoad32(word).value() == 50);
  CHECK(SafeLoad32(pages.end()).error() == Errno::kFAULT);
  CHECK(SafeStore32(pages.end(), 1).error() == Errno::kFAULT);
  CHECK(SafeCompareExchange32(pages.end(), 0, 1).error() == Errno::kFAULT);
}

TEST_CASE("many threads fault at the same time") {
  GuardedPages pages(1);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      uint8_t buffer[64];
      for (int i = 0; i < 2000; ++i) {
        const size_t before = (i + t) % 64;
        if (SafeCopy(buffer, pages.end() - before, 64) != before) ++wrong;
        if (SafeLoad32(pages.end()).ok()) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("a page that comes and goes gives a prefix, never a crash") {
  GuardedPages pages(1);
  std::atomic<bool> stop{false};
  std::thread flipper([&] {
    while (!stop) {
      mprotect(pages.base(), kPageSize, PROT_NONE);
      mprotect(pages.base(), kPageSize, PROT_READ | PROT_WRITE);
    }
  });
  std::vector<std::byte> buffer(kPageSize);
  bool in_range = true;
  for (int i = 0; i < 5000; ++i) {
    in_range = in_range && SafeCopy(buffer.data(), pages.base(), kPageSize) <= kPageSize;
  }
  stop = true;
  flipper.join();
  CHECK(in_range);
}

}  // namespace
}  // namespace ringfence::platform
