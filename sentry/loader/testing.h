// A file in memory and a hand-made ELF program, for the loader's tests.
#ifndef RINGFENCE_SENTRY_LOADER_TESTING_H_
#define RINGFENCE_SENTRY_LOADER_TESTING_H_

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "sentry/mm/shared_pages.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

class MemoryFile final : public File {
 public:
  MemoryFile(platform::GuestMemory* memory, std::string bytes)
      : File(O_RDONLY),
        bytes_(std::move(bytes)),
        pages_(std::make_shared<AnonymousPages>(memory, AnonymousPages::Options{.name = "/test"})) {
    const auto writable = std::as_writable_bytes(std::span(bytes_));
    UserIo io(absl::MakeSpan(writable.data(), writable.size()));
    if (!pages_->Write(0, io, bytes_.size()).ok()) abort();
  }
  Result<size_t> Read(const CallContext&, UserIo& io, const int64_t* offset) override {
    const uint64_t at = std::min<uint64_t>(*offset, bytes_.size());
    return io.Write(bytes_.data() + at, bytes_.size() - at);
  }
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override {
    return Errno::kBADF;
  }
  Result<Attributes> GetAttr(const CallContext&) override {
    Attributes attributes;
    attributes.mode = S_IFREG | 0755;
    attributes.size = bytes_.size();
    return attributes;
  }
  Result<MappableRef> GetMappable(const CallContext&, bool) override { return MappableRef(pages_); }

 private:
  std::string bytes_;
  std::shared_ptr<AnonymousPages> pages_;
};

inline constexpr uint64_t kTestText = 0x400000, kTestData = 0x402000;
inline constexpr size_t kTestCodeOffset = 0x200, kTestDataOffset = 0x1100;

// Headers, exit(42) in a text segment, a data segment with 16 bytes of data and a bss that ends
// two pages later. With `interpreter` also a PT_INTERP.
struct TestElf {
  Elf64_Ehdr header{};
  Elf64_Phdr phdrs[4]{};
  std::string interpreter;

  explicit TestElf(uint16_t type = ET_EXEC, std::string interp = "") : interpreter(interp) {
    const uint64_t bias = type == ET_EXEC ? 0 : kTestText;
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = type;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = kTestText + kTestCodeOffset - bias;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = interpreter.empty() ? 3 : 4;
    phdrs[0] = {PT_LOAD, PF_R | PF_X, 0, kTestText - bias, 0, 0x300, 0x300, kPageSize};
    phdrs[1] = {PT_LOAD, PF_R | PF_W, kTestDataOffset, kTestData + 0x100 - bias,
                0,       16,          0x100 + 0x2000,  kPageSize};
    phdrs[2] = {PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16};
    phdrs[3] = {PT_INTERP, PF_R, 0x280, 0, 0, interpreter.size() + 1, interpreter.size() + 1, 1};
  }
  std::string Bytes() const {
    std::string bytes(kTestDataOffset + 16, '\xcc');
    memcpy(bytes.data(), &header, sizeof(header));
    memcpy(bytes.data() + sizeof(header), phdrs, sizeof(phdrs));
    // mov $60,%eax; mov $42,%edi; syscall
    memcpy(bytes.data() + kTestCodeOffset, "\xb8\x3c\0\0\0\xbf\x2a\0\0\0\x0f\x05", 12);
    memcpy(bytes.data() + 0x280, interpreter.c_str(), interpreter.size() + 1);
    memcpy(bytes.data() + kTestDataOffset, "0123456789abcdef", 16);
    return bytes;
  }
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_TESTING_H_
