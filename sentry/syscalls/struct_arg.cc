#include "sentry/syscalls/struct_arg.h"

#include <vector>

namespace ringfence::sentry {

Result<void> CheckZeros(MemoryManager& mm, VirtAddr from, uint64_t length) {
  if (length > kPageSize) return Errno::k2BIG;
  std::vector<uint8_t> bytes(length);
  TRY(mm.CopyIn(bytes.data(), from, length));
  for (const uint8_t b : bytes) {
    if (b != 0) return Errno::k2BIG;
  }
  return Ok();
}

}  // namespace ringfence::sentry
