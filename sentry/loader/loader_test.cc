#include "sentry/loader/loader.h"

#include <catch2/catch.hpp>
#include <map>

#include "sentry/loader/testing.h"
#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

struct Fixture {
  MemoryPlatform platform;
  MemoryManagerRef mm;
  std::map<std::string, std::string> files;
  std::vector<std::string> opened;
  LoadRequest request;

  Fixture() {
    request.ctx.creds = std::make_shared<Credentials>();
    request.path = request.exe_path = "/bin/prog";
    request.open = [this](std::string_view path) { return Open(path); };
    request.argv = {"prog", "one"};
    request.envp = {"A=1"};
  }
  Result<FileRef> Open(std::string_view path) {
    opened.emplace_back(path);
    auto it = files.find(std::string(path));
    if (it == files.end()) return Errno::kNOENT;
    return FileRef(std::make_shared<MemoryFile>(&platform.memory(), it->second));
  }
  Result<LoadedImage> Load(std::string bytes) {
    mm = *MemoryManager::Create(&platform);
    request.mm = mm.get();
    request.executable = std::make_shared<MemoryFile>(&platform.memory(), std::move(bytes));
    return LoadImage(request);
  }
  uint64_t Word(uint64_t addr) {
    uint64_t value = 0;
    REQUIRE(mm->CopyIn(&value, VirtAddr(addr), 8).ok());
    return value;
  }
  std::string Text(uint64_t addr) { return *mm->CopyInString(VirtAddr(addr), 4096); }
  // argv, envp and auxv as the program finds them.
  struct Stack {
    std::vector<std::string> argv, envp;
    std::map<uint64_t, uint64_t> auxv;
  };
  Stack ReadStack(uint64_t sp) {
    Stack stack;
    CHECK(sp % 16 == 0);
    const uint64_t argc = Word(sp);
    uint64_t at = sp + 8;
    for (uint64_t i = 0; i < argc; ++i, at += 8) stack.argv.push_back(Text(Word(at)));
    CHECK(Word(at) == 0);
    for (at += 8; Word(at) != 0; at += 8) stack.envp.push_back(Text(Word(at)));
    for (at += 8; Word(at) != AT_NULL; at += 16) stack.auxv[Word(at)] = Word(at + 8);
    return stack;
  }
};

TEST_CASE("a static program is mapped, its bss is zero, its stack is complete") {
  Fixture f;
  auto image = f.Load(TestElf().Bytes());
  REQUIRE(image.ok());
  CHECK(image->entry.rip == kTestText + kTestCodeOffset);
  CHECK(image->comm == "prog");
  CHECK(f.Word(kTestText + kTestCodeOffset) == 0x2abf0000003cb8);
  CHECK(f.Word(kTestData + 0x108) == 0x6665646362613938);
  CHECK(f.Word(kTestData + 0x110) == 0);
  CHECK(f.Word(kTestData + 0x21f8) == 0);
  CHECK(GuestWrite(*f.mm, kTestData + 0x2000, 1) == FaultResult::kHandled);
  CHECK(f.mm->HandleFault(VirtAddr(kTestText), Access::kWrite) == FaultResult::kAccessError);
  CHECK(f.mm->HandleFault(VirtAddr(kTestText), Access::kExec) == FaultResult::kHandled);
  CHECK(f.mm->HandleFault(VirtAddr(kTestData), Access::kExec) == FaultResult::kAccessError);

  const auto stack = f.ReadStack(image->entry.rsp);
  CHECK(stack.argv == std::vector<std::string>{"prog", "one"});
  CHECK(stack.envp == std::vector<std::string>{"A=1"});
  CHECK(stack.auxv.at(AT_PHDR) == kTestText + sizeof(Elf64_Ehdr));
  CHECK(stack.auxv.at(AT_PHNUM) == 3);
  CHECK(stack.auxv.at(AT_ENTRY) == kTestText + kTestCodeOffset);
  CHECK(stack.auxv.at(AT_PAGESZ) == 4096);
  CHECK(stack.auxv.at(AT_BASE) == 0);
  CHECK(stack.auxv.at(AT_SECURE) == 0);
  CHECK(f.Text(stack.auxv.at(AT_EXECFN)) == "/bin/prog");
  CHECK(f.Text(stack.auxv.at(AT_PLATFORM)) == "x86_64");
  CHECK(f.Word(stack.auxv.at(AT_RANDOM)) != 0);
  CHECK(f.mm->Brk(VirtAddr(0)).value() >= kTestData + 0x3000);
  CHECK(f.mm->Brk(VirtAddr(0)).value() < kTestData + 0x3000 + 0x02000000);
}

TEST_CASE("the heap and the stack of a program grow") {
  Fixture f;
  auto image = f.Load(TestElf().Bytes());
  REQUIRE(image.ok());
  const uint64_t brk = f.mm->Brk(VirtAddr(0)).value();
  CHECK(f.mm->Brk(VirtAddr(brk + 0x21000)).value() == brk + 0x21000);
  CHECK(GuestWrite(*f.mm, (brk + 0x20000) & ~7ull, 1) == FaultResult::kHandled);
  CHECK(GuestWrite(*f.mm, (image->entry.rsp & ~0xfffull) - 0x400000, 1) == FaultResult::kHandled);
}

