#include "sentry/mm/arch/x86_64/call_padding.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <vector>

#include "sentry/mm/arch/x86_64/instruction.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kCallBytes = 2;     // SYSCALL, and the short jump
constexpr size_t kProofBytes = 128;  // looked at to prove where an instruction begins
constexpr size_t kAlignment = 16;    // of functions, in every compiler's defaults
constexpr uint8_t kNop = 0x90;
constexpr uint8_t kInt3 = 0xcc;
constexpr uint8_t kShortJump = 0xeb;
constexpr uint8_t kFarJump[] = {0xff, 0x24, 0x25};

// The fillers of GNU as, ld and LLVM, without what they put in front to lengthen them.
struct Filler {
  uint8_t length;
  uint8_t max_operand_size_prefixes;
  bool cs_prefix;  // may have one, as the last prefix
  uint8_t bytes[8];
};
constexpr Filler kFillers[] = {
    {1, 1, false, {kNop}},
    {3, 0, false, {0x0f, 0x1f, 0x00}},
    {4, 0, false, {0x0f, 0x1f, 0x40, 0}},
    {5, 1, false, {0x0f, 0x1f, 0x44, 0, 0}},
    {7, 0, false, {0x0f, 0x1f, 0x80, 0, 0, 0, 0}},
    {8, 6, true, {0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}},
};

// Length of the filler instruction that `code` begins with, or 0. Nothing but the exact encodings:
// a NOP with another displacement is somebody's mark (XRay's sleds have 0x200).
size_t FillerBytes(absl::Span<const uint8_t> code) {
  size_t prefixes = 0;
  while (prefixes < code.size() && code[prefixes] == 0x66) ++prefixes;
  const bool cs = prefixes < code.size() && code[prefixes] == 0x2e;
  const size_t opcode = prefixes + (cs ? 1 : 0);
  for (const Filler& filler : kFillers) {
    if (prefixes > filler.max_operand_size_prefixes || (cs && !filler.cs_prefix)) continue;
    const absl::Span<const uint8_t> rest = code.subspan(opcode);
    if (rest.size() >= filler.length &&
        std::equal(filler.bytes, filler.bytes + filler.length, rest.begin()))
      return opcode + filler.length;
  }
  return 0;
}

// Length of the padding that `code` begins with, up to the next multiple of 16; 0 if there is none.
//
// Fillers that begin on such a multiple are not it: a function may start there with NOPs to be
// patched (-fpatchable-function-entry). Where functions are not aligned (-Os) such NOPs can be
// anywhere; GCC writes them as single 90 bytes, which alignment never needs 7 of.
size_t PaddingBytes(absl::Span<const uint8_t> code, uint64_t address) {
  const size_t length = -address % kAlignment;
  if (length > code.size()) return 0;
  code = code.first(length);
  const auto all = [&](uint8_t byte) {
    return std::all_of(code.begin(), code.end(), [=](uint8_t b) { return b == byte; });
  };
  if (all(kInt3)) return length;  // lld's, between sections
  if (all(kNop)) return 0;
  for (size_t at = 0; at < length;) {
    const size_t filler = FillerBytes(code.subspan(at));
    if (filler == 0) return 0;
    at += filler;
  }
  return length;
}

// A jump through a table and a label of the table that is in front of an alignment are in one
// function, and so is a SYSCALL close to the latter. Most such functions are shorter.
constexpr int64_t kTableDistance = 512;

// What the bytes around a padding may do to it.
struct References {
  bool into = false;  // jump or refer into it
  bool jump_to_end = false;
  bool table_jump = false;  // near jump through a register or a table, to nobody knows where
};

// Looks at every byte of `bytes` as if an instruction began there, which costs a few paddings and
// misses nothing, whatever is code and what is data. `bytes` are the text's from `at` on, the
// padding is its [start, end).
void AddReferences(absl::Span<const uint8_t> bytes, int64_t at, int64_t start, int64_t end,
                   References& found) {
  const auto add = [&](int64_t target, bool is_jump) {
    found.into |= start <= target && target < end;
    found.jump_to_end |= is_jump && target == end;
  };
  for (size_t i = 1; i < bytes.size(); ++i) {
    const uint8_t opcode = bytes[i - 1];
    const uint8_t byte = bytes[i];
    const int64_t here = at + static_cast<int64_t>(i);
    const bool is_short = (opcode & 0xf0) == 0x70 || (opcode & 0xfc) == 0xe0 || opcode == 0xeb;
    if (is_short) add(here + 1 + static_cast<int8_t>(byte), true);
    // JMP reg, JMP [table + index]. Memory without an index holds a function's address.
    const bool is_far_jump = byte == 0x24 && i + 1 < bytes.size() && bytes[i + 1] == 0x25;
    const bool is_table = (byte & 0xf8) == 0xe0 || (byte == 0x24 && !is_far_jump);
    const bool is_near = here > start - kTableDistance && here < end + kTableDistance;
    found.table_jump |= opcode == 0xff && is_table && is_near;
    if (bytes.size() - i < sizeof(int32_t)) continue;
    const bool is_jump = opcode == 0xe9 || (opcode & 0xf0) == 0x80;
    const bool is_from_rip = opcode == 0xe8 || (opcode & 0xc7) == 0x05;  // CALL, ModRM of a load
    int32_t displacement;
    std::memcpy(&displacement, &bytes[i], sizeof(displacement));
    if (is_jump || is_from_rip) add(here + 4 + displacement, is_jump);
  }
}

