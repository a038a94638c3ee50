#include "sentry/loader/loader.h"

#include <elf.h>

#include <array>
#include <optional>

#include "sentry/arch/elf_arch.h"
#include "sentry/arch/signal_frame.h"
#include "sentry/loader/elf_file.h"
#include "sentry/loader/elf_map.h"
#include "sentry/loader/script.h"
#include "sentry/loader/stack.h"

namespace ringfence::sentry {
namespace {

constexpr int kMaxInterpreters = 5;  // beyond: ELOOP (exec_binprm)

// What is left after following #! lines.
struct Program {
  FileRef file;
  std::string exe_path;
  std::vector<std::string> argv;
};

Result<Program> FollowScripts(const LoadRequest& request) {
  Program program{request.executable, request.exe_path, request.argv};
  std::string path = request.path;
  for (int depth = 0;; ++depth) {
    if (depth > kMaxInterpreters) return Errno::kLOOP;
    std::string header(kExecHeaderSize, '\0');
    TRY(ReadAt(request.ctx, *program.file, 0, header.data(), header.size()));
    if (header.compare(0, 2, "#!") != 0) return program;
    const ScriptLine line = TRY(ParseScript(header));
    std::vector<std::string> argv{line.interpreter};
    if (line.argument) argv.push_back(*line.argument);
    argv.push_back(path);
    if (!program.argv.empty()) {
      argv.insert(argv.end(), program.argv.begin() + 1, program.argv.end());
    }
    program.file = TRY(request.open(line.interpreter));
    program.argv = std::move(argv);
    path = program.exe_path = line.interpreter;
  }
}

bool WantsExecutableStack(const ElfFile& elf) {
  for (const Elf64_Phdr& ph : elf.phdrs) {
    if (ph.p_type == PT_GNU_STACK) return (ph.p_flags & PF_X) != 0;
  }
  return false;
}

VirtAddr PickBrk(const MappedElf& program, bool static_pie, bool randomize) {
  const ElfArch& arch = GetElfArch();
  // A static PIE lies among the mmaps: its heap gets the place of ordinary PIEs.
  const uint64_t end = (program.brk.value() + kPageMask) & ~kPageMask;
  const uint64_t start = static_pie ? arch.dyn_base.value() : end;
  const uint64_t pages = arch.brk_random_bytes >> kPageShift;
  return VirtAddr(start + (randomize ? RandomBelow(pages) << kPageShift : 0));
}

Auxv MakeAuxv(const LoadRequest& request, const ElfFile& elf, const MappedElf& program,
              uint64_t interpreter_base, VirtAddr vdso) {
  const Credentials& creds = *request.ctx.creds;
  Auxv auxv;
  if (!vdso.is_null()) auxv.emplace_back(AT_SYSINFO_EHDR, vdso.value());
  auxv.emplace_back(AT_MINSIGSTKSZ, MinSignalStackSize());
  auxv.emplace_back(AT_HWCAP, HardwareCapabilities());
  auxv.emplace_back(AT_PAGESZ, kPageSize);
  auxv.emplace_back(AT_CLKTCK, 100);
  auxv.emplace_back(AT_PHDR, program.phdrs.value());
  auxv.emplace_back(AT_PHENT, sizeof(Elf64_Phdr));
  auxv.emplace_back(AT_PHNUM, elf.header.e_phnum);
  auxv.emplace_back(AT_BASE, interpreter_base);
  auxv.emplace_back(AT_FLAGS, 0);
  auxv.emplace_back(AT_ENTRY, program.entry.value());
  auxv.emplace_back(AT_UID, creds.ruid);
  auxv.emplace_back(AT_EUID, creds.euid);
  auxv.emplace_back(AT_GID, creds.rgid);
  auxv.emplace_back(AT_EGID, creds.egid);
  auxv.emplace_back(AT_SECURE, request.secure ? 1 : 0);
  auxv.emplace_back(AT_HWCAP2, HardwareCapabilities2());
  return auxv;
}

std::string CommOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  return std::string(path.substr(0, 15));
}

}  // namespace

Result<LoadedImage> LoadImage(const LoadRequest& request) {
  TRY(request.ctx.RequireBlocking());
  const bool randomize = request.randomize;
  Program program = TRY(FollowScripts(request));
  if (program.argv.empty()) program.argv.emplace_back();  // as Linux since 5.18
  const ElfFile elf = TRY(ReadElf(request.ctx, program.file, Errno::kNOEXEC));
  std::optional<ElfFile> interpreter;
  if (const auto path = TRY(ReadInterpreterPath(request.ctx, elf))) {
    interpreter = TRY(ReadElf(request.ctx, TRY(request.open(*path)), Errno::kLIBBAD));
  }
  const StackRequest stack_request{.argv = &program.argv,
                                   .envp = &request.envp,
                                   .exec_name = request.path,
                                   .executable = WantsExecutableStack(elf),
                                   .randomize = randomize,
                                   .stack_limit = request.stack_limit};
  TRY(CheckArguments(stack_request));
  if (request.point_of_no_return != nullptr) *request.point_of_no_return = true;

  MemoryManager& mm = *request.mm;
  const InitialStack stack = TRY(InitialStack::Map(mm, stack_request));
  const bool static_pie = elf.header.e_type == ET_DYN && !interpreter;
  const MappedElf mapped =
      TRY(MapElf(mm, elf, static_pie ? ElfRole::kStaticPie : ElfRole::kProgram, randomize));
  VirtAddr entry = mapped.entry;
  uint64_t base = 0;
  if (interpreter) {
    const MappedElf loader = TRY(MapElf(mm, *interpreter, ElfRole::kInterpreter, randomize));
    entry = loader.entry;
    base = loader.bias;
  }
  mm.SetBrkStart(PickBrk(mapped, static_pie, randomize));
  const VirtAddr vdso = request.vdso == nullptr ? VirtAddr(0) : TRY(request.vdso->Map(mm));

  MemoryManager::ImageInfo image;
  const VirtAddr sp = TRY(stack.Finish(mm, MakeAuxv(request, elf, mapped, base, vdso), &image));
  image.code_start = mapped.code_start;
  image.code_end = mapped.code_end;
  image.data_start = mapped.data_start;
  image.data_end = mapped.data_end;
  image.vdso = vdso;
  image.exe_path = program.exe_path;
  image.exe_file = program.file;
  mm.SetImageInfo(std::move(image));
  return LoadedImage{.entry = InitialState(entry, sp),
                     .exe_path = program.exe_path,
                     .executable = program.file,
                     .comm = CommOf(request.path)};
}

}  // namespace ringfence::sentry
