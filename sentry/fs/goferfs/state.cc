#include "sentry/fs/goferfs/state.h"

#include <vector>

#include "sentry/fs/goferfs/inode.h"

namespace ringfence::sentry {
namespace {

// More objects than this are not remembered one by one.
constexpr size_t kMaxDirty = 64 * 1024;

}  // namespace

uint64_t GoferState::DeviceFor(uint64_t host_device) {
  absl::MutexLock lock(&mutex);
  auto [it, fresh] = devices.try_emplace(host_device, 0);
  if (fresh) it->second = AllocateDeviceId();
  return it->second;
}

void GoferState::MarkDirty(const gofer::Attributes& attr) {
  if (shared()) return;  // listings are not believed there
  absl::MutexLock lock(&mutex);
  dirty_.emplace(attr.dev, attr.ino);
  if (dirty_.size() <= kMaxDirty) return;
  overflowed_ = true;
  dirty_.clear();
}

bool GoferState::IsDirty(const gofer::Attributes& attr) {
  absl::MutexLock lock(&mutex);
  return overflowed_ || dirty_.contains({attr.dev, attr.ino});
}

}  // namespace ringfence::sentry
