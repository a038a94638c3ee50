// Futex words: atomics on guest memory and the identity of a word (get_futex_key of Linux).
#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {

Result<uint32_t> MemoryManagerImpl::AtomicLoad32(VirtAddr addr) {
  if (addr.value() % sizeof(uint32_t) != 0) return Errno::kINVAL;
  while (true) {
    {
      absl::ReaderMutexLock lock(&mutex_);
      if (const std::byte* host = FastAddress(addr, Access::kRead))
        return platform::SafeLoad32(host);
    }
    if (HandleFault(addr, Access::kRead) != FaultResult::kHandled) return Errno::kFAULT;
  }
}

Result<uint32_t> MemoryManagerImpl::AtomicCompareExchange32(VirtAddr addr, uint32_t expected,
                                                            uint32_t desired) {
  if (addr.value() % sizeof(uint32_t) != 0) return Errno::kINVAL;
  while (true) {
    {
      absl::ReaderMutexLock lock(&mutex_);
      if (std::byte* host = FastAddress(addr, Access::kWrite)) {
        return platform::SafeCompareExchange32(host, expected, desired);
      }
    }
    if (HandleFault(addr, Access::kWrite) != FaultResult::kHandled) return Errno::kFAULT;
  }
}

Result<FutexKey> MemoryManagerImpl::GetFutexKey(VirtAddr addr, bool is_private) {
  if (addr.value() % sizeof(uint32_t) != 0) return Errno::kINVAL;
  if (addr >= platform::kUserEnd) return Errno::kFAULT;
  // Odd: never the address of an object. The low bit of the offset tells a shared futex in private
  // memory from a private one, which Linux keeps apart too.
  const uint64_t space = 2 * id_ + 1;
  if (is_private) return FutexKey{space, addr.value(), nullptr};
  absl::ReaderMutexLock lock(&mutex_);
  const Vma* vma = vmas_.Find(addr);
  if (vma == nullptr || !vma->prot.any()) return Errno::kFAULT;
  if (!vma->shared) return FutexKey{space, addr.value() | 1, nullptr};
  return FutexKey{reinterpret_cast<uint64_t>(vma->object.get()),
                  vma->PageAt(addr) * kPageSize + addr.page_offset(), vma->object};
}

}  // namespace ringfence::sentry
