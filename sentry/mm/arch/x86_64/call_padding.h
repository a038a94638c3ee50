// Room for a far jump near a SYSCALL instruction: alignment padding between functions.
//
// A SYSCALL (2 bytes) can become a short jump (2 bytes) to a far one, if the far one has a place
// that no instruction of the program reaches and none reads. The unit finds such a place or says
// that there is none; every doubt is a no. Pure; any thread.
#ifndef RINGFENCE_SENTRY_MM_ARCH_X86_64_CALL_PADDING_H_
#define RINGFENCE_SENTRY_MM_ARCH_X86_64_CALL_PADDING_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace ringfence::sentry {

inline constexpr size_t kFarJumpBytes = 7;  // ff 24 25 disp32: jmp *[disp32]

// `code` begins with a SYSCALL and goes on with what follows it, `before` is what precedes it, both
// in memory around `address`: the rest of the page, at least. The more is given, the more paddings
// are found, and the more jumps into one are seen.
//
// Returns where kFarJumpBytes bytes of padding begin, from `code`'s start (negative: in `before`),
// to be reached by a short jump in the place of the SYSCALL (rel8 = offset - 2); nullopt when there
// are none, or when something on the way is not understood. The bytes from there to the next
// multiple of 16 are padding, too. SYSCALLs that have been rewritten this way are recognised, and
// what they left of their padding is found by another one if it is 7 bytes or more, filled with
// int3 (cc).
std::optional<ptrdiff_t> FindPadding(absl::Span<const uint8_t> code, uint64_t address,
                                     absl::Span<const uint8_t> before = {});

// Whether an instruction surely begins at `at`, as far as the bytes before tell, whatever is code
// there and what is data.
bool IsInstructionStart(absl::Span<const uint8_t> text, size_t at);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_ARCH_X86_64_CALL_PADDING_H_
