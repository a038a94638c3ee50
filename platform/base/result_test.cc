#include "platform/base/result.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>

namespace ringfence {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Errno::kINVAL;
  return n / 2;
}

Result<std::string> Quarter(int n) { return std::to_string(TRY(Half(TRY(Half(n))))); }

Result<void> Even(int n) {
  TRY(Half(n));
  return Ok();
}

TEST_CASE("TRY yields the value or returns the errno") {
  CHECK(Quarter(8).value() == "2");
  CHECK(Quarter(6).error() == Errno::kINVAL);
  CHECK(Even(2).ok());
  CHECK(Even(3).error() == Errno::kINVAL);
  CHECK(Half(3).value_or(9) == 9);
}

struct Base {
  virtual ~Base() = default;
};
struct Derived : Base {};

Result<std::unique_ptr<Base>> MakeDerived() { return std::make_unique<Derived>(); }

TEST_CASE("a pointer to a derived class converts") { CHECK(MakeDerived().value() != nullptr); }

TEST_CASE("results hold values that only move") {
  Result<std::unique_ptr<int>> r = std::make_unique<int>(5);
  REQUIRE(r.ok());
  std::unique_ptr<int> p = std::move(r).value();
  CHECK(*p == 5);
}

}  // namespace
}  // namespace ringfence
