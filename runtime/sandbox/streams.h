// Standard streams that the caller closed.
#ifndef RINGFENCE_RUNTIME_SANDBOX_STREAMS_H_
#define RINGFENCE_RUNTIME_SANDBOX_STREAMS_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace ringfence::runtime {

// Puts a descriptor that can neither be read nor written (O_PATH of the root) where one of 0, 1, 2
// is closed, so that no later descriptor lands there. Bit n of the result: n was closed. First
// thing in main.
absl::StatusOr<uint32_t> FillClosedStreams();

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_STREAMS_H_
