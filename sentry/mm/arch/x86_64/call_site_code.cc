#include "sentry/mm/arch/call_site_code.h"

#include <algorithm>
#include <cstring>

#include "absl/types/span.h"

namespace ringfence::sentry {
namespace {

constexpr std::array<uint8_t, kCallBytes> kSyscall = {0x0f, 0x05};
constexpr uint8_t kLoadEax = 0xb8;  // and imm32
constexpr size_t kLoadBytes = 5;
constexpr uint8_t kShortJump = 0xeb;
constexpr uint8_t kFiller = 0xcc;
constexpr std::array<uint8_t, 3> kFarJump = {0xff, 0x24, 0x25};  // jmp *[disp32]
static_assert(kFarJump.size() + sizeof(uint32_t) == kFarJumpBytes);
static_assert(kLoadBytes + kCallBytes == kFarJumpBytes);

// No call of Linux has a number as large.
constexpr uint32_t kNumbers = 1024;

template <size_t N>
bool Has(const TextPage& page, size_t at, const std::array<uint8_t, N>& bytes) {
  return at + N <= page.size() &&
         std::equal(bytes.begin(), bytes.end(), page.begin() + static_cast<ptrdiff_t>(at));
}

// The number that a `mov eax, imm32` right before `call` loads.
std::optional<uint32_t> LoadedNumber(const TextPage& page, size_t call) {
  if (call < kLoadBytes || page[call - kLoadBytes] != kLoadEax) return std::nullopt;
  uint32_t number;
  std::memcpy(&number, page.data() + call - sizeof(number), sizeof(number));
  const absl::Span<const uint8_t> text(page);
  // Not the end of another instruction, and not `mov r8d, imm32`.
  if (number >= kNumbers || !IsInstructionStart(text, call - kLoadBytes)) return std::nullopt;
  return number;
}

CallSite MakeSite(const TextPage& page, size_t call, size_t jump, std::optional<uint32_t> number) {
  CallSite site{static_cast<uint16_t>(call), static_cast<uint16_t>(jump), {}, number};
  std::copy_n(page.begin() + static_cast<ptrdiff_t>(jump), site.jump_bytes(), site.old.begin());
  return site;
}

uint8_t ShortDistance(const CallSite& site) {
  return static_cast<uint8_t>(site.jump - site.call - kCallBytes);
}

}  // namespace

std::optional<CallSite> FindCallSite(const TextPage& page, size_t call) {
  // Unwinders tell a signal frame by the bytes of the return from it.
  constexpr std::array<uint8_t, 7> kLoadSigReturn = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0};
  if (!Has(page, call, kSyscall)) return std::nullopt;
  if (call >= kLoadSigReturn.size() && Has(page, call - kLoadSigReturn.size(), kLoadSigReturn)) {
    return std::nullopt;
  }
  if (const std::optional<uint32_t> number = LoadedNumber(page, call)) {
    return MakeSite(page, call, call - kLoadBytes, number);
  }
  const absl::Span<const uint8_t> code(page.data() + call, page.size() - call);
  const absl::Span<const uint8_t> before(page.data(), call);
  const std::optional<ptrdiff_t> padding = FindPadding(code, call, before);
  if (!padding.has_value()) return std::nullopt;
  return MakeSite(page, call, call + static_cast<size_t>(*padding), std::nullopt);
}

void Rewrite(const CallSite& site, uint32_t slot, TextPage* page) {
  uint8_t* const jump = page->data() + site.jump;
  // The rest of a padding stays one that another site may find.
  std::fill_n(jump, site.jump_bytes(), kFiller);
  std::copy(kFarJump.begin(), kFarJump.end(), jump);
  std::memcpy(jump + kFarJump.size(), &slot, sizeof(slot));
  if (site.number.has_value()) return;
  (*page)[site.call] = kShortJump;
  (*page)[site.call + 1] = ShortDistance(site);
}

bool IsRewritten(const CallSite& site, const TextPage& page) {
  if (!Has(page, site.jump, kFarJump)) return false;
  if (site.number.has_value()) return true;
  return page[site.call] == kShortJump && page[site.call + 1] == ShortDistance(site);
}

void Restore(const CallSite& site, TextPage* page) {
  std::copy_n(site.old.begin(), site.jump_bytes(), page->begin() + site.jump);
  std::copy(kSyscall.begin(), kSyscall.end(), page->begin() + site.call);
}

bool IsSurelyCall(const TextPage& page, size_t call) {
  constexpr std::array<uint8_t, 2> kClearEax = {0x31, 0xc0};    // xor eax, eax
  constexpr std::array<uint8_t, 2> kCompareRax = {0x48, 0x3d};  // cmp rax, imm32
  if (IsInstructionStart(absl::Span<const uint8_t>(page), call)) return true;
  return call >= kClearEax.size() && Has(page, call - kClearEax.size(), kClearEax) &&
         Has(page, call + kCallBytes, kCompareRax);
}

}  // namespace ringfence::sentry
