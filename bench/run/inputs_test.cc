#include "bench/run/inputs.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "bench/run/child.h"

namespace ringfence::bench {
namespace {

TEST_CASE("the source has as many lines as asked for, is the same each time, and compiles") {
  const std::string text = SourceText(2000);
  CHECK(std::count(text.begin(), text.end(), '\n') == 2000);
  CHECK(text == SourceText(2000));
  const char* const directory = std::getenv("TEST_TMPDIR");
  const std::string path =
      absl::StrCat(directory != nullptr ? directory : "/tmp", "/inputs_test.c");
  std::ofstream(path) << text;
  const auto compiled = RunChild({"gcc", "-Wall", "-Werror", "-fsyntax-only", path}, 60);
  INFO(compiled.status());
  CHECK(compiled.ok());
  unlink(path.c_str());
}

TEST_CASE("inputs are made in a directory of their own, the tree builds, all of it is removed") {
  const char* const directory = std::getenv("TEST_TMPDIR");
  const std::string work = absl::StrCat(directory != nullptr ? directory : "/tmp", "/inputs_work");
  std::filesystem::create_directories(work);
  std::ofstream(work + "/mine") << "stays";
  const auto inputs = MakeInputs(work, {"/bin/true", "/bin/true", "", false});
  REQUIRE(inputs.ok());
  const auto built = RunChild({"make", "-s", "-C", inputs->tree, "-j2"}, 60);
  INFO(built.status());
  CHECK(built.ok());
  RemoveInputs(*inputs);
  CHECK_FALSE(std::filesystem::exists(inputs->directory));
  CHECK(std::filesystem::exists(work + "/mine"));
  std::filesystem::remove_all(work);
}

TEST_CASE("a source that is not there is named, and nothing is left behind") {
  const auto inputs = MakeInputs("/tmp", {"/nonexistent/guest", "/bin/true", "", false});
  CHECK(inputs.status().message().find("/nonexistent/guest") != std::string_view::npos);
  CHECK_FALSE(std::filesystem::exists(absl::StrCat("/tmp/ringfence-bench-", getpid())));
}

}  // namespace
}  // namespace ringfence::bench