TEST_CASE("a static PIE goes among the mmaps, aligned as it asks") {
  Fixture f;
  TestElf elf(ET_DYN);
  elf.phdrs[0].p_align = elf.phdrs[1].p_align = 0x200000;
  auto image = f.Load(elf.Bytes());
  REQUIRE(image.ok());
  const uint64_t base = image->entry.rip - kTestCodeOffset;
  CHECK(base % 0x200000 == 0);
  CHECK(base > 0x7f0000000000 - 0x20000000000);
  CHECK(f.Word(base + kTestData - kTestText + 0x100) == 0x3736353433323130);
  CHECK(f.ReadStack(image->entry.rsp).auxv.at(AT_PHDR) == base + sizeof(Elf64_Ehdr));
  CHECK(f.mm->Brk(VirtAddr(0)).value() >= 0x555555554000);
}

TEST_CASE("a program with an interpreter starts in it") {
  Fixture f;
  f.files["/lib/ld.so"] = TestElf(ET_DYN).Bytes();
  auto image = f.Load(TestElf(ET_DYN, "/lib/ld.so").Bytes());
  REQUIRE(image.ok());
  const auto stack = f.ReadStack(image->entry.rsp);
  CHECK(stack.auxv.at(AT_BASE) + kTestCodeOffset == image->entry.rip);
  const uint64_t base = stack.auxv.at(AT_ENTRY) - kTestCodeOffset;
  CHECK(base >= 0x555555554000);
  CHECK(base < 0x665555555000);
  CHECK(f.opened == std::vector<std::string>{"/lib/ld.so"});
  CHECK(f.Load(TestElf(ET_DYN, "/lib/missing").Bytes()).error() == Errno::kNOENT);
  f.files["/lib/ld.so"] = "not an ELF file";
  CHECK(f.Load(TestElf(ET_DYN, "/lib/ld.so").Bytes()).error() == Errno::kLIBBAD);
}

TEST_CASE("scripts run their interpreter") {
  Fixture f;
  f.files["/bin/sh"] = TestElf().Bytes();
  f.files["/bin/outer"] = "#!/bin/sh -x  y \n";
  f.request.path = "dir/script";
  auto image = f.Load("#! /bin/outer\t\necho\n");
  REQUIRE(image.ok());
  CHECK(f.ReadStack(image->entry.rsp).argv ==
        std::vector<std::string>{"/bin/sh", "-x  y", "/bin/outer", "dir/script", "one"});
  CHECK(f.Text(f.ReadStack(image->entry.rsp).auxv.at(AT_EXECFN)) == "dir/script");
  CHECK(image->exe_path == "/bin/sh");
  CHECK(image->comm == "script");
  CHECK(f.Load("#!/bin/missing\n").error() == Errno::kNOENT);
  f.files["/loop"] = "#!/loop\n";
  CHECK(f.Load("#!/loop\n").error() == Errno::kLOOP);
}

TEST_CASE("the stack is executable only if the program says so") {
  Fixture f;
  TestElf elf;
  auto image = f.Load(elf.Bytes());
  CHECK(f.mm->HandleFault(VirtAddr(image->entry.rsp), Access::kExec) == FaultResult::kAccessError);
  elf.phdrs[2].p_flags = PF_R | PF_W | PF_X;
  image = f.Load(elf.Bytes());
  CHECK(f.mm->HandleFault(VirtAddr(image->entry.rsp), Access::kExec) == FaultResult::kHandled);
}

TEST_CASE("arguments are bounded") {
  Fixture f;
  const std::string elf = TestElf().Bytes();
  f.request.argv = {"prog", std::string(131071, 'a')};
  CHECK(f.Load(elf).ok());
  f.request.argv = {"prog", std::string(131072, 'a')};
  CHECK(f.Load(elf).error() == Errno::k2BIG);
  f.request.argv.assign(20, std::string(100000, 'a'));
  CHECK(f.Load(elf).ok());
  f.request.argv.assign(21, std::string(100000, 'a'));
  CHECK(f.Load(elf).error() == Errno::k2BIG);
  f.request.argv.assign(300000, "");
  CHECK(f.Load(elf).error() == Errno::k2BIG);
  f.request.argv = {};
  auto image = f.Load(elf);
  REQUIRE(image.ok());
  CHECK(f.ReadStack(image->entry.rsp).argv == std::vector<std::string>{""});
}

TEST_CASE("the vDSO and its time page are mapped") {
  Fixture f;
  auto vdso = Vdso::Create(&f.platform);
  REQUIRE(vdso.ok());
  f.request.vdso = vdso->get();
  auto image = f.Load(TestElf().Bytes());
  REQUIRE(image.ok());
  const uint64_t at = f.ReadStack(image->entry.rsp).auxv.at(AT_SYSINFO_EHDR);
  CHECK((f.Word(at) & 0xffffffff) == 0x464c457f);
  CHECK(f.mm->HandleFault(VirtAddr(at), Access::kExec) == FaultResult::kHandled);
  CHECK(f.mm->HandleFault(VirtAddr(at - kPageSize), Access::kRead) == FaultResult::kHandled);
  CHECK(f.mm->HandleFault(VirtAddr(at - kPageSize), Access::kWrite) == FaultResult::kAccessError);
  CHECK(f.mm->Protect(VirtAddr(at - kPageSize), kPageSize, Prot::RW()).error() == Errno::kACCES);
}

TEST_CASE("memory that runs out is an error of execve") {
  Fixture f;
  const std::string elf = TestElf().Bytes();
  std::vector<FrameRun> taken;
  while (true) {
    auto run = f.platform.memory().Allocate(1);
    if (!run.ok()) break;
    taken.push_back(*run);
  }
  for (int i = 0; i < 12; ++i) {
    f.platform.memory().Unref(taken.back());
    taken.pop_back();
  }
  const auto image = f.Load(elf);
  CHECK((image.ok() || image.error() == Errno::kNOMEM || image.error() == Errno::kFAULT));
  for (const FrameRun& run : taken) f.platform.memory().Unref(run);
}

}  // namespace
}  // namespace ringfence::sentry
