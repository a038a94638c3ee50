// The arguments of a system call that a filter stopped.
#ifndef RINGFENCE_RUNTIME_CONFINE_CALL_ARGUMENTS_H_
#define RINGFENCE_RUNTIME_CONFINE_CALL_ARGUMENTS_H_

#include <array>
#include <cstdint>

namespace ringfence::runtime {

// `context`: what a handler of SIGSYS gets (sigaction(2), ucontext_t).
std::array<uint64_t, 6> CallArguments(const void* context);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CONFINE_CALL_ARGUMENTS_H_
