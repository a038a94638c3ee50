#include "sentry/mm/call_sites.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <initializer_list>

namespace ringfence::sentry {
namespace {

TEST_CASE("a call is worth a rewrite after so many traps, and is asked for until it is done") {
  TrapCounter counter;
  const VirtAddr after(0x7f0000001007);
  for (unsigned i = 1; i < TrapCounter::kWorthIt; ++i) CHECK_FALSE(counter.Count(after));
  CHECK(counter.Count(after));
  CHECK(counter.Count(after));
  counter.Done(after, /*forever=*/false);
  CHECK_FALSE(counter.Count(after));
  counter.Done(after, /*forever=*/true);
  for (unsigned i = 0; i < 1000; ++i) CHECK_FALSE(counter.Count(after));
}

TEST_CASE("any number of instructions are counted in the same room, the busiest surely") {
  TrapCounter counter;
  const VirtAddr busy(0x401234);
  bool found = false;
  for (uint64_t i = 0; i < 100000; ++i) {
    (void)counter.Count(VirtAddr(0x500000 + i * 3));
    found |= counter.Count(busy);
  }
  CHECK(found);
  // A set full of what cannot be rewritten counts nothing more, and does no harm.
  for (uint64_t i = 0; i < 100000; ++i) {
    const VirtAddr after(0x600000 + i);
    for (unsigned n = 0; n < 2 * TrapCounter::kWorthIt; ++n) {
      if (counter.Count(after)) counter.Done(after, /*forever=*/true);
    }
  }
  CHECK_FALSE(counter.Count(VirtAddr(0x700000)));
}

TEST_CASE("what is counted can be seen") {
  TrapCounter counter;
  (void)counter.Count(VirtAddr(0x1000));
  (void)counter.Count(VirtAddr(0x1000));
  (void)counter.Count(VirtAddr(0x2000));
  counter.Done(VirtAddr(0x2000), /*forever=*/true);
  unsigned seen = 0;
  counter.Visit([&](VirtAddr after, unsigned count) {
    CHECK(after == VirtAddr(0x1000));
    CHECK(count == 2);
    ++seen;
  });
  CHECK(seen == 1);
}

void Put(TextPage* page, size_t at, std::initializer_list<uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), page->begin() + static_cast<ptrdiff_t>(at));
}

// Two calls, at 0x102 and 0x106, with the same 15 bytes of padding behind them.
TextPage TwoCalls() {
  TextPage page;
  page.fill(0x90);
  Put(&page, 0x100,
      {0x31, 0xc0, 0x0f, 0x05, 0x31, 0xc0, 0x0f, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
       0x90, 0xc3});
  Put(&page, 0x111, {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0});
  return page;
}

TEST_CASE("sites are known when all processes together have trapped often enough") {
  KnownCallSites known;
  known.Add(0x5102, TrapCounter::kWorthIt - 1);
  CHECK(known.PagesIn(0, 100).empty());
  CHECK(known.SitesIn(5, TwoCalls()).empty());
  known.Add(0x5102, 1);
  known.Add(0x7102, 1000);
  CHECK(known.PagesIn(0, 100) == std::vector<uint64_t>{5, 7});
  CHECK(known.PagesIn(5, 2) == std::vector<uint64_t>{5});
  CHECK(known.PagesIn(6, 1).empty());
  const auto sites = known.SitesIn(5, TwoCalls());
  REQUIRE(sites.size() == 1);
  CHECK(sites[0].call == 0x102);
}

TEST_CASE("the answer is to the text as it is now") {
  KnownCallSites known;
  known.Add(0x5102, 8);
  TextPage text = TwoCalls();
  REQUIRE(known.SitesIn(5, text).size() == 1);
  REQUIRE(known.SitesIn(5, text).size() == 1);
  text[0x102] = 0x90;
  CHECK(known.SitesIn(5, text).empty());
  CHECK(known.SitesIn(5, TwoCalls()).size() == 1);
}

TEST_CASE("sites in one page do not take each other's padding") {
  KnownCallSites known;
  known.Add(0x106, 8);
  known.Add(0x102, 8);
  const auto sites = known.SitesIn(0, TwoCalls());
  REQUIRE(sites.size() == 2);
  CHECK(sites[1].jump >= sites[0].jump + kFarJumpBytes);
}

TEST_CASE("a file has a bounded number of sites") {
  KnownCallSites known;
  for (uint64_t i = 0; i < 2 * KnownCallSites::kMax; ++i) known.Add(i * kPageSize, 8);
  CHECK(known.PagesIn(0, ~uint64_t{0} >> 13).size() == KnownCallSites::kMax);
}

}  // namespace
}  // namespace ringfence::sentry
