// A Platform of memory and page tables only, for unit tests of what lies on top of MemoryManager:
// "running the guest" is done by walking the page table like a CPU (GuestRead, GuestWrite).
#ifndef RINGFENCE_SENTRY_MM_TESTING_H_
#define RINGFENCE_SENTRY_MM_TESTING_H_

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "platform/api/platform.h"
#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

class MemoryPlatform final : public platform::Platform {
 public:
  explicit MemoryPlatform(uint64_t max_bytes = uint64_t{512} << 20) {
    platform::InstallSafeCopyHandler();
    auto memory = platform::GuestMemory::Create(
        {.max_anonymous_bytes = max_bytes, .max_file_bytes = uint64_t{64} << 20}, &sink_);
    if (!memory.ok()) abort();
    memory_ = std::move(*memory);
  }
  platform::GuestMemory& memory() override { return *memory_; }
  Result<std::unique_ptr<platform::AddressSpace>> NewAddressSpace() override {
    return platform::AddressSpace::Create(memory_.get());
  }
  Result<std::unique_ptr<platform::Context>> NewContext() override { return Errno::kNOSYS; }
  uint64_t TscKhz() const override { return 0; }
  int64_t TscOffset() const override { return 0; }
  Counters GetCounters() const override { return {}; }
  std::string Describe() const override { return "memory only"; }

 private:
  struct Sink final : platform::SlotSink {
    Result<void> AddSlot(uint64_t, uint64_t, std::byte*, bool) override { return Ok(); }
  };
  Sink sink_;
  std::unique_ptr<platform::GuestMemory> memory_;
};

// One access of `n` bytes inside a page, as a CPU does it: page table, fault, again. Returns what
// the sentry said of the last fault.
inline FaultResult GuestAccess(MemoryManager& mm, uint64_t addr, void* data, size_t n,
                               Access access) {
  for (int tries = 0; tries < 4; ++tries) {
    const auto leaf = mm.space().Lookup(VirtAddr(addr));
    const bool allowed = leaf && (access == Access::kWrite  ? leaf->prot.write
                                  : access == Access::kExec ? leaf->prot.exec
                                                            : leaf->prot.read);
    if (allowed) {
      std::byte* host = mm.platform().memory().HostAddress(leaf->frame) + (addr & kPageMask);
      const size_t moved = access == Access::kWrite ? platform::SafeCopy(host, data, n)
                                                    : platform::SafeCopy(data, host, n);
      return moved == n ? FaultResult::kHandled : FaultResult::kBusError;
    }
    const FaultResult result = mm.HandleFault(VirtAddr(addr), access);
    if (result != FaultResult::kHandled) return result;
  }
  abort();  // a fault that is "handled" for ever
}

inline FaultResult GuestWrite(MemoryManager& mm, uint64_t addr, uint64_t value) {
  return GuestAccess(mm, addr, &value, sizeof(value), Access::kWrite);
}

// The value, or ~0 - result for a fault.
inline uint64_t GuestRead(MemoryManager& mm, uint64_t addr) {
  uint64_t value = 0;
  const FaultResult result = GuestAccess(mm, addr, &value, sizeof(value), Access::kRead);
  return result == FaultResult::kHandled ? value : ~uint64_t{0} - static_cast<uint64_t>(result);
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_TESTING_H_
