// CallTrace: one line of strace(1)-like output for one system call.
//
// Made when the call starts (inputs are read then), finished with the result (outputs are read
// then): "openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3". Guest memory is read through a
// MemoryReader, at most 32 bytes a string and 8 elements a list; what cannot be read is printed as
// an address. Never fails, never blocks longer than a read of guest memory.
#ifndef RINGFENCE_SENTRY_STRACE_FORMAT_H_
#define RINGFENCE_SENTRY_STRACE_FORMAT_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "sentry/strace/arg_kind.h"

namespace ringfence::sentry {

// Copies up to n bytes of guest memory; returns how many.
using MemoryReader = absl::FunctionRef<size_t(void* dst, VirtAddr src, size_t n)>;

using RawArgs = std::array<uint64_t, 6>;

// One argument. `next` is the argument after it (the length of a buffer); `result` the call's
// value when it has returned one, negative otherwise.
std::string FormatArg(ArgKind kind, uint64_t value, uint64_t next, int64_t result,
                      MemoryReader read);

// "= 3", "= -1 ENOENT (No such file or directory)", "= 0x7f..." for addresses.
std::string FormatResult(int64_t result, bool is_address);

class CallTrace {
 public:
  CallTrace(std::string_view name, const ArgKinds& kinds, const RawArgs& args, MemoryReader read);

  // The finished line, without pid and newline. `result` as in rax.
  std::string Finish(int64_t result, bool is_address, MemoryReader read) const;
  // For a call that does not return (exit, execve when it succeeds).
  std::string Unfinished() const;

 private:
  std::string Arguments(int64_t result, const MemoryReader* read) const;

  std::string_view name_;
  ArgKinds kinds_;
  RawArgs args_;
  std::array<std::string, 6> texts_;  // of inputs; empty where deferred
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_STRACE_FORMAT_H_
