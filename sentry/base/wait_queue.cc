#include "sentry/base/wait_queue.h"

namespace ringfence::sentry {

namespace {
// Orders the end of a queue against Detach of an entry on it.
ABSL_CONST_INIT absl::Mutex detach_mutex(absl::kConstInit);
}  // namespace

WaitQueue::~WaitQueue() {
  if (empty()) return;  // and nobody can come: the owner is going
  absl::MutexLock detach_lock(&detach_mutex);
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

void WaitQueue::Detach(WaitEntry* entry) {
  absl::MutexLock detach_lock(&detach_mutex);
  if (entry->queue_ != nullptr) entry->queue_->Remove(entry);
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
