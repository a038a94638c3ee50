#include "runtime/cli/command_line.h"

#include <catch2/catch.hpp>

namespace ringfence::runtime {
namespace {

using platform::ExitlessMode;
using Strings = std::vector<std::string>;

DoCommand ParseDo(const Strings& args) {
  Strings all = {"do"};
  all.insert(all.end(), args.begin(), args.end());
  const CommandLine line = ParseCommandLine(all);
  if (const auto* error = std::get_if<UsageError>(&line)) FAIL(error->message);
  return std::get<DoCommand>(line);
}

std::string Error(const Strings& args) {
  const CommandLine line = ParseCommandLine(args);
  REQUIRE(std::holds_alternative<UsageError>(line));
  const auto& error = std::get<UsageError>(line);
  CHECK(error.message.find('\n') == std::string::npos);
  CHECK(error.usage.starts_with("usage: ringfence "));
  return error.message;
}

TEST_CASE("defaults") {
  const DoCommand command = ParseDo({"true"});
  CHECK(command.command == Strings{"true"});
  CHECK(command.exitless == ExitlessMode::kAuto);
  CHECK_FALSE(command.strace);
  CHECK_FALSE(command.cwd.has_value());
  CHECK_FALSE(command.debug_log.has_value());
  CHECK_FALSE(command.stats.has_value());
  CHECK(command.env.empty());
  CHECK(command.memory_bytes == 0);
  CHECK(command.cpus == 0);
}

TEST_CASE("sizes of memory and numbers of CPUs are written as for podman") {
  CHECK(ParseDo({"--memory=512m", "true"}).memory_bytes == uint64_t{512} << 20);
  CHECK(ParseDo({"--memory", "2G", "true"}).memory_bytes == uint64_t{2} << 30);
  CHECK(ParseDo({"--memory=1gb", "true"}).memory_bytes == uint64_t{1} << 30);
  CHECK(ParseDo({"--memory=33554432", "true"}).memory_bytes == 33554432);
  for (const char* wrong : {"", "m", "-1", "5m", "2t", "1x", "99999999999999999999", "1e9", "64 m",
                            "18014398509481984k"}) {
    INFO(wrong);
    CHECK(std::holds_alternative<UsageError>(
        ParseCommandLine({"do", std::string("--memory=") + wrong, "true"})));
  }
  CHECK(ParseDo({"--cpus=1", "true"}).cpus == 1);
  CHECK(ParseDo({"--cpus=1.5", "true"}).cpus == 2);
  for (const char* wrong : {"", "0", "-1", "x", "nan", "inf", "1e9"}) {
    INFO(wrong);
    CHECK(std::holds_alternative<UsageError>(
        ParseCommandLine({"do", std::string("--cpus=") + wrong, "true"})));
  }
}

TEST_CASE("all flags, both spellings") {
  const DoCommand command =
      ParseDo({"--exitless=off", "--strace", "--cwd", "/tmp", "--env", "A=1", "--env=B=x=y",
               "--env", "C=", "--debug-log", "/tmp/l", "--", "sh", "-c", "echo"});
  CHECK(command.exitless == ExitlessMode::kOff);
  CHECK(command.strace);
  CHECK(command.cwd == "/tmp");
  CHECK(command.env == Strings{"A=1", "B=x=y", "C="});
  CHECK(command.debug_log == "/tmp/l");
  CHECK(command.command == Strings{"sh", "-c", "echo"});
  CHECK(ParseDo({"--network=none", "true"}).command.size() == 1);
  CHECK(ParseDo({"--exitless", "on", "true"}).exitless == ExitlessMode::kOn);
  CHECK(ParseDo({"--exitless=on", "--exitless=off", "true"}).exitless == ExitlessMode::kOff);
}

TEST_CASE("everything from the command on is the command's") {
  CHECK(ParseDo({"-t", "ls"}).terminal);
  CHECK_FALSE(ParseDo({"ls", "-t"}).terminal);
  CHECK(ParseDo({"ls", "-l", "--strace"}).command == Strings{"ls", "-l", "--strace"});
  CHECK_FALSE(ParseDo({"ls", "-l", "--strace"}).strace);
  CHECK(ParseDo({"--", "--odd"}).command == Strings{"--odd"});
  CHECK(ParseDo({"--", "a", "--", "b"}).command == Strings{"a", "--", "b"});
  CHECK(ParseDo({"sh", "-c", "x", "--", "b"}).command == Strings{"sh", "-c", "x", "--", "b"});
  CHECK(ParseDo({"echo", ""}).command == Strings{"echo", ""});
  CHECK(ParseDo({"--", "do", "--help"}).command == Strings{"do", "--help"});
  CHECK(ParseDo({"ls", "--help"}).command == Strings{"ls", "--help"});
  CHECK(ParseDo({"ls", "--exitless=sometimes"}).command.size() == 2);
}

TEST_CASE("--env takes one word, not the command after it") {
  const DoCommand command = ParseDo({"--env", "A=1", "--env", "B=2", "env", "C=3"});
  CHECK(command.env == Strings{"A=1", "B=2"});
  CHECK(command.command == Strings{"env", "C=3"});
}

TEST_CASE("mistakes are named") {
  CHECK(Error({}).find("no command") != std::string::npos);
  CHECK(Error({"frobnicate"}).find("frobnicate") != std::string::npos);
  CHECK(Error({"--frob"}).find("--frob") != std::string::npos);
  CHECK(Error({"do"}).find("no command") != std::string::npos);
  CHECK(Error({"do", "--"}).find("no command") != std::string::npos);
  CHECK(Error({"do", "--", ""}).find("empty") != std::string::npos);
  CHECK(Error({"do", "--no-such-flag", "--", "true"}).find("--no-such-flag") != std::string::npos);
  CHECK(Error({"do", "--no-such-flag=3", "true"}).find("--no-such-flag") != std::string::npos);
  CHECK(Error({"do", "-x", "true"}).find("-x") != std::string::npos);
  CHECK(Error({"do", "--exitless=sometimes", "true"}).find("sometimes") != std::string::npos);
  CHECK(Error({"do", "--exitless=sometimes", "true"}).find("exitless") != std::string::npos);
  CHECK(Error({"do", "--network=host", "true"}).find("--network: is none") != std::string::npos);
  CHECK(Error({"do", "--env", "NOVALUE", "true"}).find("NOVALUE") != std::string::npos);
  CHECK(Error({"do", "--env", "=x", "true"}).find("=x") != std::string::npos);
  CHECK(Error({"do", "--cwd"}).find("--cwd") != std::string::npos);
  CHECK(Error({"do", "--strace=maybe", "true"}).find("strace") != std::string::npos);
}

TEST_CASE("help and version") {
  for (const Strings& args : {Strings{"--help"}, Strings{"-h"}, Strings{"do", "--help"}}) {
    const CommandLine line = ParseCommandLine(args);
    REQUIRE(std::holds_alternative<PrintText>(line));
    CHECK(std::get<PrintText>(line).text.starts_with("usage: "));
  }
  CHECK(std::holds_alternative<PrintText>(ParseCommandLine({"--version"})));
}

TEST_CASE("--rw, --volume and --overlay") {
  const CommandLine parsed =
      ParseCommandLine({"do", "--rw", "a", "--volume", "b:/c", "--rw=/d", "--volume=e:/f:ro",
                        "--overlay=dir=/u", "true", "--rw"});
  const DoCommand& command = std::get<DoCommand>(parsed);
  REQUIRE(command.volumes.size() == 4);
  CHECK(command.volumes[0].source == "a");
  CHECK(command.volumes[1].source == "/d");
  CHECK(command.volumes[1].destination.empty());
  CHECK(command.volumes[2].destination == "/c");
  CHECK_FALSE(command.volumes[2].read_only);
  CHECK(command.volumes[3].source == "e");
  CHECK(command.volumes[3].read_only);
  CHECK(command.overlay.kind == OverlayFlag::Kind::kDirectory);
  CHECK(command.overlay.directory == "/u");
  CHECK(command.command == std::vector<std::string>{"true", "--rw"});
  CHECK(std::get<DoCommand>(ParseCommandLine({"do", "true"})).overlay.kind ==
        OverlayFlag::Kind::kMemory);
  CHECK(std::get<DoCommand>(ParseCommandLine({"do", "--overlay", "none", "true"})).overlay.kind ==
        OverlayFlag::Kind::kNone);
  for (const char* wrong :
       {"--volume=a", "--volume=:/b", "--volume=a:b", "--volume=a:/b:rx", "--volume=a:/b:ro:ro",
        "--volume=", "--rw=", "--overlay=", "--overlay=dir=", "--overlay=tmp"}) {
    CHECK(std::holds_alternative<UsageError>(ParseCommandLine({"do", wrong, "true"})));
  }
}

}  // namespace
}  // namespace ringfence::runtime
