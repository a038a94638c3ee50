// What the CLI tells a person.
#ifndef RINGFENCE_RUNTIME_SANDBOX_REPORT_H_
#define RINGFENCE_RUNTIME_SANDBOX_REPORT_H_

#include <string_view>

namespace ringfence::runtime {

// Writes "ringfence: LINE" to stderr, in one write; control characters are replaced.
void Say(std::string_view line);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_REPORT_H_
