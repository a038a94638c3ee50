// Structures that carry their size as an argument, so that they can grow (clone3(2), openat2(2),
// sched_setattr(2)): copy_struct_from_user of Linux.
#ifndef RINGFENCE_SENTRY_SYSCALLS_STRUCT_ARG_H_
#define RINGFENCE_SENTRY_SYSCALLS_STRUCT_ARG_H_

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

// E2BIG when bytes beyond `from` are not all zero; EFAULT.
Result<void> CheckZeros(MemoryManager& mm, VirtAddr from, uint64_t length);

// Copies in `size` bytes; missing ones are zero. EINVAL when size < minimum, E2BIG when it is
// greater than a page or bytes that T does not have are not zero.
template <typename T>
Result<T> LoadStruct(MemoryManager& mm, VirtAddr addr, uint64_t size, uint64_t minimum) {
  if (size < minimum) return Errno::kINVAL;
  if (size > kPageSize) return Errno::k2BIG;
  T value{};
  if (size > sizeof(T)) {
    TRY(CheckZeros(mm, TRY(addr.Add(sizeof(T))), size - sizeof(T)));
  }
  TRY(mm.CopyIn(&value, addr, std::min<uint64_t>(size, sizeof(T))));
  return value;
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_STRUCT_ARG_H_
