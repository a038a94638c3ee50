// ElfFile: the header and program headers of an ELF64 file, read and checked as binfmt_elf does
// before the point of no return. Only what Linux checks is checked: EI_CLASS, EI_DATA, versions
// and section headers are ignored there and here.
#ifndef RINGFENCE_SENTRY_LOADER_ELF_FILE_H_
#define RINGFENCE_SENTRY_LOADER_ELF_FILE_H_

#include <elf.h>

#include <optional>
#include <string>
#include <vector>

#include "sentry/base/call_context.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

struct ElfFile {
  FileRef file;
  MappableRef pages;
  Elf64_Ehdr header;
  std::vector<Elf64_Phdr> phdrs;

  // Bytes from the first page of the first PT_LOAD to the end of the last; 0 without any.
  uint64_t MappingSize() const;
  // The largest p_align of the PT_LOADs that is a power of two, at least a page.
  uint64_t MaxAlignment() const;
};

// Up to n bytes at `offset`; fewer at the end of the file.
Result<size_t> ReadAt(const CallContext& ctx, File& file, uint64_t offset, void* buffer, size_t n);

// `bad` is the errno for a file that is not an ELF program of this machine: ENOEXEC for the
// program, ELIBBAD for its interpreter.
Result<ElfFile> ReadElf(const CallContext& ctx, const FileRef& file, Errno bad);

// The path in PT_INTERP; nothing when there is none. ENOEXEC, EIO.
Result<std::optional<std::string>> ReadInterpreterPath(const CallContext& ctx, const ElfFile& elf);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_ELF_FILE_H_
