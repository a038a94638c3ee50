// The first line of a #! script (binfmt_script of Linux).
#ifndef RINGFENCE_SENTRY_LOADER_SCRIPT_H_
#define RINGFENCE_SENTRY_LOADER_SCRIPT_H_

#include <optional>
#include <string>
#include <string_view>

#include "platform/base/result.h"

namespace ringfence::sentry {

inline constexpr size_t kExecHeaderSize = 256;  // BINPRM_BUF_SIZE

struct ScriptLine {
  std::string interpreter;
  std::optional<std::string> argument;
};

// `header` is the start of the file, zero-filled to kExecHeaderSize. ENOEXEC when it is no script
// or names no (or a truncated) interpreter.
Result<ScriptLine> ParseScript(std::string_view header);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_SCRIPT_H_
