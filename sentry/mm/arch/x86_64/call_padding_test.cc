// Room for far jumps: every rule by bytes, random bytes, and the C library of this machine.
#include "sentry/mm/arch/x86_64/call_padding.h"

#include <elf.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "sentry/mm/arch/x86_64/instruction.h"

namespace ringfence::sentry {
namespace {

using Bytes = std::vector<uint8_t>;

void AppendHex(const std::string& hex, Bytes* out) {
  std::istringstream words(hex);
  for (std::string word; words >> word;) {
    out->push_back(static_cast<uint8_t>(std::stoul(word, nullptr, 16)));
  }
}

// As GNU as fills `bytes`.
void AppendPadding(size_t bytes, Bytes* out) {
  static const char* const kFills[] = {
      "",
      "90",
      "66 90",
      "0f 1f 00",
      "0f 1f 40 00",
      "0f 1f 44 00 00",
      "66 0f 1f 44 00 00",
      "0f 1f 80 00 00 00 00",
      "0f 1f 84 00 00 00 00 00",
      "66 0f 1f 84 00 00 00 00 00",
      "66 2e 0f 1f 84 00 00 00 00 00",
      "66 66 2e 0f 1f 84 00 00 00 00 00",
  };
  for (; bytes > 11; bytes -= 8) AppendHex(kFills[8], out);
  AppendHex(kFills[bytes], out);
}

// A text in words: bytes in hexadecimal; S is the SYSCALL, | a multiple of 16, pN padding of N
// bytes, xN other code of N bytes (PUSH), ^ where the padding is expected to be found.
struct Text {
  explicit Text(const std::string& description) {
    std::istringstream words(description);
    size_t aligned = 0;
    for (std::string word; words >> word;) {
      if (word == "S") {
        call = bytes.size();
        AppendHex("0f 05", &bytes);
      } else if (word == "|") {
        aligned = bytes.size();
      } else if (word == "^") {
        expected = bytes.size();
      } else if (word[0] == 'p') {
        AppendPadding(std::stoul(word.substr(1)), &bytes);
      } else if (word[0] == 'x') {
        bytes.insert(bytes.end(), std::stoul(word.substr(1)), 0x50);
      } else {
        AppendHex(word, &bytes);
      }
    }
    address = 0x7f0000001000 - aligned + call;
  }

  std::optional<ptrdiff_t> Find() const {
    const absl::Span<const uint8_t> all(bytes);
    return FindPadding(all.subspan(call), address, all.first(call));
  }

