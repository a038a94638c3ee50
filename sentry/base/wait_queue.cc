#include "sentry/base/wait_queue.h"

namespace ringfence::sentry {

WaitQueue::~WaitQueue() {
  absl::MutexLock lock(&mutex_);
  for (WaitEntry* entry : entries_) entry->queue_ = nullptr;
}

void WaitQueue::Add(WaitEntry* entry, EventMask mask) {
  absl::MutexLock lock(&mutex_);
  entry->mask_ = mask | kEventErr | kEventHup;
  if (entry->queue_ == this) return;
  entry->queue_ = this;
  entry->position_ = entries_.insert(entries_.end(), entry);
}

void WaitQueue::Remove(WaitEntry* entry) {
  absl::MutexLock lock(&mutex_);
  if (entry->queue_ != this) return;
  entries_.erase(entry->position_);
  entry->queue_ = nullptr;
}

void WaitQueue::Notify(EventMask events) {
  absl::MutexLock lock(&mutex_);
  for (WaitEntry* entry : entries_) {
    if ((entry->mask_ & events) != 0) entry->Wake(events & entry->mask_);
  }
}

bool WaitQueue::empty() const {
  absl::MutexLock lock(&mutex_);
  return entries_.empty();
}

}  // namespace ringfence::sentry
