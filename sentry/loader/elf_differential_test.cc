// Each field of an ELF program broken in turn: the host's execve and ours must agree.
//
// Linux has two kinds of failure: an errno from execve, and death by SIGSEGV once the old program
// is gone (our point_of_no_return). A program that loads may still crash when it runs.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>

#include "sentry/loader/loader.h"
#include "sentry/loader/testing.h"
#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

struct Outcome {
  Errno error{};        // execve failed
  bool killed = false;  // SIGSEGV or SIGBUS, before or after the first instruction
  int status = -1;
};

Outcome RunOnHost(const std::string& bytes) {
  char path[] = "/tmp/ringfence_elf_XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  REQUIRE(write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  fchmod(fd, 0755);
  close(fd);
  int pipe_fds[2];
  REQUIRE(pipe2(pipe_fds, O_CLOEXEC) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    // Root may map below mmap_min_addr; programs of a sandbox may not.
    (void)!setresuid(65534, 65534, 65534);
    execl(path, path, nullptr);
    const int error = errno;
    (void)!write(pipe_fds[1], &error, sizeof(error));
    _exit(127);
  }
  close(pipe_fds[1]);
  int error = 0, status = 0;
  const bool failed = read(pipe_fds[0], &error, sizeof(error)) == sizeof(error);
  close(pipe_fds[0]);
  waitpid(pid, &status, 0);
  unlink(path);
  Outcome outcome;
  if (failed) {
    outcome.error = FromHostErrno(error);
  } else if (WIFSIGNALED(status)) {
    outcome.killed = true;
  } else {
    outcome.status = WEXITSTATUS(status);
  }
  return outcome;
}

struct Loader {
  MemoryPlatform platform;
  MemoryManagerRef mm;
  bool committed = false;

  Result<LoadedImage> Load(const std::string& bytes) {
    mm = *MemoryManager::Create(&platform);
    committed = false;
    LoadRequest request;
    request.ctx.creds = std::make_shared<Credentials>();
    request.executable = std::make_shared<MemoryFile>(&platform.memory(), bytes);
    request.path = request.exe_path = "/prog";
    request.open = [](std::string_view) -> Result<FileRef> { return Errno::kNOENT; };
    request.argv = {"prog"};
    request.mm = mm.get();
    request.point_of_no_return = &committed;
    return LoadImage(request);
  }
};

void Compare(const char* what, const TestElf& elf) {
  static Loader loader;
  const std::string bytes = elf.Bytes();
  const Outcome host = RunOnHost(bytes);
  const auto ours = loader.Load(bytes);
  INFO(what << ": host error " << static_cast<int>(host.error) << " killed " << host.killed
            << " status " << host.status << "; ours "
            << (ours.ok() ? 0 : static_cast<int>(ours.error())) << " committed "
            << loader.committed);
  if (ours.ok()) {
    CHECK(host.error == Errno{});
    // Where the first instruction is the program's, it also ends as the program does.
    if (host.status == 42) {
      CHECK(loader.mm->HandleFault(VirtAddr(ours->entry.rip), Access::kExec) ==
            FaultResult::kHandled);
    }
  } else if (loader.committed) {
    CHECK(host.killed);
  } else {
    CHECK(host.error == ours.error());
  }
}

const uint64_t kValues[] = {0,
                            1,
                            2,
                            3,
                            7,
                            0x38,
                            0x40,
                            0x1000,
                            0x7fff,
                            0x8000,
                            0xffff,
                            uint64_t{1} << 31,
                            uint64_t{1} << 46,
                            uint64_t{1} << 47,
                            0x7ffffffff000,
                            ~uint64_t{0} >> 1,
                            ~uint64_t{0} - 4095,
                            ~uint64_t{0}};

TEST_CASE("an unbroken program exits with 42 on the host") {
  for (uint16_t type : {ET_EXEC, ET_DYN}) CHECK(RunOnHost(TestElf(type).Bytes()).status == 42);
}

TEST_CASE("each field of the ELF header") {
  for (uint16_t type : {ET_EXEC, ET_DYN}) {
    for (int i = 0; i < EI_NIDENT; ++i) {
      TestElf elf(type);
      elf.header.e_ident[i] ^= 0x41;
      Compare("e_ident", elf);
    }
    for (uint64_t v : kValues) {
      TestElf elf(type);
      const auto with = [&](const char* what, auto member) {
        TestElf broken = elf;
        broken.header.*member =
            static_cast<std::remove_reference_t<decltype(elf.header.*member)>>(v);
        Compare(what, broken);
      };
      with("e_type", &Elf64_Ehdr::e_type);
      with("e_machine", &Elf64_Ehdr::e_machine);
      with("e_version", &Elf64_Ehdr::e_version);
      with("e_entry", &Elf64_Ehdr::e_entry);
      with("e_phoff", &Elf64_Ehdr::e_phoff);
      with("e_shoff", &Elf64_Ehdr::e_shoff);
      with("e_flags", &Elf64_Ehdr::e_flags);
      with("e_ehsize", &Elf64_Ehdr::e_ehsize);
      with("e_phentsize", &Elf64_Ehdr::e_phentsize);
      with("e_phnum", &Elf64_Ehdr::e_phnum);
    }
  }
}

TEST_CASE("each field of each program header") {
  for (uint16_t type : {ET_EXEC, ET_DYN}) {
    for (int ph = 0; ph < 3; ++ph) {
      for (uint64_t v : kValues) {
        TestElf elf(type);
        const auto with = [&](const char* what, auto member) {
          TestElf broken = elf;
          auto& field = broken.phdrs[ph].*member;
          field = static_cast<std::remove_reference_t<decltype(field)>>(v);
          Compare(what, broken);
        };
        with("p_type", &Elf64_Phdr::p_type);
        with("p_flags", &Elf64_Phdr::p_flags);
        with("p_offset", &Elf64_Phdr::p_offset);
        with("p_vaddr", &Elf64_Phdr::p_vaddr);
        with("p_paddr", &Elf64_Phdr::p_paddr);
        with("p_filesz", &Elf64_Phdr::p_filesz);
        with("p_memsz", &Elf64_Phdr::p_memsz);
        with("p_align", &Elf64_Phdr::p_align);
      }
    }
  }
}

TEST_CASE("broken PT_INTERP") {
  TestElf elf(ET_DYN, "/nonexistent/ld.so");
  Compare("missing", elf);
  for (uint64_t v : kValues) {
    TestElf broken = elf;
    broken.phdrs[3].p_filesz = v;
    Compare("interp p_filesz", broken);
    broken = elf;
    broken.phdrs[3].p_offset = v;
    Compare("interp p_offset", broken);
  }
}

TEST_CASE("truncated at every length") {
  const std::string whole = TestElf().Bytes();
  static Loader loader;
  for (size_t n :
       {0, 1, 2, 3, 4, 16, 17, 18, 20, 63, 64, 65, 119, 120, 200, 231, 232, 233, 0x200}) {
    const std::string bytes = whole.substr(0, n);
    const Outcome host = RunOnHost(bytes);
    const auto ours = loader.Load(bytes);
    INFO("length " << n);
    if (!ours.ok() && !loader.committed) CHECK(host.error == ours.error());
    if (!ours.ok() && loader.committed) CHECK(host.killed);
    if (ours.ok()) CHECK(host.error == Errno{});
  }
}

}  // namespace
}  // namespace ringfence::sentry
