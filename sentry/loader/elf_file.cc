#include "sentry/loader/elf_file.h"

#include <limits.h>
#include <string.h>

#include <algorithm>
#include <bit>

#include "sentry/arch/elf_arch.h"

namespace ringfence::sentry {

uint64_t ElfFile::MappingSize() const {
  // total_mapping_size of Linux: segments need not be in order.
  uint64_t low = ~uint64_t{0}, high = 0;
  for (const Elf64_Phdr& ph : phdrs) {
    if (ph.p_type != PT_LOAD) continue;
    low = std::min(low, PageDown(ph.p_vaddr));
    high = std::max(high, ph.p_vaddr + ph.p_memsz);
  }
  return high > low ? high - low : 0;
}

uint64_t ElfFile::MaxAlignment() const {
  uint64_t alignment = kPageSize;
  for (const Elf64_Phdr& ph : phdrs) {
    if (ph.p_type == PT_LOAD && std::has_single_bit(ph.p_align)) {
      alignment = std::max(alignment, uint64_t{ph.p_align});
    }
  }
  return alignment;
}

Result<size_t> ReadAt(const CallContext& ctx, File& file, uint64_t offset, void* buffer, size_t n) {
  size_t done = 0;
  while (done < n) {
    if (offset > static_cast<uint64_t>(INT64_MAX) - n) return Errno::kINVAL;
    UserIo io(absl::MakeSpan(static_cast<std::byte*>(buffer) + done, n - done));
    const int64_t at = static_cast<int64_t>(offset + done);
    const size_t got = TRY(file.Read(ctx, io, &at));
    if (got == 0) break;
    done += got;
  }
  return done;
}

Result<ElfFile> ReadElf(const CallContext& ctx, const FileRef& file, Errno bad) {
  ElfFile elf;
  elf.file = file;
  // Linux looks at a zero-filled buffer of the first 256 bytes: a short file is a bad one.
  memset(&elf.header, 0, sizeof(elf.header));
  TRY(ReadAt(ctx, *file, 0, &elf.header, sizeof(elf.header)));
  const Elf64_Ehdr& header = elf.header;
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return bad;
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return bad;
  if (header.e_machine != GetElfArch().machine) return bad;

  auto pages = file->GetMappable(ctx, false);
  if (!pages.ok()) return pages.error() == Errno::kNODEV ? bad : pages.error();
  elf.pages = *pages;

  if (header.e_phentsize != sizeof(Elf64_Phdr)) return bad;
  const uint64_t bytes = uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (bytes == 0 || bytes > kPageSize) return bad;
  elf.phdrs.resize(header.e_phnum);
  const auto got = ReadAt(ctx, *file, header.e_phoff, elf.phdrs.data(), bytes);
  if (!got.ok() && got.error() == Errno::kWOULDBLOCK_RETRY_ON_TASK) return got.error();
  if (!got.ok() || *got != bytes) return bad;
  return elf;
}

Result<std::optional<std::string>> ReadInterpreterPath(const CallContext& ctx, const ElfFile& elf) {
  for (const Elf64_Phdr& ph : elf.phdrs) {
    if (ph.p_type != PT_INTERP) continue;
    if (ph.p_filesz > PATH_MAX || ph.p_filesz < 2) return Errno::kNOEXEC;
    std::string path(ph.p_filesz, 0);
    const size_t got = TRY(ReadAt(ctx, *elf.file, ph.p_offset, path.data(), path.size()));
    if (got != path.size()) return Errno::kIO;
    if (path.back() != 0) return Errno::kNOEXEC;
    path.resize(strlen(path.c_str()));
    return std::optional<std::string>(std::move(path));
  }
  return std::optional<std::string>();
}

}  // namespace ringfence::sentry
