// TestGuest: the least of a KVM guest that can show which translations a CPU really uses. For the
// tests of platform/mem only; platform/kvm is the real thing.
//
// Ring 3 runs one of a few instruction sequences; INT3 says it is done; every exception reaches
// a stub in ring 0 that says which. TestGuest is also the SlotSink of its GuestMemory.
#ifndef RINGFENCE_PLATFORM_MEM_KVM_TEST_GUEST_UNSAFE_H_
#define RINGFENCE_PLATFORM_MEM_KVM_TEST_GUEST_UNSAFE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "platform/base/unique_fd.h"
#include "platform/mem/address_space.h"
#include "platform/mem/guest_memory.h"
#include "platform/mem/host_paging.h"

struct kvm_run;

namespace ringfence::platform {

class TestGuest : public SlotSink {
 public:
  explicit TestGuest(const GuestMemory::Options& options);
  ~TestGuest() override;

  Result<void> AddSlot(uint64_t phys, uint64_t bytes, std::byte* host, bool readonly) override;
  HostPaging Paging() const override { return paging_; }
  Result<void> ForgetTables() override;

  GuestMemory& memory() { return *memory_; }
  // An address space with the code page at kCode and the shared ring-0 part.
  std::unique_ptr<AddressSpace> NewSpace();
  // Dissolves it, which drops the references.
  void Destroy(std::unique_ptr<AddressSpace> space);

  // What ring 3 can do with the address in `rbx`. The routines of the code page.
  enum class Routine : uint64_t {
    kRead = 0x00,       // rax = *rbx
    kWrite = 0x10,      // *rbx = rax
    kCount = 0x20,      // for (;;) ++*rbx
    kJump = 0x30,       // goto *rbx
    kTouchAll = 0x40,   // writes rax to each of rcx pages from rbx
    kReadLoop = 0x60,   // for (; rcx != 0; --rcx) rax = *rbx
    kFill = 0x80,       // rep stosq of rax over the rest of the page
    kStoreSse = 0xa0,   // movups
    kStoreWide = 0xb0,  // lock cmpxchg16b
    kStoreX87 = 0xc0,   // fstp
    kPush = 0xd0,       // push with the stack at rbx + 64
  };
  struct Outcome {
    enum Kind { kDone, kFault, kNoMemory, kOther } kind = kOther;
    uint64_t rax = 0;
    uint64_t cr2 = 0;         // kFault: vector 14
    uint64_t error_code = 0;  // kFault
    int vector = -1;          // kOther: another exception, -1 = not an exception
    int efaults_excused = 0;  // KVM_RUN gave EFAULT while an invalidation was under way
  };
  // kNoMemory: KVM_RUN failed with EFAULT and no invalidation excuses it.
  Outcome Run(AddressSpace& space, Routine routine, VirtAddr rbx, uint64_t rax = 0,
              uint64_t rcx = 0);

  static constexpr VirtAddr kCode{0x600000};

 private:
  void MakeKernelPart();
  void MakeVcpu();
  void SetRegisters(AddressSpace& space, Routine routine, uint64_t rbx, uint64_t rax, uint64_t rcx);
  Frame NewFrame();
  template <typename T>
  T* At(Frame frame, uint64_t offset);

  UniqueFd kvm_, vm_, vcpu_;
  const HostPaging paging_ = GetHostPaging();
  uint32_t next_slot_ = 1;  // 0 is for ForgetTables
  kvm_run* run_ = nullptr;
  size_t run_bytes_ = 0;
  std::unique_ptr<GuestMemory> memory_;
  Frame code_, kernel_table_, descriptors_, idt_, stubs_, stack_;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_KVM_TEST_GUEST_UNSAFE_H_
