// Lengths of x86-64 instructions, for whoever has to find the next one.
//
// What is not understood (XOP, far jumps and returns, transactions, whatever CPUs of different
// makers decode differently) is refused, never guessed. Source: Intel SDM vol. 2, chapter 2 and
// appendix A. Pure; any thread.
#ifndef RINGFENCE_SENTRY_MM_ARCH_X86_64_INSTRUCTION_H_
#define RINGFENCE_SENTRY_MM_ARCH_X86_64_INSTRUCTION_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace ringfence::sentry {

inline constexpr size_t kMaxInstructionBytes = 15;

struct Instruction {
  size_t length = 0;       // bytes, at most kMaxInstructionBytes
  bool ends_flow = false;  // the next instruction is never executed by way of this one
};

// The instruction at the start of `code`; nullopt when it is not understood or not all there.
std::optional<Instruction> DecodeInstruction(absl::Span<const uint8_t> code);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_ARCH_X86_64_INSTRUCTION_H_
