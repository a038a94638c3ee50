// KernelImage: the supervisor part of every address space: descriptor tables, exception stubs, and
// per vCPU a task state segment with an exception stack. SDM vol. 3: 3.4.5 (segment descriptors),
// 6.14 (64-bit IDT), 7.7 (64-bit TSS), vol. 1: 19.5.2 (I/O permission bitmap).
//
// It occupies the top-level entry that all roots share (AddressSpace::SetKernelTable); its
// pages are supervisor-only. Ring 3 can neither read nor write them.
//
// An exception of ring 3 switches to the vCPU's exception stack (IST 1, so also for ring 0 of a
// privileged trampoline), pushes the frame and runs a stub of one OUT to kExceptionPort + vector.
// The sentry reads the frame from the stack page.
//
// Threads: PrepareVcpu by one thread at a time; the rest is immutable.
#ifndef RINGFENCE_PLATFORM_KVM_ARCH_X86_64_KERNEL_IMAGE_H_
#define RINGFENCE_PLATFORM_KVM_ARCH_X86_64_KERNEL_IMAGE_H_

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "platform/kvm/answer_page.h"
#include "platform/kvm/arch/x86_64/trampoline.h"
#include "platform/mem/address_space.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::kvm {

inline constexpr uint16_t kKernelCs = 0x10;
inline constexpr uint16_t kUserSs = 0x2b;
inline constexpr uint16_t kUserCs = 0x33;
inline constexpr uint16_t kTssSelector = 0x40;
inline constexpr uint16_t kExceptionPort = 0x40;  // + vector
inline constexpr unsigned kVectors = 32;

class KernelImage {
 public:
  static constexpr uint64_t kBase = platform::kKernelTableBase.value();
  static constexpr uint64_t kGdt = kBase;
  static constexpr uint16_t kGdtLimit = 10 * 8 - 1;
  static constexpr uint64_t kIdt = kBase + 0x100;
  static constexpr uint16_t kIdtLimit = kVectors * 16 - 1;
  static constexpr uint64_t kStubs = kBase + 0x1000;
  static constexpr uint64_t kStubBytes = 16;
  static constexpr uint64_t kVcpuPages = kBase + 0x10000;
  static constexpr uint16_t kTssLimit = 0x68 + 0x20 - 1;

  // ENOMEM. `memory` outlives the object.
  static Result<std::unique_ptr<KernelImage>> Create(platform::GuestMemory* memory,
                                                     unsigned max_vcpus, Flavour flavour);
  ~KernelImage();

  // For AddressSpace::SetKernelTable.
  Frame table() const { return table_; }
  // The trampoline's code.
  Frame trampoline() const { return trampoline_; }
  // Rewrites the trampoline and its port; before any vCPU runs with it.
  void SetFlavour(Flavour flavour);

  // Makes the TSS and stack page of vCPU `index` (< max_vcpus), or adapts them to the flavour, and
  // its page of answers.
  // ENOMEM.
  Result<void> PrepareVcpu(unsigned index);
  // The page of answers of that vCPU, prepared.
  Frame answers(unsigned index) const { return answers_[index]; }
  AnswerPage* AnswersOf(unsigned index) const;
  // Task register of that vCPU.
  static kvm_segment TaskSegment(unsigned index);

  // What the processor pushed for the latest exception of vCPU `index`.
  struct ExceptionFrame {
    uint64_t error_code;  // meaningful for vectors that have one
    uint64_t rip, cs, rflags, rsp, ss;
  };
  ExceptionFrame ReadFrame(unsigned index) const;

 private:
  KernelImage(platform::GuestMemory* memory, unsigned max_vcpus, Flavour flavour)
      : memory_(memory), vcpu_pages_(max_vcpus), answers_(max_vcpus), flavour_(flavour) {}
  Result<void> Build();
  Result<Frame> NewFrame();
  void WriteGdt(std::byte* page);
  void WriteIdt(std::byte* page);
  void WriteStubs(std::byte* page);
  uint64_t* Entries(Frame frame) const;
  // Maps a supervisor page of the image; its page table exists.
  void MapPage(uint64_t va, Frame frame, bool writable, bool exec);

  platform::GuestMemory* const memory_;
  std::vector<Frame> owned_;        // every frame, to be returned
  std::vector<Frame> page_tables_;  // for kBase, 2 MiB each
  Frame table_;
  Frame trampoline_;
  std::vector<Frame> vcpu_pages_, answers_;  // by vCPU; number 0 = none
  Flavour flavour_;
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ARCH_X86_64_KERNEL_IMAGE_H_
