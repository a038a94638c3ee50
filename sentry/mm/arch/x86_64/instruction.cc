#include "sentry/mm/arch/x86_64/instruction.h"

#include <algorithm>

namespace ringfence::sentry {
namespace {

// What follows an opcode, by its high (row) and low (column) digit:
//   .  not understood       n  nothing              m  ModRM
//   b  8-bit immediate      z  16 or 32 bits        v  16, 32 or 64 bits
//   B  ModRM and b          Z  ModRM and z          w  always 16 bits
//   g  ModRM, b if it is a TEST (group 3)           G  the same with z
//   j  8-bit displacement   J  32-bit displacement  (of a jump or call)
//   e  ENTER's 24 bits      o  an address
// Prefixes and escapes never get here.
constexpr const char* kOneByteMap[16] = {
    "mmmmbz..mmmmbz..",  // 0
    "mmmmbz..mmmmbz..",  // 1
    "mmmmbz..mmmmbz..",  // 2
    "mmmmbz..mmmmbz..",  // 3
    "................",  // 4
    "nnnnnnnnnnnnnnnn",  // 5
    "...m....zZbBnnnn",  // 6
    "jjjjjjjjjjjjjjjj",  // 7
    "BZ.Bmmmmmmmmmmm.",  // 8
    "nnnnnnnnnn.nnnnn",  // 9
    "oooonnnnbznnnnnn",  // a
    "bbbbbbbbvvvvvvvv",  // b
    "BBwn..BZen..nb..",  // c
    "mmmm...nmmmmmmmm",  // d
    "jjjjbbbbJJ.jnnnn",  // e
    "....nngGnnnnnnmm",  // f
};
constexpr const char* kTwoByteMap[16] = {
    "mmmm.n...n.n.m..",  // 0
    "mmmmmmmmmmmmmmmm",  // 1
    "........mmmmmmmm",  // 2
    "nnnn............",  // 3
    "mmmmmmmmmmmmmmmm",  // 4
    "mmmmmmmmmmmmmmmm",  // 5
    "mmmmmmmmmmmmmmmm",  // 6
    "BBBBmmmn....mmmm",  // 7
    "JJJJJJJJJJJJJJJJ",  // 8
    "mmmmmmmmmmmmmmmm",  // 9
    "nnnmBm..nn.mBmmm",  // a
    "mmmmmmmm.mBmmmmm",  // b
    "mmBmBBBmnnnnnnnn",  // c
    "mmmmmmmmmmmmmmmm",  // d
    "mmmmmmmmmmmmmmmm",  // e
    "mmmmmmmmmmmmmmm.",  // f
};

struct Prefixes {
  size_t length = 0;
  bool operand_size = false;
  bool address_size = false;
  bool wide = false;        // REX.W
  bool vex_allowed = true;  // REX and the prefixes that VEX encodes itself must not come before it
};

Prefixes DecodePrefixes(absl::Span<const uint8_t> code) {
  Prefixes found;
  for (; found.length < code.size(); ++found.length) {
    const uint8_t byte = code[found.length];
    switch (byte) {
      case 0x66:
        found.operand_size = true;
        found.vex_allowed = false;
        break;
      case 0x67:
        found.address_size = true;
        break;
      case 0xf0:
      case 0xf2:
      case 0xf3:
        found.vex_allowed = false;
        break;
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0x64:
      case 0x65:  // segments
        break;
      default:
        // REX counts only directly before the opcode. A prefix after it is refused: the maps have
        // no entry for prefixes.
        if ((byte & 0xf0) == 0x40) {
          found.wide = (byte & 8) != 0;
          found.vex_allowed = false;
          ++found.length;
        }
        return found;
    }
  }
  return found;
}

enum class Map { kOneByte, kTwoByte, k0f38, k0f3a };

// Where the opcode is, and in which map.
struct Opcode {
  size_t at = 0;
  Map map = Map::kOneByte;
};

std::optional<Opcode> FindOpcode(absl::Span<const uint8_t> code, const Prefixes& prefixes) {
  const size_t at = prefixes.length;
  const auto byte = [&](size_t i) { return at + i < code.size() ? code[at + i] : 0; };
  switch (byte(0)) {
    case 0x0f:
      if (byte(1) == 0x38) return Opcode{at + 2, Map::k0f38};
      if (byte(1) == 0x3a) return Opcode{at + 2, Map::k0f3a};
      return Opcode{at + 1, Map::kTwoByte};
    case 0xc5:
      if (!prefixes.vex_allowed) return std::nullopt;
      return Opcode{at + 2, Map::kTwoByte};
    case 0xc4:
    case 0x62: {
      // VEX with three bytes and EVEX say the map in the second byte, in the numbers of the enum.
      const bool is_evex = byte(0) == 0x62;
      const uint8_t map = byte(1) & (is_evex ? 0x0f : 0x1f);
      if (!prefixes.vex_allowed || map < 1 || map > 3) return std::nullopt;
      return Opcode{at + (is_evex ? 4 : 3), static_cast<Map>(map)};
    }
    default:
      return Opcode{at, Map::kOneByte};
  }
}

char KindOf(Map map, uint8_t opcode) {
  switch (map) {
    case Map::kOneByte:
      return kOneByteMap[opcode >> 4][opcode & 15];
    case Map::kTwoByte:
      return kTwoByteMap[opcode >> 4][opcode & 15];
    case Map::k0f38:
      return 'm';
    case Map::k0f3a:
      return 'B';
  }
  return '.';
}

// ModRM, SIB and displacement; 0 when they are not all there.
size_t ModRmBytes(absl::Span<const uint8_t> code) {
  if (code.empty()) return 0;
  const uint8_t mod = code[0] >> 6;
  const uint8_t rm = code[0] & 7;
  if (mod == 3) return 1;
  size_t length = 1;
  uint8_t base = rm;
  if (rm == 4) {
    if (code.size() < 2) return 0;
    base = code[1] & 7;
    ++length;
  }
  if (mod == 1) return length + 1;
  // Without mod, base 5 means a displacement alone (after a ModRM: from RIP).
  return mod == 2 || base == 5 ? length + 4 : length;
}

size_t ImmediateBytes(char kind, const Prefixes& prefixes, bool is_test) {
  const size_t word = prefixes.operand_size && !prefixes.wide ? 2 : 4;
  switch (kind) {
    case 'b':
    case 'B':
    case 'j':
      return 1;
    case 'w':
      return 2;
    case 'z':
    case 'Z':
      return word;
    case 'J':
      return 4;
    case 'e':
      return 3;
    case 'o':
      return prefixes.address_size ? 4 : 8;
    case 'v':
      return prefixes.wide ? 8 : word;
    case 'g':
      return is_test ? 1 : 0;
    case 'G':
      return is_test ? word : 0;
    default:
      return 0;
  }
}

bool HasModRm(char kind) {
  return kind == 'm' || kind == 'B' || kind == 'Z' || kind == 'g' || kind == 'G';
}

// UD2 and HLT are no ends: a handler of their signal may step over them.
bool EndsFlow(uint8_t opcode, uint8_t reg) {
  switch (opcode) {
    case 0xc2:
    case 0xc3:  // RET
    case 0xe9:
    case 0xeb:  // JMP
      return true;
    case 0xff:
      return reg == 4;  // JMP through a register or memory
    default:
      return false;
  }
}

}  // namespace

std::optional<Instruction> DecodeInstruction(absl::Span<const uint8_t> code) {
  code = code.first(std::min(code.size(), kMaxInstructionBytes));
  const Prefixes prefixes = DecodePrefixes(code);
  const std::optional<Opcode> found = FindOpcode(code, prefixes);
  if (!found.has_value() || found->at >= code.size()) return std::nullopt;
  const uint8_t opcode = code[found->at];
  const char kind = KindOf(found->map, opcode);
  if (kind == '.') return std::nullopt;
  size_t at = found->at + 1;

  uint8_t reg = 0;
  if (HasModRm(kind)) {
    const size_t bytes = ModRmBytes(code.subspan(at));
    if (bytes == 0) return std::nullopt;
    reg = code[at] >> 3 & 7;
    at += bytes;
  }
  // XABORT and XBEGIN share the opcodes of MOV.
  const bool one_byte = found->map == Map::kOneByte;
  if (one_byte && (opcode == 0xc6 || opcode == 0xc7) && reg != 0) return std::nullopt;
  at += ImmediateBytes(kind, prefixes, reg < 2);
  if (at > code.size()) return std::nullopt;

  const bool ends = one_byte && EndsFlow(opcode, reg);
  // Intel ignores a 16-bit operand size here, AMD cuts displacement and RIP.
  const bool branches = kind == 'j' || kind == 'J' || ends;
  if (branches && prefixes.operand_size && !prefixes.wide) return std::nullopt;
  return Instruction{.length = at, .ends_flow = ends};
}

}  // namespace ringfence::sentry
