// Vdso: the shared object that the sandbox maps into every program, and the page of time
// parameters (vvar) it reads. One per sandbox.
//
// The code is ours (vdso.c), linked by the build and embedded as bytes; vdso(7) names its symbols.
// Layout in a process: [vvar page][vDSO pages], at an address picked by the MemoryManager.
//
// Threads: Map from any; see time_page.h for the time page.
#ifndef RINGFENCE_SENTRY_LOADER_VDSO_VDSO_H_
#define RINGFENCE_SENTRY_LOADER_VDSO_VDSO_H_

#include <memory>

#include "platform/api/platform.h"
#include "sentry/loader/vdso/time_page.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

class Vdso {
 public:
  // Takes frames for the vDSO and the time page, which is filled at once. ENOMEM.
  static Result<std::unique_ptr<Vdso>> Create(platform::Platform* platform);

  // Maps both; returns the address of the ELF header (AT_SYSINFO_EHDR). ENOMEM.
  Result<VirtAddr> Map(MemoryManager& mm) const;

  TimePage& time() const { return *time_; }

 private:
  Vdso() = default;
  std::unique_ptr<TimePage> time_;
  MappableRef code_;
  MappableRef vvar_;
  uint64_t code_bytes_ = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_VDSO_VDSO_H_
