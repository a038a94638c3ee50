#include "runtime/sandbox/spec.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace ringfence::runtime {
namespace {

TEST_CASE("a specification survives the way, whatever its bytes") {
  const SandboxSpec spec = {.args = {"sh", "", "\xff\n"},
                            .env = {"A=1", "B="},
                            .cwd = "/x\xfe",
                            .cwd_required = true,
                            .exitless = platform::ExitlessMode::kOff,
                            .memory_bytes = uint64_t{3} << 30,
                            .strace = true,
                            .uid = 1000,
                            .gid = 0xfffffffe,
                            .groups = {4, 24},
                            .closed_streams = 5,
                            .terminal = {}};
  const UniqueFd memfd = WriteSpec(spec).value();
  const SandboxSpec read = ReadSpec(memfd).value();
  CHECK(read.args == spec.args);
  CHECK(read.env == spec.env);
  CHECK(read.cwd == spec.cwd);
  CHECK(read.cwd_required);
  CHECK(read.exitless == platform::ExitlessMode::kOff);
  CHECK(read.memory_bytes == uint64_t{3} << 30);
  CHECK(read.strace);
  CHECK(read.uid == 1000);
  CHECK(read.gid == 0xfffffffe);
  CHECK(read.groups == spec.groups);
  CHECK(read.closed_streams == 5);
  CHECK(write(memfd.get(), "x", 1) < 0);
  CHECK(ftruncate(memfd.get(), 0) < 0);
}

TEST_CASE("a terminal's settings and size travel with it") {
  SandboxSpec spec;
  spec.args = {"sh"};
  CHECK_FALSE(ReadSpec(WriteSpec(spec).value()).value().terminal.has_value());
  spec.terminal.emplace();
  spec.terminal->size = {.rows = 50, .columns = 132};
  spec.terminal->settings.c_iflag |= IUTF8;
  spec.terminal->settings.c_cc[VERASE] = 8;
  const SandboxSpec read = ReadSpec(WriteSpec(spec).value()).value();
  REQUIRE(read.terminal.has_value());
  CHECK(read.terminal->size == spec.terminal->size);
  CHECK(read.terminal->settings.c_iflag == spec.terminal->settings.c_iflag);
  CHECK(read.terminal->settings.c_lflag == spec.terminal->settings.c_lflag);
  CHECK(read.terminal->settings.c_cc[VERASE] == 8);
}

TEST_CASE("nonsense is refused") {
  UniqueFd memfd(memfd_create("x", MFD_CLOEXEC));
  CHECK_FALSE(ReadSpec(memfd).ok());
  REQUIRE(write(memfd.get(), "\xff\xff\xff", 3) == 3);
  CHECK_FALSE(ReadSpec(memfd).ok());
  CHECK_FALSE(ReadSpec(UniqueFd()).ok());
}

TEST_CASE("variables are replaced in place or added") {
  using Strings = std::vector<std::string>;
  CHECK(MergeEnvironment({"A=1", "B=2", "odd"}, {"B=3", "C=4", "C=5"}) ==
        Strings{"A=1", "B=3", "odd", "C=5"});
}

}  // namespace
}  // namespace ringfence::runtime
