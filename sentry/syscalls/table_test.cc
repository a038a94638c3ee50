#include "sentry/syscalls/table.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

namespace ringfence::sentry {
namespace {

// Numbers by name of the host's <asm/unistd_64.h>.
std::map<std::string, uint64_t> HeaderNumbers() {
  std::map<std::string, uint64_t> numbers;
  std::ifstream header("/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
  std::string word, name;
  uint64_t number;
  while (header >> word) {
    if (word != "#define" || !(header >> name) || name.rfind("__NR_", 0) != 0) continue;
    if (header >> number) numbers[name.substr(5)] = number;
  }
  return numbers;
}

TEST_CASE("every call of the host's header has its row") {
  const auto numbers = HeaderNumbers();
  REQUIRE(numbers.size() > 350);
  for (const auto& [name, number] : numbers) {
    const int row = FindSyscall(number);
    INFO(name << " " << number);
    REQUIRE(row >= 0);
    CHECK(std::string(SyscallRows()[row].name) == name);
  }
}

TEST_CASE("rows go up to the last call of Linux 6.12") {
  const absl::Span<const SyscallRow> rows = SyscallRows();
  CHECK(std::string(rows.back().name) == "mseal");
  CHECK(rows.back().number == 462);
  std::set<std::string> names;
  for (const SyscallRow& row : rows) CHECK(names.insert(row.name).second);
}

TEST_CASE("a row that is not implemented has an errno, one that is has a handler") {
  for (const SyscallRow& row : SyscallRows()) {
    INFO(row.name);
    CHECK((row.handler == nullptr) == (row.support == Support::kNone));
    CHECK((row.handler == nullptr) == (row.absent != Errno{}));
    if (row.support == Support::kPartial) CHECK(row.note[0] != '\0');
  }
}

TEST_CASE("calls that a program's start is made of may be served without an exit") {
  for (const char* name : {"mmap", "munmap", "mprotect", "brk", "openat", "read", "newfstatat"}) {
    for (const SyscallRow& row : SyscallRows()) {
      if (std::string(row.name) == name) CHECK(row.thread == ServingThread::kAny);
    }
  }
}

TEST_CASE("calls that need the registers are served by the task's own thread") {
  for (const char* name : {"clone", "clone3", "fork", "vfork", "execve", "execveat", "exit",
                           "exit_group", "rt_sigreturn", "arch_prctl", "rt_sigsuspend", "kill"}) {
    for (const SyscallRow& row : SyscallRows()) {
      if (std::string(row.name) == name) CHECK(row.thread == ServingThread::kOwn);
    }
  }
}

TEST_CASE("numbers without a row") {
  CHECK(FindSyscall(336) == -1);
  CHECK(FindSyscall(423) == -1);
  CHECK(FindSyscall(kMaxSyscall + 1) == -1);
  CHECK(FindSyscall(~uint64_t{0}) == -1);
  CHECK(FindSyscall(0x40000000) == -1);  // x32
}

TEST_CASE("the compatibility page has a line for each row, and docs/syscalls.md is it") {
  const std::string page = CompatibilityPage();
  std::ifstream file("docs/syscalls.md");
  const std::string kept((std::istreambuf_iterator<char>(file)), {});
  CHECK((kept == page));  // else run `make docs`
  for (const SyscallRow& row : SyscallRows()) {
    CHECK(page.find("| " + std::to_string(row.number) + " | " + row.name + " | ") !=
          std::string::npos);
  }
}

}  // namespace
}  // namespace ringfence::sentry
