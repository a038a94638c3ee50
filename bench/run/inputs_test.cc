#include "bench/run/inputs.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
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

}  // namespace
}  // namespace ringfence::bench
