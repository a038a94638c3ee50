// Rules of a system call filter, as data that a person can review: what is allowed, and why.
//
// A call that no rule names ends the process. A call with rules is allowed if the conditions of one
// of them hold; a condition looks at one argument as a whole 64-bit number (seccomp(2) sees
// registers, never what they point to).
#ifndef RINGFENCE_PLATFORM_SECCOMP_RULE_H_
#define RINGFENCE_PLATFORM_SECCOMP_RULE_H_

#include <array>
#include <cstdint>
#include <initializer_list>

namespace ringfence::seccomp {

// (argument & mask) == value.
struct Condition {
  unsigned argument = 0;  // 0 to 5
  uint64_t mask = 0;      // 0: no condition
  uint64_t value = 0;
};

// The argument is `value`.
constexpr Condition Is(unsigned argument, uint64_t value) {
  return {argument, ~uint64_t{0}, value};
}
// Of the bits of `mask` exactly those of `value` are set.
constexpr Condition Bits(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, mask, value};
}
// None of `bits` is set.
constexpr Condition Without(unsigned argument, uint64_t bits) { return {argument, bits, 0}; }

inline constexpr size_t kMaxConditions = 3;

struct Rule {
  int call;  // SYS_*
  std::array<Condition, kMaxConditions> conditions = {};
  int error = 0;  // 0: the call is made; else it fails with this errno
  const char* reason;
};

constexpr Rule Allow(int call, const char* reason) { return {.call = call, .reason = reason}; }
constexpr Rule AllowIf(int call, Condition condition, const char* reason) {
  return {.call = call, .conditions = {condition}, .reason = reason};
}
constexpr Rule AllowIf(int call, Condition a, Condition b, const char* reason) {
  return {.call = call, .conditions = {a, b}, .reason = reason};
}
constexpr Rule Refuse(int call, int error, const char* reason) {
  return {.call = call, .error = error, .reason = reason};
}

}  // namespace ringfence::seccomp

#endif  // RINGFENCE_PLATFORM_SECCOMP_RULE_H_
