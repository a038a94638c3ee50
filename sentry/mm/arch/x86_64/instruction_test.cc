// Lengths of instructions, a line for each rule of the encoding.
#include "sentry/mm/arch/x86_64/instruction.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace ringfence::sentry {
namespace {

std::vector<uint8_t> Bytes(const std::string& hex) {
  std::vector<uint8_t> bytes;
  std::istringstream words(hex);
  for (std::string word; words >> word;) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(word, nullptr, 16)));
  }
  return bytes;
}

// The instruction is all of `hex`: more behind it does not matter, a byte less is not enough.
void CheckWhole(const std::string& hex, bool ends_flow = false) {
  CAPTURE(hex);
  std::vector<uint8_t> bytes = Bytes(hex);
  const size_t length = bytes.size();
  CHECK_FALSE(DecodeInstruction(absl::Span<const uint8_t>(bytes).first(length - 1)).has_value());
  for (const uint8_t next : {0x00, 0x90, 0xff}) {
    bytes.resize(length);
    bytes.resize(length + 20, next);
    const auto instruction = DecodeInstruction(bytes);
    REQUIRE(instruction.has_value());
    CHECK(instruction->length == length);
    CHECK(instruction->ends_flow == ends_flow);
  }
}

void CheckRefused(const std::string& hex) {
  CAPTURE(hex);
  std::vector<uint8_t> bytes = Bytes(hex);
  bytes.resize(bytes.size() + 20, 0x00);
  CHECK_FALSE(DecodeInstruction(bytes).has_value());
}

TEST_CASE("instructions without operands") {
  for (const char* hex : {"50", "90", "9b", "98", "c9", "cc", "0f 05", "0f 31", "0f a2", "0f c8",
                          "f3 a4", "48 ab", "0f 77", "41 57", "f3 90", "0f 0b", "f4"}) {
    CheckWhole(hex);
  }
}

TEST_CASE("ModRM, SIB and displacements") {
  for (const char* hex :
       {"89 c3", "89 c4", "89 c5", "89 03", "89 43 08", "89 83 00 01 00 00",  // by mod
        "89 05 00 01 00 00", "89 45 08",                                      // from RIP; from RBP
        "89 04 24", "89 44 24 08", "89 84 24 00 01 00 00",                    // SIB
        "89 04 25 00 01 00 00", "89 44 05 08", "ff 24 c5 00 01 00 00",        // SIB without a base
        "0f b6 04 24", "0f c7 08", "0f c6 c8 01", "0f 1f 84 00 00 00 00 00", "f3 0f 1e fa"}) {
    CheckWhole(hex, hex[0] == 'f' && hex[1] == 'f');
  }
}

TEST_CASE("immediates follow operand size and REX.W") {
  for (const char* hex : {"04 01",
                          "05 01 02 03 04",
                          "66 05 01 02",
                          "48 05 01 02 03 04",
                          "66 48 05 01 02 03 04",
                          "b8 01 02 03 04",
                          "66 b8 01 02",
                          "48 b8 01 02 03 04 05 06 07 08",
                          "b0 01",
                          "83 c0 01",
                          "81 c0 01 02 03 04",
                          "66 81 c0 01 02",
                          "6b c0 01",
                          "69 c0 01 02 03 04",
                          "66 69 c0 01 02",
                          "c6 00 01",
                          "c7 00 01 02 03 04",
                          "66 c7 00 01 02",
                          "48 c7 44 24 08 01 02 03 04",
                          "68 01 02 03 04",
                          "6a 01",
                          "a8 01",
                          "c8 01 02 03",
                          "f6 00 01",
                          "f6 10",
                          "f7 00 01 02 03 04",
                          "66 f7 00 01 02",
                          "f7 d8",
                          "c1 e0 04",
                          "d1 e0",
                          "a1 01 02 03 04 05 06 07 08",
                          "67 a1 01 02 03 04",
                          "cd 80",
                          "0f ba e0 01",
                          "0f a4 c0 01",
                          "66 0f 70 c0 01",
                          "66 0f c5 c0 01"}) {
    CheckWhole(hex);
  }
}

