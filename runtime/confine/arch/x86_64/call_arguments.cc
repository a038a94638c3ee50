#include "runtime/confine/call_arguments.h"

#include <ucontext.h>

namespace ringfence::runtime {

std::array<uint64_t, 6> CallArguments(const void* context) {
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  std::array<uint64_t, 6> arguments;
  size_t n = 0;
  for (const int reg : {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9}) {
    arguments[n++] = static_cast<uint64_t>(registers[reg]);
  }
  return arguments;
}

}  // namespace ringfence::runtime
