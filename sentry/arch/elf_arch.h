// What elf(5) leaves to the architecture: machine number, platform string, hardware capability
// words, where position-independent programs go, and the registers a program starts with.
#ifndef RINGFENCE_SENTRY_ARCH_ELF_ARCH_H_
#define RINGFENCE_SENTRY_ARCH_ELF_ARCH_H_

#include <cstdint>

#include "platform/api/arch_state.h"
#include "platform/base/addr.h"

namespace ringfence::sentry {

struct ElfArch {
  uint16_t machine;             // e_machine
  const char* platform;         // AT_PLATFORM
  VirtAddr dyn_base;            // ELF_ET_DYN_BASE
  uint64_t dyn_random_bits;     // pages of randomness of dyn_base
  uint64_t brk_random_bytes;    // the heap starts up to this far behind the program
  uint64_t stack_random_pages;  // STACK_TOP goes down by less than this
};
const ElfArch& GetElfArch();

// AT_HWCAP and AT_HWCAP2, from the host CPU.
uint64_t HardwareCapabilities();
uint64_t HardwareCapabilities2();

// Registers at the first instruction.
platform::ArchState InitialState(VirtAddr entry, VirtAddr stack);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_ARCH_ELF_ARCH_H_
