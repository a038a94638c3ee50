// Maps the segments of an ELF file into an address space (load_elf_binary, load_elf_interp).
#ifndef RINGFENCE_SENTRY_LOADER_ELF_MAP_H_
#define RINGFENCE_SENTRY_LOADER_ELF_MAP_H_

#include "sentry/loader/elf_file.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

enum class ElfRole {
  kProgram,      // ET_DYN: near dyn_base
  kStaticPie,    // ET_DYN without interpreter: where mmap puts it
  kInterpreter,  // the same
};

struct MappedElf {
  uint64_t bias = 0;  // what was added to every p_vaddr
  VirtAddr entry;
  VirtAddr phdrs;  // of the program header table in memory; null if no segment holds it
  VirtAddr code_start, code_end, data_start, data_end;
  VirtAddr brk;  // end of the highest segment
};

// EINVAL (inconsistent segment), ENOMEM, EPERM (below mmap_min_addr), EEXIST (the place of an
// ET_EXEC is taken), EFAULT (bss of a writable segment lies past the end of the file).
Result<MappedElf> MapElf(MemoryManager& mm, const ElfFile& elf, ElfRole role, bool randomize);

// Random page count in [0, 2^bits) as bytes; 0 < bits <= 48.
uint64_t RandomPageBytes(uint64_t bits);
// Uniform in [0, limit), limit > 0.
uint64_t RandomBelow(uint64_t limit);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_ELF_MAP_H_
