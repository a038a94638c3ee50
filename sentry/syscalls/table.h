// The system call table: what there is, who serves it, how well. Data; dispatch, strace, the
// compatibility page (docs/syscalls.md) and the coverage test derive from it.
//
// Rows come from arch/<arch>/table_<arch>.inc.
#ifndef RINGFENCE_SENTRY_SYSCALLS_TABLE_H_
#define RINGFENCE_SENTRY_SYSCALLS_TABLE_H_

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "platform/base/result.h"
#include "sentry/strace/arg_kind.h"

namespace ringfence::sentry {

class SyscallContext;

// Serves one call: decodes and checks ctx's arguments, calls the subsystem, returns what goes into
// rax. On a service thread (ctx.call().may_block false) it returns kWOULDBLOCK_RETRY_ON_TASK
// before the first side effect of anything that takes long.
using SyscallHandler = Result<int64_t> (*)(SyscallContext& ctx);

enum class Support : uint8_t { kFull, kPartial, kNone };
enum class ServingThread : uint8_t { kOwn, kAny };

struct SyscallRow {
  uint16_t number;
  const char* name;
  SyscallHandler handler;  // null: answers -absent
  Support support;
  ServingThread thread;
  Errno absent;
  const char* note;
  ArgKinds args;
  int arg_count() const;
  bool returns_address() const;  // strace prints the value in hexadecimal
};

inline constexpr uint64_t kMaxSyscall = 511;  // no row has a greater number

// All rows, ascending.
absl::Span<const SyscallRow> SyscallRows();

// Position in SyscallRows(), or -1.
int FindSyscall(uint64_t number);

// docs/syscalls.md.
std::string CompatibilityPage();

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_TABLE_H_
