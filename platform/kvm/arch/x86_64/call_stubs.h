// CallStubs: where the call sites of one address space jump to (AddressSpace::AddCallSite).
//
// A site is a SYSCALL instruction that was replaced by `jmp *[slot]` or by a way to one. Its stub
// loads rcx with the address behind the site, as SYSCALL would, and enters the trampoline
// (trampoline.S, "direct"), which finds the data page of the vCPU it runs on since every vCPU has
// its own there.
//
// Pages of stubs are readable and executable for ring 3, never writable. They begin at kCallStubs:
// in the only 512 GiB but the program's own that an instruction can name in 32 bits, and where the
// upper half of these reads as `int 0x80`. A page:
//   0    the trampoline's direct entry, which all stubs of the page jump through
//   32n  the slot of stub n: a pointer to the code that follows
//   +8   mov eax, number (or a NOP of its length); movabs rcx, after; jmp *[0 of this page]
//
// Threads: the owner's (KvmAddressSpace::mu_).
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CALL_STUBS_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CALL_STUBS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "platform/mem/address_space.h"

namespace ringfence::kvm {

inline constexpr uint64_t kCallStubs = 0xffffffff80cd0000;

class CallStubs {
 public:
  static constexpr size_t kStubBytes = 32;
  static constexpr size_t kStubsPerPage = kPageSize / kStubBytes - 1;
  static constexpr size_t kMaxPages = 16;  // 64 KiB; 2,032 sites, where libc has 526 in all

  // Both outlive the object. `direct` = address of the trampoline's entry for call sites.
  CallStubs(platform::GuestMemory* memory, platform::AddressSpace* space, uint64_t direct)
      : memory_(memory), space_(space), direct_(direct) {}

  using CallSite = platform::AddressSpace::CallSite;
  // As AddressSpace::AddCallSite. ENOSPC, ENOMEM.
  Result<uint32_t> Add(const CallSite& site);
  // The same stubs for another space. ENOMEM.
  Result<void> CopyTo(CallStubs& other) const;

  // The site whose call has been made if `rip` is where the vCPU is: in its stub, or at a jump that
  // nothing else leads to.
  std::optional<CallSite> SiteOf(VirtAddr rip) const;

 private:
  Result<void> AddPage();

  platform::GuestMemory* const memory_;
  platform::AddressSpace* const space_;
  const uint64_t direct_;
  std::vector<std::byte*> pages_;
  std::vector<CallSite> sites_;                  // by number of stub
  absl::flat_hash_map<uint64_t, size_t> stubs_;  // by address of the far jump
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_CALL_STUBS_H_
