#include "sentry/syscalls/poll_set.h"

#include <deque>

#include "sentry/fs/signalfd/signalfd.h"
#include "sentry/kernel/thread_group.h"

namespace ringfence::sentry {

namespace {

EventMask WithTwins(EventMask events) {
  if ((events & kEventIn) != 0) events |= kEventRdNorm;
  if ((events & kEventOut) != 0) events |= kEventWrNorm;
  return events;
}

}  // namespace

EventMask PollEvents(File& file) { return WithTwins(file.Poll()); }

void PollSet::Add(FileRef file, EventMask events) { entries_.push_back({std::move(file), events}); }

int64_t PollSet::Look(Task& task) {
  int64_t count = always_ready_;
  for (Entry& entry : entries_) {
    SignalFd* const signals = entry.file->AsSignal();
    const EventMask events =
        signals == nullptr ? PollEvents(*entry.file) : WithTwins(signals->PollFor(task));
    entry.ready = events & entry.events;
    if (entry.ready != 0) ++count;
  }
  return count;
}

Result<int64_t> PollSet::Wait(Task& task, const CallContext& ctx, const Deadline& deadline) {
  int64_t count = Look(task);
  if (count != 0 || deadline.Passed()) return count;
  TRY(ctx.RequireBlocking());
  std::deque<TaskWaiter> waiters;
  for (Entry& entry : entries_) {
    TaskWaiter& waiter = waiters.emplace_back(task);
    WaitQueue* const queue =
        entry.file->AsSignal() != nullptr ? &task.group().signal_queue() : entry.file->wait_queue();
    if (queue != nullptr) queue->Add(&waiter, entry.events);
  }
  Result<int64_t> result = int64_t{0};
  while (true) {
    count = Look(task);
    if (count != 0) {
      result = count;
      break;
    }
    const Result<void> slept = task.Block(deadline);
    if (slept.ok()) continue;
    // What became ready meanwhile counts before the signal or the time.
    count = Look(task);
    result = count;
    if (count == 0 && slept.error() != Errno::kTIMEDOUT) result = Errno::kRESTARTNOHAND;
    break;
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    WaitQueue* const queue = entries_[i].file->wait_queue();
    if (queue != nullptr) queue->Remove(&waiters[i]);
  }
  return result;
}

}  // namespace ringfence::sentry
