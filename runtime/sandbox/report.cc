#include "runtime/sandbox/report.h"

#include <unistd.h>

#include <string>

#include "runtime/control/wire.h"

namespace ringfence::runtime {

void Say(std::string_view line) {
  std::string text = "ringfence: " + OneLine(line) + "\n";
  // Nowhere is left to complain about a stderr that cannot be written.
  (void)!write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace ringfence::runtime
