// InvalidationBatch: collects frames whose translations were removed or downgraded and invalidates
// them with as few host calls as possible (7 us and more each).
#ifndef RINGFENCE_PLATFORM_MEM_INVALIDATION_BATCH_H_
#define RINGFENCE_PLATFORM_MEM_INVALIDATION_BATCH_H_

#include <vector>

#include "platform/base/addr.h"
#include "platform/mem/guest_memory.h"

namespace ringfence::platform {

class InvalidationBatch {
 public:
  explicit InvalidationBatch(GuestMemory* memory) : memory_(memory) {}
  ~InvalidationBatch();
  InvalidationBatch(const InvalidationBatch&) = delete;
  InvalidationBatch& operator=(const InvalidationBatch&) = delete;

  void Add(FrameRun run);
  // Runs added and not yet flushed, after joining consecutive ones.
  size_t runs() const { return runs_.size(); }
  // GuestMemory::Invalidate on everything added; runs a few frames apart share a call, at the
  // price that the frames between are paged in again.
  void Flush();

 private:
  GuestMemory* const memory_;
  std::vector<FrameRun> runs_;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_INVALIDATION_BATCH_H_
