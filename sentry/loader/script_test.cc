#include "sentry/loader/script.h"

#include <catch2/catch.hpp>

namespace ringfence::sentry {
namespace {

Result<ScriptLine> Parse(std::string text) {
  text.resize(kExecHeaderSize, '\0');
  return ParseScript(text);
}

TEST_CASE("interpreter and one argument with its inner blanks") {
  auto line = Parse("#!/bin/sh\n");
  REQUIRE(line.ok());
  CHECK(line->interpreter == "/bin/sh");
  CHECK_FALSE(line->argument);
  line = Parse("#! \t/usr/bin/env  a b\t \nrest");
  REQUIRE(line.ok());
  CHECK(line->interpreter == "/usr/bin/env");
  CHECK(*line->argument == "a b");
  line = Parse("#!/bin/sh");  // no newline: the file ends
  REQUIRE(line.ok());
  CHECK(line->interpreter == "/bin/sh");
  line = Parse("#!/bin/awk -f  \n");
  CHECK(*line->argument == "-f");
}

TEST_CASE("what is no script") {
  CHECK(Parse("").error() == Errno::kNOEXEC);
  CHECK(Parse("#").error() == Errno::kNOEXEC);
  CHECK(Parse("#!").error() == Errno::kNOEXEC);
  CHECK(Parse("#!\n/bin/sh").error() == Errno::kNOEXEC);
  CHECK(Parse("#! \t \n").error() == Errno::kNOEXEC);
  CHECK(Parse(std::string("#!") + std::string(300, ' ')).error() == Errno::kNOEXEC);
}

TEST_CASE("a name that the buffer cuts off is not guessed, an argument may be cut") {
  CHECK(Parse("#!/" + std::string(300, 'a')).error() == Errno::kNOEXEC);
  auto line = Parse("#!/bin/sh " + std::string(300, 'a'));
  REQUIRE(line.ok());
  CHECK(line->interpreter == "/bin/sh");
  CHECK(line->argument->size() == kExecHeaderSize - 10);
}

}  // namespace
}  // namespace ringfence::sentry