// Whether the padding may be executed after all. A label in front of an alignment is rare but
// exists: an empty basic block before an aligned loop. If the label is jumped to, that shows. If it
// is in a jump table it does not; but then the padding is inside a function, where somebody jumps
// to its end (between functions nobody does, they are called), and the jump through the table is
// near.
bool MayBeReached(absl::Span<const uint8_t> text, size_t start, size_t length) {
  References found;
  const auto from = static_cast<int64_t>(start);
  const auto to = static_cast<int64_t>(start + length);
  AddReferences(text.first(start), 0, from, to, found);
  AddReferences(text.subspan(start + length), to, from, to, found);
  return found.into || (found.jump_to_end && found.table_jump);
}

bool IsFarJump(absl::Span<const uint8_t> text, size_t at) {
  return at + sizeof(kFarJump) <= text.size() &&
         std::equal(std::begin(kFarJump), std::end(kFarJump),
                    text.begin() + static_cast<ptrdiff_t>(at));
}

// Whether control flow ends with `instruction`, which comes directly before `end`.
bool EndsFlow(absl::Span<const uint8_t> text, size_t end, const Instruction& instruction) {
  if (!instruction.ends_flow) return false;
  // A far jump, and a short one to it, is a SYSCALL that has been rewritten: it returns.
  const size_t start = end - instruction.length;
  if (IsFarJump(text, start)) return false;
  if (text[start] != kShortJump) return true;
  const int64_t target = static_cast<int64_t>(end) + static_cast<int8_t>(text[end - 1]);
  return target < 0 || !IsFarJump(text, static_cast<size_t>(target));
}

// Whether one instruction surely ends and the next begins at `end`, and `accepts` the one that
// ends. Any 15 bytes of code contain the start of an instruction. If decoding from each of 15
// neighbours comes to the same end, so does decoding from the right one.
template <typename Accepts>
bool IsBoundary(absl::Span<const uint8_t> text, size_t end, Accepts accepts) {
  std::array<bool, kProofBytes + 1> leads = {};  // by the distance to the end
  size_t neighbours = 0;
  for (size_t back = 1; back <= std::min(kProofBytes, end); ++back) {
    const auto instruction = DecodeInstruction(text.subspan(end - back, back));
    if (instruction.has_value()) {
      const size_t rest = back - instruction->length;
      leads[back] = rest == 0 ? accepts(*instruction) : leads[rest];
    }
    neighbours = leads[back] ? neighbours + 1 : 0;
    if (neighbours == kMaxInstructionBytes) return true;
  }
  return false;
}

// Whether the padding before a function begins at `end`.
bool IsEndOfFlow(absl::Span<const uint8_t> text, size_t end) {
  return IsBoundary(
      text, end, [&](const Instruction& instruction) { return EndsFlow(text, end, instruction); });
}

bool IsUsable(absl::Span<const uint8_t> text, size_t at, size_t length) {
  return length >= kFarJumpBytes && !MayBeReached(text, at, length);
}

std::optional<size_t> FindBehind(absl::Span<const uint8_t> text, size_t call, uint64_t address) {
  const size_t furthest = call + kCallBytes + INT8_MAX;
  bool ended = false;
  for (size_t at = call + kCallBytes; at <= furthest;) {
    if (ended && IsUsable(text, at, PaddingBytes(text.subspan(at), address + at))) return at;
    const std::optional<Instruction> instruction = DecodeInstruction(text.subspan(at));
    if (!instruction.has_value()) return std::nullopt;
    // A far jump in a padding leaves the rest of it a padding.
    const bool in_padding = ended && IsFarJump(text, at);
    at += instruction->length;
    ended = in_padding || EndsFlow(text, at, *instruction);
  }
  return std::nullopt;
}

std::optional<size_t> FindBefore(absl::Span<const uint8_t> text, size_t call, uint64_t address) {
  const size_t furthest = std::min<size_t>(call, -INT8_MIN - kCallBytes);
  for (size_t back = kFarJumpBytes; back <= furthest; ++back) {
    const size_t at = call - back;
    const size_t length = PaddingBytes(text.subspan(at, back), address + at);
    if (IsUsable(text, at, length) && IsEndOfFlow(text, at)) return at;
  }
  return std::nullopt;
}

}  // namespace

bool IsInstructionStart(absl::Span<const uint8_t> text, size_t at) {
  return IsBoundary(text, at, [](const Instruction&) { return true; });
}

std::optional<ptrdiff_t> FindPadding(absl::Span<const uint8_t> code, uint64_t address,
                                     absl::Span<const uint8_t> before) {
  if (code.size() < kCallBytes || code[0] != 0x0f || code[1] != 0x05) return std::nullopt;
  std::vector<uint8_t> text(before.begin(), before.end());
  text.insert(text.end(), code.begin(), code.end());
  const size_t call = before.size();
  std::optional<size_t> found = FindBehind(text, call, address - call);
  if (!found.has_value()) found = FindBefore(text, call, address - call);
  if (!found.has_value()) return std::nullopt;
  return static_cast<ptrdiff_t>(*found - call);
}

}  // namespace ringfence::sentry
