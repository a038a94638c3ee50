// The bytes of a call site: how a SYSCALL instruction of x86-64 becomes a jump (SDM vol. 2:
// SYSCALL, JMP rel8, JMP r/m64). Architecture-neutral code includes this as
// "sentry/mm/arch/call_site_code.h".
//
// SYSCALL (0f 05) is two bytes, too short for a jump to far away. There are two ways:
// - `mov eax, imm32` and SYSCALL together are as long as `jmp *[disp32]`. The platform's stub loads
//   the number. The last two bytes of the jump, where the SYSCALL was, are `int 0x80`: who goes
//   there by another way, or starts an interrupted call again, raises an exception that the sentry
//   takes for the call (IsCallTail). The platform's slots are where they are for that reason.
// - Otherwise it becomes a short jump into padding beside its function, and the padding the long
// one. The code behind the site, where calls return, stays as it is.
#ifndef RINGFENCE_SENTRY_MM_ARCH_X86_64_CALL_SITE_CODE_H_
#define RINGFENCE_SENTRY_MM_ARCH_X86_64_CALL_SITE_CODE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "platform/base/addr.h"
#include "sentry/mm/arch/x86_64/call_padding.h"

namespace ringfence::sentry {

// The bytes of a page of text.
using TextPage = std::array<uint8_t, kPageSize>;

inline constexpr size_t kCallBytes = 2;

struct CallSite {
  uint16_t call;  // offset of the instruction in its page
  uint16_t
      jump;  // and of the far jump: the load of eax before it, or padding up to a multiple of 16
  std::array<uint8_t, 15> old;     // what was at `jump`
  std::optional<uint32_t> number;  // what the load loads

  size_t jump_bytes() const { return number.has_value() ? kFarJumpBytes : 16 - jump % 16; }
};

// How the SYSCALL at offset `call` of `page` can be rewritten; nullopt: it is not one, or neither
// way is sure.
std::optional<CallSite> FindCallSite(const TextPage& page, size_t call);

// `slot` as from AddressSpace::AddCallSite.
void Rewrite(const CallSite& site, uint32_t slot, TextPage* page);
bool IsRewritten(const CallSite& site, const TextPage& page);
void Restore(const CallSite& site, TextPage* page);

// May the bytes at `call` be taken for an instruction although only some process has run them? Its
// other processes must not suffer when one jumps into the middle of an instruction: true where the
// code before shows that it is one, or where a clear of eax and a comparison of rax are around it.
bool IsSurelyCall(const TextPage& page, size_t call);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_ARCH_X86_64_CALL_SITE_CODE_H_
