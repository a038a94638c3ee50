#include "sentry/loader/stack.h"

#include <elf.h>
#include <sys/random.h>

#include "sentry/arch/elf_arch.h"
#include "sentry/loader/elf_map.h"
#include "sentry/loader/loader.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kInitialRoom = 128 << 10;  // stack_expand of setup_arg_pages

uint64_t StringBytes(const std::vector<std::string>& strings) {
  uint64_t bytes = 0;
  for (const std::string& s : strings) bytes += s.size() + 1;
  return bytes;
}

// Appends NUL-terminated strings to `bytes`, which will start at `base`; returns their addresses.
std::vector<uint64_t> Append(const std::vector<std::string>& strings, uint64_t base,
                             std::string* bytes) {
  std::vector<uint64_t> addresses;
  addresses.reserve(strings.size());
  for (const std::string& s : strings) {
    addresses.push_back(base + bytes->size());
    bytes->append(s.c_str(), s.size() + 1);
  }
  return addresses;
}

}  // namespace

Result<void> CheckArguments(const StackRequest& request) {
  const auto& argv = *request.argv;
  const auto& envp = *request.envp;
  if (argv.size() > kMaxArgStrings || envp.size() > kMaxArgStrings) return Errno::k2BIG;
  for (const auto* strings : {&argv, &envp}) {
    for (const std::string& s : *strings) {
      if (s.size() + 1 > kMaxArgLength) return Errno::k2BIG;
    }
  }
  const uint64_t limit = ArgumentLimit(request.stack_limit);
  const uint64_t pointers = (std::max<uint64_t>(argv.size(), 1) + envp.size()) * sizeof(uint64_t);
  if (limit <= pointers) return Errno::k2BIG;
  const uint64_t strings = StringBytes(argv) + StringBytes(envp) + request.exec_name.size() + 1;
  return strings > limit - pointers ? Result<void>(Errno::k2BIG) : Ok();
}

Result<InitialStack> InitialStack::Map(MemoryManager& mm, const StackRequest& request) {
  const ElfArch& arch = GetElfArch();
  uint64_t end = platform::kUserEnd.value();
  if (request.randomize) end -= RandomBelow(arch.stack_random_pages) << kPageShift;

  // From the top: 8 zero bytes, name of the file, envp, argv.
  const uint64_t bytes = StringBytes(*request.argv) + StringBytes(*request.envp) +
                         request.exec_name.size() + 1 + sizeof(uint64_t);
  InitialStack stack;
  stack.argv_start_ = end - bytes;
  std::string block;
  block.reserve(bytes);
  stack.argv_ = Append(*request.argv, stack.argv_start_, &block);
  stack.argv_end_ = stack.argv_start_ + block.size();
  stack.envp_ = Append(*request.envp, stack.argv_start_, &block);
  stack.envp_end_ = stack.exec_name_ = stack.argv_start_ + block.size();
  block.append(request.exec_name.data(), request.exec_name.size());
  block.append(1 + sizeof(uint64_t), '\0');

  uint64_t sp = stack.argv_start_;
  if (request.randomize) sp -= RandomBelow(8192);
  sp &= ~uint64_t{15};
  const std::string_view platform(arch.platform);
  sp -= platform.size() + 1;
  stack.platform_ = sp;
  sp -= 16;
  stack.random_ = sp;
  stack.top_ = sp;

  // Pointers, auxiliary vector and what Linux gives beyond.
  const uint64_t vectors = (stack.argv_.size() + stack.envp_.size() + 64) * sizeof(uint64_t);
  MapRequest map;
  map.addr = VirtAddr(PageDown(sp - vectors - kInitialRoom));
  map.length = end - map.addr.value();
  map.prot = {true, true, request.executable};
  map.fixed_noreplace = true;
  map.grows_down = true;
  map.kind = VmaKind::kStack;
  map.name = "[stack]";
  TRY(mm.Map(map));
  TRY(mm.CopyOut(VirtAddr(stack.argv_start_), block.data(), block.size()));
  TRY(mm.CopyOut(VirtAddr(stack.platform_), arch.platform, platform.size() + 1));
  uint8_t random[16];
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) return Errno::kIO;
  TRY(mm.CopyOut(VirtAddr(stack.random_), random, sizeof(random)));
  return stack;
}

Result<VirtAddr> InitialStack::Finish(MemoryManager& mm, Auxv auxv,
                                      MemoryManager::ImageInfo* image) const {
  auxv.emplace_back(AT_RANDOM, random_);
  auxv.emplace_back(AT_EXECFN, exec_name_);
  auxv.emplace_back(AT_PLATFORM, platform_);
  auxv.emplace_back(AT_NULL, 0);

  std::vector<uint64_t> words;
  words.push_back(argv_.size());
  words.insert(words.end(), argv_.begin(), argv_.end());
  words.push_back(0);
  words.insert(words.end(), envp_.begin(), envp_.end());
  words.push_back(0);
  image->auxv.clear();
  for (const auto& [tag, value] : auxv) {
    image->auxv.push_back(tag);
    image->auxv.push_back(value);
  }
  words.insert(words.end(), image->auxv.begin(), image->auxv.end());

  const VirtAddr sp((top_ - words.size() * sizeof(uint64_t)) & ~uint64_t{15});
  TRY(mm.CopyOut(sp, words.data(), words.size() * sizeof(uint64_t)));
  image->arg_start = VirtAddr(argv_start_);
  image->arg_end = image->env_start = VirtAddr(argv_end_);
  image->env_end = VirtAddr(envp_end_);
  image->stack_start = sp;
  return sp;
}

}  // namespace ringfence::sentry
