// The FPU part of a signal frame: an XSAVE image with the software bytes Linux adds.
#ifndef RINGFENCE_SENTRY_ARCH_X86_64_XSTATE_H_
#define RINGFENCE_SENTRY_ARCH_X86_64_XSTATE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "platform/api/arch_state.h"
#include "platform/base/result.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

// Bytes of the image and FP_XSTATE_MAGIC2 behind it.
inline size_t XstateFrameSize() { return platform::FpuState::size() + sizeof(uint32_t); }

std::vector<std::byte> MakeXstateFrame(const platform::FpuState& fpu);

// Reads what rt_sigreturn finds at `addr` (null: initial state). Takes the extended state only if
// both magics and the sizes are right, else the FXSAVE part alone, as Linux does. EFAULT; EINVAL
// for an image that XRSTOR would refuse.
Result<platform::FpuState> ReadXstateFrame(MemoryManager& mm, VirtAddr addr);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_ARCH_X86_64_XSTATE_H_
