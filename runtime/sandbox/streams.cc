#include "runtime/sandbox/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace ringfence::runtime {

absl::StatusOr<uint32_t> FillClosedStreams() {
  uint32_t closed = 0;
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    if (fcntl(stream, F_GETFD) >= 0) continue;
    closed |= uint32_t{1} << stream;
    // The lowest free number is this one: those below are open.
    if (open("/", O_PATH | O_DIRECTORY) != stream) return absl::ErrnoToStatus(errno, "open /");
  }
  return closed;
}

}  // namespace ringfence::runtime