TEST_CASE("prefixes") {
  for (const char* hex : {"64 48 8b 04 25 28 00 00 00", "f0 48 0f b1 0a", "66 90", "2e 90",
                          "66 66 2e 0f 1f 84 00 00 00 00 00", "f2 0f 10 00", "67 8d 04 24",
                          "41 b8 01 02 03 04", "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90"}) {
    CheckWhole(hex);
  }
  CheckRefused("66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90");  // 16 bytes
  CheckRefused("48 66 90");                                         // REX, then a prefix
  CheckRefused("48 48 90");
}

TEST_CASE("the maps behind 0f, VEX and EVEX") {
  for (const char* hex :
       {"66 0f 38 00 c1", "0f 38 f0 00", "66 0f 3a 0f c1 08", "c5 f8 77", "c5 fe 6f 06",
        "c5 fd 70 c1 01", "c4 e2 7d 58 c0", "c4 e3 7d 39 c1 01", "c4 e1 f9 6e c0",
        "62 f1 fe 28 6f 06", "62 f1 fe 28 6f 46 01", "62 f3 75 20 3f c2 04", "64 c5 fe 6f 06"}) {
    CheckWhole(hex);
  }
  CheckRefused("66 c5 f8 77");
  CheckRefused("f3 c5 f8 77");
  CheckRefused("48 c5 f8 77");
  CheckRefused("66 c4 e2 7d 58 c0");
  CheckRefused("48 62 f1 fe 28 6f 06");
  CheckRefused("c4 e4 7d 58 c0");  // no such map
  CheckRefused("c4 e0 7d 58 c0");
}

TEST_CASE("jumps, and where control flow ends") {
  for (const char* hex :
       {"74 00", "e3 00", "0f 84 00 01 00 00", "e8 00 01 00 00", "67 e8 00 01 00 00",
        "66 48 e8 00 01 00 00", "ff d0", "ff 10", "ff 35 00 01 00 00", "fe c0"}) {
    CheckWhole(hex);
  }
  for (const char* hex :
       {"c3", "f3 c3", "c2 08 00", "e9 00 01 00 00", "eb 00", "ff e0", "41 ff e3", "3e ff e0",
        "ff 25 00 01 00 00", "ff 24 25 00 10 00 00", "f2 e9 00 01 00 00"}) {
    CheckWhole(hex, true);
  }
  // 0f e9, 0f eb, 0f c3, 0f ff are something else.
  CheckWhole("0f e9 c0");
  CheckWhole("0f eb c0");
  CheckWhole("0f c3 00");
}

TEST_CASE("what is not understood is refused") {
  for (const char* hex :
       {"06",          "27",       "60",       "62 00",    "82 c0 01", "8f c0", "9a",
        "ca 00 00",    "cb",       "cf",       "d5",       "ea",       "0f 04", "0f 0f c0 9e",
        "0f 24",       "0f 36",    "0f 78 c0", "0f a6 c0", "0f b8 c0", "0f ff", "c7 f8 00 01 00 00",
        "c6 f8 00",                                         // XBEGIN, XABORT
        "66 e8 00 01", "66 74 00", "66 c3",    "66 e9"}) {  // makers differ
    CheckRefused(hex);
  }
}

TEST_CASE("random bytes are decoded in bounds") {
  std::mt19937 random(5);
  for (int i = 0; i < 100'000; ++i) {
    std::vector<uint8_t> bytes(random() % 17);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    const auto instruction = DecodeInstruction(bytes);
    if (!instruction.has_value()) continue;
    if (instruction->length < 1 || instruction->length > std::min<size_t>(bytes.size(), 15)) {
      FAIL("length " << instruction->length);
    }
  }
}

}  // namespace
}  // namespace ringfence::sentry
