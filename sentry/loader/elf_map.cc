#include "sentry/loader/elf_map.h"

#include <sys/random.h>

#include <algorithm>

#include "sentry/arch/elf_arch.h"

namespace ringfence::sentry {
namespace {

using platform::kUserEnd;

Prot ProtOf(const Elf64_Phdr& ph) {
  return {(ph.p_flags & PF_R) != 0, (ph.p_flags & PF_W) != 0, (ph.p_flags & PF_X) != 0};
}

// Rounds up and wraps to 0 like PAGE_ALIGN; callers have bounded the value.
uint64_t RoundUp(uint64_t n) { return (n + kPageMask) & ~kPageMask; }

Result<void> CheckSegment(const Elf64_Phdr& ph, uint64_t start) {
  if (start >= kUserEnd.value() || ph.p_filesz > ph.p_memsz) return Errno::kINVAL;
  if (ph.p_memsz > kUserEnd.value() || kUserEnd.value() - ph.p_memsz < start) return Errno::kINVAL;
  return Ok();
}

// Anonymous memory from where the file ends (in the segment) to its end in memory.
Result<void> MapBss(MemoryManager& mm, const Elf64_Phdr& ph, uint64_t start) {
  uint64_t zero = start + ph.p_filesz;
  const uint64_t end = RoundUp(start + ph.p_memsz);
  if (ph.p_filesz != 0) {
    // The rest of the last file page; a read-only segment keeps what the file has there.
    const uint64_t rest = RoundUp(zero) - zero;
    if (rest != 0 && !mm.ZeroOut(VirtAddr(zero), rest).ok() && (ph.p_flags & PF_W) != 0) {
      return Errno::kFAULT;
    }
    zero = RoundUp(zero);
  } else {
    zero = PageDown(zero);
  }
  if (zero >= end) return Ok();
  MapRequest request;
  request.addr = VirtAddr(zero);
  request.length = end - zero;
  request.fixed = true;
  request.prot = {true, true, (ph.p_flags & PF_X) != 0};
  TRY(mm.Map(request));
  return Ok();
}

Result<void> MapSegment(MemoryManager& mm, const ElfFile& elf, const Elf64_Phdr& ph, uint64_t start,
                        bool replace) {
  if (ph.p_filesz != 0) {
    const uint64_t in_page = start & kPageMask;
    MapRequest request;
    request.addr = VirtAddr(start - in_page);
    request.length = ph.p_filesz + in_page;
    request.fixed = replace;
    request.fixed_noreplace = !replace;
    request.prot = ProtOf(ph);
    request.kind = VmaKind::kFile;
    request.object = elf.pages;
    request.offset = ph.p_offset - in_page;  // a misfit of offset and address is EINVAL in Map
    TRY(mm.Map(request));
  }
  return ph.p_memsz > ph.p_filesz ? MapBss(mm, ph, start) : Ok();
}

// A free, aligned range that mmap would choose.
Result<uint64_t> FindRange(MemoryManager& mm, uint64_t size, uint64_t alignment) {
  if (size > kUserEnd.value()) return Errno::kNOMEM;
  // More alignment than the address space can give is not insisted upon.
  const uint64_t slack = alignment > kPageSize && alignment < kUserEnd.value() / 4 ? alignment : 0;
  MapRequest request;
  request.length = size + slack;
  request.prot = Prot::None();
  request.noreserve = true;
  const VirtAddr at = TRY(mm.Map(request));
  TRY(mm.Unmap(at, size + slack));
  return slack == 0 ? at.value() : (at.value() + alignment - 1) & ~(alignment - 1);
}

Result<uint64_t> PickBias(MemoryManager& mm, const ElfFile& elf, const Elf64_Phdr& first,
                          ElfRole role, bool randomize) {
  const uint64_t size = elf.MappingSize();
  if (size == 0) return Errno::kINVAL;
  if (elf.header.e_type == ET_EXEC) return uint64_t{0};
  const uint64_t alignment = elf.MaxAlignment();
  uint64_t base = 0;
  if (role == ElfRole::kProgram) {
    const ElfArch& arch = GetElfArch();
    base = arch.dyn_base.value() + (randomize ? RandomPageBytes(arch.dyn_random_bits) : 0);
    base &= ~(alignment - 1);
  } else {
    base = TRY(FindRange(mm, size, alignment));
  }
  return base - PageDown(first.p_vaddr);
}

VirtAddr Lower(VirtAddr a, VirtAddr b) { return a.is_null() || b < a ? b : a; }

}  // namespace

uint64_t RandomBelow(uint64_t limit) {
  uint64_t value = 0;
  if (getrandom(&value, sizeof(value), 0) != sizeof(value)) return 0;
  return value % limit;
}

uint64_t RandomPageBytes(uint64_t bits) { return RandomBelow(uint64_t{1} << bits) << kPageShift; }

Result<MappedElf> MapElf(MemoryManager& mm, const ElfFile& elf, ElfRole role, bool randomize) {
  MappedElf mapped;
  bool first = true;
  uint64_t phdrs = 0;
  for (const Elf64_Phdr& ph : elf.phdrs) {
    if (ph.p_type != PT_LOAD) continue;
    if (first) mapped.bias = TRY(PickBias(mm, elf, ph, role, randomize));
    const uint64_t start = ph.p_vaddr + mapped.bias;
    TRY(CheckSegment(ph, start));
    TRY(MapSegment(mm, elf, ph, start, !first));
    first = false;

    const uint64_t e_phoff = elf.header.e_phoff;
    if (ph.p_offset <= e_phoff && e_phoff - ph.p_offset < ph.p_filesz) {
      phdrs = e_phoff - ph.p_offset + start;
    }
    if ((ph.p_flags & PF_X) != 0) {
      mapped.code_start = Lower(mapped.code_start, VirtAddr(start));
      mapped.code_end = std::max(mapped.code_end, VirtAddr(start + ph.p_filesz));
    }
    mapped.data_start = std::max(mapped.data_start, VirtAddr(start));
    mapped.data_end = std::max(mapped.data_end, VirtAddr(start + ph.p_filesz));
    mapped.brk = std::max(mapped.brk, VirtAddr(start + ph.p_memsz));
  }
  mapped.phdrs = VirtAddr(phdrs);
  mapped.entry = VirtAddr(elf.header.e_entry + mapped.bias);
  if (mapped.entry >= kUserEnd) return Errno::kINVAL;
  return mapped;
}

}  // namespace ringfence::sentry
