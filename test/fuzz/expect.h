// What must hold, in a fuzz target: a message and abort(3), so that libFuzzer keeps the input.
#ifndef RINGFENCE_TEST_FUZZ_EXPECT_H_
#define RINGFENCE_TEST_FUZZ_EXPECT_H_

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "platform/base/errno.h"

namespace ringfence::fuzz {

inline void Expect(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: does not hold: %s\n", what.c_str());
  std::abort();
}

// An error that Linux has and a guest may see.
inline void ExpectGuestErrno(Errno e, std::string_view where) {
  const auto number = static_cast<int>(e);
  Expect(number > 0 && number < 512 && ErrnoName(e) != "EUNKNOWN",
         std::string(where) + ": errno " + std::to_string(number));
}

}  // namespace ringfence::fuzz

#endif  // RINGFENCE_TEST_FUZZ_EXPECT_H_
