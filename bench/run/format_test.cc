#include "bench/run/format.h"

#include <catch2/catch.hpp>

namespace ringfence::bench {
namespace {

TEST_CASE("three digits and the unit that makes them readable") {
  CHECK(FormatNs(0.98) == "0.98 ns");
  CHECK(FormatNs(310) == "310 ns");
  CHECK(FormatNs(999.4) == "999 ns");
  CHECK(FormatNs(999.6) == "1.00 us");
  CHECK(FormatNs(12345678) == "12.3 ms");
  CHECK(FormatNs(2e12) == "2000 s");
  CHECK(FormatBytes(16e6) == "16.0 MB");
  CHECK(FormatBytes(-2000) == "-2.00 kB");
  CHECK(FormatRatio(1.236) == "1.24x");
  CHECK(FormatRatio(9.999) == "10.0x");
  CHECK(FormatRatio(0.00312) == "0.0031x");
  CHECK(FormatValue(4096, "bytes") == "4.10 kB");
}

}  // namespace
}  // namespace ringfence::bench
