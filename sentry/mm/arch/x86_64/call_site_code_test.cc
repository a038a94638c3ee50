#include "sentry/mm/arch/call_site_code.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <initializer_list>

namespace ringfence::sentry {
namespace {

constexpr size_t kAt = 0x120;

void Put(TextPage* page, size_t at, std::initializer_list<uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), page->begin() + static_cast<ptrdiff_t>(at));
}

// Many short instructions, which show where one begins.
TextPage Nops() {
  TextPage page;
  page.fill(0x90);
  return page;
}

// xor eax, eax; syscall; ret; and eight bytes of padding up to 0x130, where a function begins.
TextPage Read() {
  TextPage page = Nops();
  Put(&page, kAt,
      {0x90, 0x90, 0x90, 0x31, 0xc0, 0x0f, 0x05, 0xc3, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0});
  Put(&page, kAt + 16, {0xb8, 1, 0, 0, 0, 0xc3});
  return page;
}

// mov eax, 39; syscall; ret.
TextPage Getpid() {
  TextPage page = Nops();
  Put(&page, kAt, {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3});
  return page;
}

TEST_CASE("a call becomes a short jump to a far one, and a call again") {
  const TextPage before = Read();
  TextPage page = before;
  const auto site = FindCallSite(page, kAt + 5);
  REQUIRE(site.has_value());
  CHECK(site->call == kAt + 5);
  CHECK(site->jump == kAt + 8);
  CHECK_FALSE(site->number.has_value());
  CHECK_FALSE(IsRewritten(*site, page));
  Rewrite(*site, 0x80cd0020, &page);
  CHECK(IsRewritten(*site, page));
  const uint8_t want[] = {0x90, 0x90, 0x90, 0x31, 0xc0, 0xeb, 0x01, 0xc3,
                          0xff, 0x24, 0x25, 0x20, 0x00, 0xcd, 0x80, 0xcc};
  CHECK(std::memcmp(page.data() + kAt, want, sizeof(want)) == 0);
  CHECK(std::memcmp(page.data() + kAt + 16, before.data() + kAt + 16, kPageSize - kAt - 16) == 0);
  Restore(*site, &page);
  CHECK(page == before);
}

TEST_CASE("a load of a number and its call become one far jump, and a load and a call again") {
  const TextPage before = Getpid();
  TextPage page = before;
  const auto site = FindCallSite(page, kAt + 5);
  REQUIRE(site.has_value());
  CHECK(site->call == kAt + 5);
  CHECK(site->jump == kAt);
  CHECK(site->number == 39u);
  CHECK_FALSE(IsRewritten(*site, page));
  Rewrite(*site, 0x80cd0020, &page);
  CHECK(IsRewritten(*site, page));
  const uint8_t want[] = {0xff, 0x24, 0x25, 0x20, 0x00, 0xcd, 0x80, 0xc3};
  CHECK(std::memcmp(page.data() + kAt, want, sizeof(want)) == 0);
  Restore(*site, &page);
  CHECK(page == before);
}

TEST_CASE("what looks like a load of a number but may be something else is left alone") {
  TextPage page = Getpid();
  page[kAt - 1] = 0x41;  // mov r8d, 39
  CHECK_FALSE(FindCallSite(page, kAt + 5).has_value());
  page = Getpid();
  Put(&page, kAt - 3, {0xc7, 0x44, 0x24});  // mov dword [rsp - 0x48], 39
  CHECK_FALSE(FindCallSite(page, kAt + 5).has_value());
  page = Getpid();
  Put(&page, kAt, {0xb8, 0, 4, 0, 0});  // no such number
  CHECK_FALSE(FindCallSite(page, kAt + 5).has_value());
  // At the start of the page nobody knows what comes before.
  page.fill(0x90);
  Put(&page, 0, {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3});
  CHECK_FALSE(FindCallSite(page, 5).has_value());
}

TEST_CASE("the return from a signal handler keeps the bytes that unwinders know it by") {
  TextPage page = Read();
  REQUIRE(FindCallSite(page, kAt + 5).has_value());
  Put(&page, kAt - 2, {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0});
  CHECK_FALSE(FindCallSite(page, kAt + 5).has_value());
}

TEST_CASE("what is no call, or has no padding, is left alone") {
  TextPage page = Read();
  CHECK_FALSE(FindCallSite(page, kAt).has_value());
  CHECK_FALSE(FindCallSite(page, kPageSize - 1).has_value());
  CHECK_FALSE(FindCallSite(page, kPageSize).has_value());
  page[kAt + 12] = 0x55;
  CHECK_FALSE(FindCallSite(page, kAt + 5).has_value());
}

TEST_CASE("a site that somebody has written over is not taken for a rewritten one") {
  TextPage page = Read();
  auto site = FindCallSite(page, kAt + 5);
  REQUIRE(site.has_value());
  Rewrite(*site, 0x80cd0020, &page);
  for (const size_t at : {kAt + 5, kAt + 6, kAt + 8, kAt + 10}) {
    TextPage changed = page;
    changed[at] ^= 1;
    CHECK_FALSE(IsRewritten(*site, changed));
  }
  page = Getpid();
  site = FindCallSite(page, kAt + 5);
  REQUIRE(site.has_value());
  Rewrite(*site, 0x80cd0020, &page);
  page[kAt] = 0xb8;
  CHECK_FALSE(IsRewritten(*site, page));
}

TEST_CASE("only what surely is a call counts for other processes") {
  TextPage page = Getpid();
  CHECK(IsSurelyCall(page, kAt + 5));
  Put(&page, kAt - 1, {0x48, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0, 0});  // a constant of eight bytes
  CHECK_FALSE(IsSurelyCall(page, kAt + 5));
  CHECK_FALSE(IsSurelyCall(page, 1));
  Put(&page, kAt - 1, {0x48, 0xb8, 39, 0, 0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d});
  CHECK(IsSurelyCall(page, kAt + 5));
  page[kAt + 8] = 0x3c;
  CHECK_FALSE(IsSurelyCall(page, kAt + 5));
}

}  // namespace
}  // namespace ringfence::sentry
