#include "platform/mem/invalidation_batch.h"

#include <algorithm>

#include "platform/base/check.h"

namespace ringfence::platform {
namespace {

// A host call costs as much as paging two or three frames in again.
constexpr uint64_t kMaxGap = 8;

}  // namespace

InvalidationBatch::~InvalidationBatch() { Check(runs_.empty(), "invalidations were flushed"); }

void InvalidationBatch::Add(FrameRun run) {
  if (!runs_.empty() && runs_.back().end() == run.first) {
    runs_.back().count += run.count;
  } else {
    runs_.push_back(run);
  }
}

void InvalidationBatch::Flush() {
  if (runs_.empty()) return;
  std::sort(runs_.begin(), runs_.end(),
            [](const FrameRun& a, const FrameRun& b) { return a.first < b.first; });
  FrameRun area = runs_.front();
  for (const FrameRun& run : runs_) {
    // A frame can occur twice: runs may overlap.
    if (run.first.index <= area.end().index + kMaxGap &&
        memory_->IsFileFrame(run.first) == memory_->IsFileFrame(area.first)) {
      area.count = std::max(area.end().index, run.end().index) - area.first.index;
    } else {
      memory_->Invalidate(area);
      area = run;
    }
  }
  memory_->Invalidate(area);
  runs_.clear();
}

}  // namespace ringfence::platform
