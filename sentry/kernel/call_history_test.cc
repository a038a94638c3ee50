#include "sentry/kernel/call_history.h"

#include <catch2/catch.hpp>
#include <thread>

namespace ringfence::sentry {
namespace {

platform::SyscallRequest Request(uint64_t number) {
  platform::SyscallRequest request{};
  request.number = number;
  for (uint64_t& arg : request.args) arg = number;
  return request;
}

TEST_CASE("the last calls are kept, the present one is not finished") {
  CallHistory history;
  CHECK(history.Read().empty());
  for (uint64_t n = 1; n <= 20; ++n) {
    history.Begin(Request(n));
    if (n != 20) history.End(-static_cast<int64_t>(n));
  }
  const auto calls = history.Read();
  REQUIRE(calls.size() == CallHistory::kCalls);
  CHECK(calls.front().number == 13);
  CHECK(calls.front().finished);
  CHECK(calls.front().result == -13);
  CHECK(calls.back().number == 20);
  CHECK(calls.back().args[5] == 20);
  CHECK_FALSE(calls.back().finished);
}

TEST_CASE("a reader never sees half of an entry") {
  CallHistory history;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t n = 1; !stop; ++n) {
      history.Begin(Request(n));
      history.End(static_cast<int64_t>(n));
    }
  });
  bool whole = true;
  for (int i = 0; i < 20000; ++i) {
    for (const CallHistory::Call& call : history.Read()) {
      for (const uint64_t arg : call.args) whole = whole && arg == call.number;
    }
  }
  stop = true;
  writer.join();
  CHECK(whole);
}

}  // namespace
}  // namespace ringfence::sentry