  Bytes bytes;
  size_t call = 0;
  uint64_t address = 0;  // of the SYSCALL
  std::optional<size_t> expected;
};

void Check(const std::string& description) {
  CAPTURE(description);
  const Text text(description);
  std::optional<ptrdiff_t> expected;
  if (text.expected.has_value()) {
    expected = static_cast<ptrdiff_t>(*text.expected - text.call);
  }
  CHECK(text.Find() == expected);
}

TEST_CASE("padding after a return is found") {
  Check("S 48 3d 01 f0 ff ff 73 0d c3 ^ p12 | 48 83 c8 ff c3");
  Check("90 90 48 31 c0 S c3 ^ p15 | 55");
}

TEST_CASE("text that begins with something else has no padding") {
  const Text text("S c3 ^ p12 | 55");
  Bytes bytes = text.bytes;
  bytes[1] = 0x0b;
  CHECK_FALSE(FindPadding(bytes, text.address).has_value());
  CHECK_FALSE(FindPadding({}, text.address).has_value());
  CHECK_FALSE(FindPadding(absl::Span<const uint8_t>(text.bytes).first(2), text.address));
}

TEST_CASE("padding comes directly after an end of control flow") {
  Check("S f3 c3 ^ p12 | 55");
  Check("S c2 08 00 ^ p12 | 55");
  Check("S e9 00 01 00 00 ^ p12 | 55");
  Check("S eb 20 ^ p12 | 55");
  Check("S ff e0 ^ p12 | 55");
  Check("S ff 25 00 01 00 00 ^ p12 | 55");
  Check("S p12 | 55");
  Check("S 48 89 c3 p12 | 55");        // c3, but of a MOV
  Check("S e8 00 01 00 00 p12 | 55");  // CALL
  Check("S 74 40 p12 | 55");           // conditional
  Check("S ff d0 p12 | 55");           // CALL
  Check("S c3 50 p12 | 55");
}

TEST_CASE("what a signal's handler can step over is no end of control flow") {
  Check("S 0f 0b p12 | 55");
  Check("S f4 p12 | 55");
  Check("S cc p12 | 55");
}

TEST_CASE("a far jump has to fit in front of the next multiple of 16") {
  Check("S c3 p6 | 55");
  Check("S c3 ^ p7 | 55");
  Check("S c3 p6 | p11 55");
  Check("S c3 ^ p7 | p11 55");
}

TEST_CASE("a short padding is passed over") { Check("S c3 p3 | x5 c3 ^ p10 | 55"); }

TEST_CASE("NOPs that begin on a multiple of 16 may be a function's own") {
  Check("S c3 | p15 55");
  Check("S c3 | p8 p8 | 55");
}

TEST_CASE("padding is made of an assembler's fillers and nothing else") {
  Check("S c3 ^ 66 66 66 66 66 2e 0f 1f 84 00 00 00 00 00 | 55");  // LLVM
  Check("S c3 ^ 66 66 66 66 66 66 2e 0f 1f 84 00 00 00 00 00 | 55");
  Check("S c3 ^ p11 p4 | 55");
  Check("S c3 ^ p6 p2 | 55");
  Check("S c3 66 66 90 p5 | 55");
  Check("S c3 ^ 0f 1f 40 00 66 90 90 | 55");
  Check("S c3 0f 1f 84 00 01 00 00 00 | 55");
  Check("S c3 66 0f 1f 84 00 00 02 00 00 | 55");  // XRay
  Check("S c3 0f 1f 41 00 66 90 90 | 55");
  Check("S c3 2e 90 2e 90 2e 90 2e 90 | 55");
  Check("S c3 66 0f 1f 80 00 00 00 00 | 55");
  Check("S c3 00 00 00 00 00 00 00 00 | 55");
}

TEST_CASE("INT3 fills what a linker leaves") {
  Check("S c3 ^ cc cc cc cc cc cc cc | 55");
  Check("S c3 cc cc cc cc cc cc cc p2 | 55");
  Check("S c3 p2 cc cc cc cc cc cc cc | 55");
}

TEST_CASE("single-byte NOPs are what -fpatchable-function-entry leaves") {
  Check("S c3 90 90 90 90 90 90 90 90 | 55");
}

TEST_CASE("padding ends exactly on a multiple of 16") {
  Check("S c3 p8 55 | 55");
  Check("S c3 p5 | 90");
  Check("S c3 0f 1f 40 00 0f 1f 84 00 00 | 00 00 00 55");
}

TEST_CASE("padding that is not all there is none") {
  const Text text("S c3 ^ p12 | 55");
  const absl::Span<const uint8_t> bytes(text.bytes);
  CHECK(FindPadding(bytes.first(15), text.address) == 3);
  CHECK_FALSE(FindPadding(bytes.first(14), text.address).has_value());
}

TEST_CASE("a short jump reaches 127 bytes") {
  Check("S x126 c3 ^ p8 | 55");
  Check("S x127 c3 p8 | 55");
  Check("x40 c3 ^ p8 | x118 S x20");
  Check("x40 c3 p8 | x119 S x20");
}

TEST_CASE("the nearest padding behind the SYSCALL comes first, then the nearest before it") {
  Check("x40 c3 p8 | x5 S c3 ^ p8 | 55");
  Check("x40 c3 p8 | x7 c3 ^ p8 | x8 S x20");
}

TEST_CASE("padding that something jumps to or refers to is in use") {
  Check("S 74 01 c3 p12 | 55");  // onto it
  Check("S 74 0c c3 p12 | 55");  // its last byte
  Check("S 74 fe c3 ^ p12 | 55");
  Check("S e2 01 c3 p12 | 55");  // LOOP
  Check("S eb 00 p12 | 55");
  Check("S 0f 84 01 00 00 00 c3 p12 | 55");
  Check("S e8 01 00 00 00 c3 p12 | 55");
  Check("S e9 00 00 00 00 p12 | 55");
  Check("S 48 8d 05 01 00 00 00 c3 p12 | 55");  // LEA
  Check("S c3 p12 | 75 f2");                    // from behind
  Check("S c3 p12 | e9 ef ff ff ff");
  Check("74 03 S c3 p12 | 55");  // from before
  Check("0f 85 03 00 00 00 S c3 p12 | 55");
}

TEST_CASE("padding before a SYSCALL that something jumps to is in use") {
  Check("x20 c3 ^ p12 | b8 06 01 00 00 S x20");
  Check("x20 c3 p12 | b8 06 01 00 00 S 75 eb x20");
  Check("x18 74 01 c3 p12 | b8 06 01 00 00 S x20");
}

TEST_CASE("padding inside of a function is none if there is a jump table") {
  Check("S 77 0d c3 ^ p12 | 55");
  Check("S 77 0d c3 p12 | ff e0");
  Check("S 77 0d c3 p12 | ff 24 c5 00 01 00 00");
  Check("ff e0 S 0f 87 0d 00 00 00 c3 p12 | 55");
  Check("ff e0 S eb 0c p12 | 55");
  Check("S c3 p12 | 90 75 fd e9 f8 ff ff ff ff e2");
  Check("ff e0 S c3 ^ p12 | 55");
  // One as far away as another function's, as before read() in a static program.
  Check("S 77 0d c3 p12 | x500 ff e0");
  Check("S 77 0d c3 ^ p12 | x520 ff e0");
  Check("ff e0 x500 S 77 0d c3 p12 | 55");
  Check("ff e0 x520 S 77 0d c3 ^ p12 | 55");
}

TEST_CASE("what is not understood on the way ends the search") {
  Check("S c7 f8 00 01 00 00 c3 p12 | 55");  // XBEGIN
  Check("S 06 c3 p12 | 55");
  Check("S c3 06 c3 p12 | 55");
}

TEST_CASE("padding before a SYSCALL is found where 15 decodings agree") {
  Check("x20 c3 ^ p12 | b8 06 01 00 00 S x20");
  // The last byte of a MOV in front of an aligned loop looks like a RET.
  Check("x20 48 89 c3 p12 | b8 06 01 00 00 S x20");
  // The right decoding may be one of those that are not there.
  Check("x13 c3 p12 | b8 06 01 00 00 S x20");
  Check("x14 c3 ^ p12 | b8 06 01 00 00 S x20");
  // Nor is it known to be one of those that are understood.
  Check("06 06 x12 06 06 c3 p12 | b8 06 01 00 00 S x20");
  std::string moves;  // MOV $6, %al, of which the second byte is no instruction
  for (int i = 0; i < 20; ++i) moves += "b0 06 ";
  Check(moves + "c3 p12 | 50 S x20");
}

TEST_CASE("a rewritten SYSCALL is no end of control flow, its far jump is one") {
  Check("S eb 80 ^ p12 | 55");
  Check("S eb 7f ^ p12 | 55");
  Check("S eb 0a p8 | x2 ff 24 25 00 10 00 00 x20");
  Check("S eb 0a ^ p8 | x2 ff 24 05 00 10 00 00 x20");
  Check("x20 eb 20 p8 | S x22 ff 24 25 00 10 00 00 x20");
  Check("S 75 0f c3 ff 24 25 00 10 00 00 ^ cc cc cc cc cc cc cc | 90 ff d0");
}

TEST_CASE("random text is searched in bounds") {
  std::mt19937 random(3);
  size_t found = 0;
  for (int i = 0; i < 100'000; ++i) {
    Bytes bytes(2 + random() % 200);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    const size_t end = random() % (bytes.size() - 1);
    bytes[end] = 0xc3;
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(end) + 1,
                std::min<size_t>(bytes.size() - end - 1, random() % 17), uint8_t{0xcc});
    const size_t call = random() % (bytes.size() - 1);
    bytes[call] = 0x0f;
    bytes[call + 1] = 0x05;
    // An allocation for each part, so that a sanitizer sees their bounds.
    const auto middle = bytes.begin() + static_cast<ptrdiff_t>(call);
    const Bytes before(bytes.begin(), middle);
    const Bytes code(middle, bytes.end());
    const auto at = FindPadding(code, random() % 64, before);
    if (!at.has_value()) continue;
    ++found;
    const ptrdiff_t start = static_cast<ptrdiff_t>(call) + *at;
    const bool in_bounds = start >= 0 && static_cast<size_t>(start) + kFarJumpBytes <= bytes.size();
    const bool in_reach = *at - 2 >= INT8_MIN && *at - 2 <= INT8_MAX;
    if (!in_bounds || !in_reach) FAIL("at " << *at);
  }
  CHECK(found > 100);
}

// The C library's code, and where its exported functions are, which the unit does not know.
class Library {
 public:
  bool Load(const char* path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    Elf64_Ehdr header;
    if (!Read(0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return false;
    for (size_t i = 0; i < header.e_shnum; ++i) {
      Elf64_Shdr section;
      if (!Read(header.e_shoff + i * sizeof(section), &section)) return false;
      if (section.sh_offset + section.sh_size > bytes_.size()) continue;
      if (section.sh_type == SHT_PROGBITS && (section.sh_flags & SHF_EXECINSTR) != 0 &&
          section.sh_size > text.size()) {
        text = absl::Span<const uint8_t>(bytes_).subspan(section.sh_offset, section.sh_size);
        address = section.sh_addr;
      }
      for (size_t at = 0; section.sh_type == SHT_DYNSYM && at < section.sh_size;) {
        Elf64_Sym symbol;
        if (!Read(section.sh_offset + at, &symbol)) return false;
        if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC) functions.push_back(symbol);
        at += sizeof(symbol);
      }
    }
    return !text.empty();
  }

  // The exported function that has `at`, or nullptr.
  const Elf64_Sym* FunctionAt(uint64_t at) const {
    for (const Elf64_Sym& symbol : functions) {
      if (symbol.st_value <= at && at < symbol.st_value + symbol.st_size) return &symbol;
    }
    return nullptr;
  }

  absl::Span<const uint8_t> text;
  uint64_t address = 0;
  std::vector<Elf64_Sym> functions;

 private:
  template <typename T>
  bool Read(size_t at, T* out) const {
    if (at > bytes_.size() || bytes_.size() - at < sizeof(T)) return false;
    std::memcpy(out, bytes_.data() + at, sizeof(T));
    return true;
  }
  Bytes bytes_;
};

// Goes through a function from its start: whether control flow ends at `start`, and nothing but
// whole instructions of padding comes up to `end`.
bool IsPaddingInFunction(const Library& library, const Elf64_Sym& function, uint64_t start,
                         uint64_t end) {
  bool ended = false;
  uint64_t at = function.st_value;
  for (; at < start;) {
    const auto instruction = DecodeInstruction(library.text.subspan(at - library.address));
    if (!instruction.has_value()) return false;
    at += instruction->length;
    ended = instruction->ends_flow;
  }
  if (at != start || !ended) return false;
  while (at < end) {
    const absl::Span<const uint8_t> code = library.text.subspan(at - library.address);
    const auto instruction = DecodeInstruction(code);
    const bool is_nop = std::find(code.begin(), code.begin() + 8, 0x1f) != code.begin() + 8 ||
                        code[instruction->length - 1] == 0x90;
    if (!instruction.has_value() || !is_nop) return false;
    at += instruction->length;
  }
  return at == end;
}

TEST_CASE("paddings of the C library are in no function's way") {
  Library library;
  if (!library.Load("/lib/x86_64-linux-gnu/libc.so.6")) {
    WARN("no C library to look at");
    return;
  }
  constexpr size_t kPage = 4096;
  size_t calls = 0;
  size_t found = 0;
  for (size_t call = 0; call + 1 < library.text.size(); ++call) {
    if (library.text[call] != 0x0f || library.text[call + 1] != 0x05) continue;
    const uint64_t address = library.address + call;
    const size_t below = std::min<size_t>(call, address % kPage);
    const size_t above = std::min(library.text.size() - call, kPage - address % kPage);
    const auto at = FindPadding(library.text.subspan(call, above), address,
                                library.text.subspan(call - below, below));
    ++calls;
    if (!at.has_value()) continue;
    ++found;
    const uint64_t start = address + static_cast<uint64_t>(*at);
    const uint64_t end = (start + 15) & ~uint64_t{15};
    CAPTURE(address, start);
    const Elf64_Sym* const function = library.FunctionAt(start);
    CHECK((function == nullptr || IsPaddingInFunction(library, *function, start, end)));
    const bool is_entry = std::any_of(
        library.functions.begin(), library.functions.end(),
        [&](const Elf64_Sym& symbol) { return start <= symbol.st_value && symbol.st_value < end; });
    CHECK_FALSE(is_entry);
  }
  CAPTURE(calls, found);
  CHECK(found > calls / 2);
}

}  // namespace
}  // namespace ringfence::sentry
