#include "sentry/arch/elf_arch.h"

#include <cpuid.h>
#include <elf.h>

namespace ringfence::sentry {

const ElfArch& GetElfArch() {
  static constexpr ElfArch kArch{.machine = EM_X86_64,
                                 .platform = "x86_64",
                                 .dyn_base = VirtAddr(0x555555554000),
                                 .dyn_random_bits = 28,
                                 .brk_random_bytes = 0x02000000,
                                 .stack_random_pages = 0x3fffff};
  return kArch;
}

uint64_t HardwareCapabilities() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  return edx;
}

uint64_t HardwareCapabilities2() {
  constexpr uint64_t kFsgsbase = 2;  // HWCAP2_FSGSBASE
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
  return (ebx & 1) != 0 ? kFsgsbase : 0;
}

platform::ArchState InitialState(VirtAddr entry, VirtAddr stack) {
  platform::ArchState state;
  state.rip = entry.value();
  state.rsp = stack.value();
  return state;
}

}  // namespace ringfence::sentry
