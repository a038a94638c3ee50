// The initial stack of a program: strings, argc, argv, envp and the auxiliary vector.
#ifndef RINGFENCE_SENTRY_LOADER_STACK_H_
#define RINGFENCE_SENTRY_LOADER_STACK_H_

#include <string>
#include <utility>
#include <vector>

#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

using Auxv = std::vector<std::pair<uint64_t, uint64_t>>;

struct StackRequest {
  const std::vector<std::string>* argv = nullptr;
  const std::vector<std::string>* envp = nullptr;
  std::string_view exec_name;  // AT_EXECFN
  const char* platform = "";   // AT_PLATFORM
  bool executable = false;
  bool randomize = true;
  uint64_t stack_limit = 0;  // RLIMIT_STACK
};

// Bounds of argv and envp (E2BIG); nothing is mapped yet.
Result<void> CheckArguments(const StackRequest& request);

// A stack VMA with the strings on it. The vectors come in a second step, when the auxiliary vector
// is known.
class InitialStack {
 public:
  // ENOMEM, EFAULT (guest memory is exhausted).
  static Result<InitialStack> Map(MemoryManager& mm, const StackRequest& request);

  // Writes argc, argv, envp and `auxv`, to which AT_RANDOM, AT_EXECFN, AT_PLATFORM and AT_NULL are
  // added; returns the stack pointer and fills the argument fields of `image`.
  Result<VirtAddr> Finish(MemoryManager& mm, Auxv auxv, MemoryManager::ImageInfo* image) const;

 private:
  uint64_t argv_start_ = 0, argv_end_ = 0, envp_end_ = 0;
  uint64_t exec_name_ = 0, platform_ = 0, random_ = 0;
  uint64_t top_ = 0;  // everything below is free
  std::vector<uint64_t> argv_, envp_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_STACK_H_
