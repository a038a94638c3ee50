// What a sandbox counted while it ran, as `ringfence do --stats FILE` writes it.
#ifndef RINGFENCE_RUNTIME_SANDBOX_STATISTICS_H_
#define RINGFENCE_RUNTIME_SANDBOX_STATISTICS_H_

#include <cstdint>
#include <string>

#include "platform/api/platform.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::runtime {

struct Statistics {
  uint64_t system_calls = 0;  // that reached the sentry, by exit or exitless
  uint64_t gofer_calls = 0;   // round trips to the gofer
  platform::Platform::Counters platform{};
  platform::GuestMemory::Stats memory{};
};

// One JSON object with a number for each name, and a newline.
std::string StatisticsJson(const Statistics& statistics);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_STATISTICS_H_
