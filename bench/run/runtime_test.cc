#include "bench/run/runtime.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

namespace ringfence::bench {
namespace {

RuntimeOptions Options() {
  const char* const directory = std::getenv("TEST_TMPDIR");
  RuntimeOptions options;
  options.ringfence = "/nonexistent/ringfence";
  options.inputs.directory =
      std::string(directory != nullptr ? directory : "/tmp") + "/runtime_test";
  options.inputs.first = "/bin/true";
  return options;
}

TEST_CASE("an unknown name is an error that says which there are") {
  const auto runtime = FindRuntime("gvisor", Options());
  CHECK(runtime.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(runtime.status().message().find("no runtime is called gvisor") != std::string_view::npos);
  CHECK(runtime.status().message().find("runsc") != std::string_view::npos);
}

TEST_CASE("what is not there is not found") {
  CHECK(FindRuntime("youki", Options()).status().code() != absl::StatusCode::kInvalidArgument);
  CHECK(FindRuntime("ringfence", Options()).status().code() == absl::StatusCode::kNotFound);
  CHECK(FindRuntime("bare:exit", Options()).status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("command lines") {
  const RuntimeOptions options = Options();
  const RunSpec spec{{"/bin/guest", "x"}, true, 3, {"--memory=128m"}};
  const Runtime native{"native", RuntimeKind::kNative, {}, {}, "", 0};
  CHECK(*CommandOf(native, options, spec) == Command{"/bin/guest", "x"});
  const Runtime ringfence{"ringfence", RuntimeKind::kRingfence, {"ringfence", "do"}, {}, "", 0};
  CHECK(*CommandOf(ringfence, options, spec) ==
        Command{"ringfence", "do", "--memory=128m", "--", "/bin/guest", "x"});
  const Runtime runsc{"runsc", RuntimeKind::kOci, {"runsc"}, {"runsc", "do"}, "", 0};
  CHECK(*CommandOf(runsc, options, spec) == Command{"runsc", "do", "/bin/guest", "x"});
  const Runtime runc{"runc", RuntimeKind::kOci, {"runc"}, {}, "", 0};
  const auto command = CommandOf(runc, options, spec);
  REQUIRE(command.ok());
  CHECK((*command)[3] == "run");
  CHECK(std::filesystem::exists((*command)[5] + "/config.json"));
  std::filesystem::remove_all(options.inputs.directory);
}

}  // namespace
}  // namespace ringfence::bench
