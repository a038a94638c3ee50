// PollSet: waits for any of several files (poll(2), select(2)).
//
// Readiness is asked from the files themselves (File::Poll); wait queues only say when to ask
// again. The first look registers nowhere, so that a call that need not wait is cheap and may be
// served by a service thread.
#ifndef RINGFENCE_SENTRY_SYSCALLS_POLL_SET_H_
#define RINGFENCE_SENTRY_SYSCALLS_POLL_SET_H_

#include <vector>

#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"

namespace ringfence::sentry {

// Bits of poll(2) beyond those of WaitQueue: the "normal data" twins.
inline constexpr EventMask kEventRdNorm = 0x40, kEventRdBand = 0x80, kEventWrNorm = 0x100,
                           kEventWrBand = 0x200;

// A file's readiness with the twins of poll(2) added.
EventMask PollEvents(File& file);

class PollSet {
 public:
  // Ready means: any of `events`.
  void Add(FileRef file, EventMask events);

  // Blocks until at least one file is ready and returns how many are; 0 at the deadline;
  // kRESTARTNOHAND when interrupted; kWOULDBLOCK_RETRY_ON_TASK.
  Result<int64_t> Wait(Task& task, const CallContext& ctx, const Deadline& deadline);

  // What of the asked-for events file i has, as of the last look.
  EventMask ready(size_t i) const { return entries_[i].ready; }
  size_t size() const { return entries_.size(); }
  // Counted as ready from the start (a bad descriptor, POLLNVAL).
  void AddReady(int64_t n) { always_ready_ += n; }

 private:
  struct Entry {
    FileRef file;
    EventMask events;
    EventMask ready = 0;
  };
  int64_t Look(Task& task);
  std::vector<Entry> entries_;
  int64_t always_ready_ = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_SYSCALLS_POLL_SET_H_
