// Terminal: a pseudo-terminal (pty(7)): a line discipline between a program's side ("slave", a
// device /dev/pts/N) and the side of who plays keyboard and screen ("master": a file of the guest
// opened from /dev/ptmx, or the console of `ringfence do -t`).
//
// Nothing blocks: EAGAIN, and the wait queue of the side says when to ask again. When the
// keyboard's side goes, the terminal is hung up (SIGHUP and SIGCONT to the session's leader; reads
// give 0, all else EIO). When the last program has closed its side, the other reads EIO after what
// was left.
//
// Threads: any. Lock order: mutex_ is held while guest memory is copied, so it is above mm's locks;
// signals are sent and waiters woken without it, so it is unrelated to task_tree_mutex.
#ifndef RINGFENCE_SENTRY_FS_TTY_TERMINAL_H_
#define RINGFENCE_SENTRY_FS_TTY_TERMINAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/result.h"
#include "sentry/base/wait_queue.h"
#include "sentry/fs/tty/line_discipline.h"
#include "sentry/kernel/timer_queue.h"
#include "sentry/mm/user_io.h"
#include "sentry/vfs/job_control.h"

namespace ringfence::sentry {

class Terminal {
 public:
  // Keys that wait until the line discipline has room (Linux: one flip buffer).
  static constexpr size_t kKeyCapacity = 8192;

  struct Options {
    uint32_t index = 0;
    std::unique_ptr<JobControl> job_control;  // null: none (tests)
    TimerQueue* timers = nullptr;             // outlives it; null: VTIME between bytes is ignored
    Termios termios = DefaultTermios();
    WindowSize size;
  };
  explicit Terminal(Options options);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  uint32_t index() const { return index_; }
  JobControl* job_control() const { return job_control_.get(); }

  // --- the program's side; job control has been asked ---
  // EIO: locked or hung up. EBUSY: exclusive.
  Result<void> OpenProgramSide(bool privileged);
  void CloseProgramSide();
  Result<size_t> Read(UserIo& io, bool nonblocking);
  Result<size_t> Write(UserIo& io);
  // How long a read without bytes may wait (VMIN 0, VTIME), in ns; negative: without end.
  int64_t ReadTimeoutNs() const;
  // Background writers are stopped (TOSTOP).
  bool StopsWriters() const;
  bool hung_up() const;
  EventMask PollProgramSide();
  WaitQueue& program_queue() { return program_queue_; }

  // --- keyboard and screen ---
  Result<size_t> ReadOutput(UserIo& io);
  Result<size_t> Type(UserIo& io);
  // The same for who has bytes of the sentry; how many were moved. `ended`: no program has the
  // terminal open any more and all output has been taken.
  size_t TakeOutput(char* dst, size_t n, bool* ended);
  size_t Type(std::string_view keys);
  // There will be no more keys: a read that would wait in canonical mode finds the end-of-file
  // character (VEOF), in other modes it finds it once each time that mode is set. So a program sees
  // the end as it would that of a pipe.
  void EndInput();
  void HangUp();
  EventMask PollScreen();
  WaitQueue& screen_queue() { return screen_queue_; }

  // --- settings, for the ioctls of both sides ---
  Termios termios() const;
  void SetTermios(Termios settings, bool flush_input);
  WindowSize window_size() const;
  void SetWindowSize(const WindowSize& size);  // SIGWINCH when it changed
  enum class Queue { kInput, kOutput, kBoth };
  void Flush(Queue queue);
  enum class Flow { kStopOutput, kStartOutput, kSendStop, kSendStart };
  void SetFlow(Flow flow);
  size_t InputBytes() const;
  size_t OutputBytes() const;
  void SetLocked(bool locked);
  bool locked() const;
  void SetExclusive(bool exclusive);
  bool exclusive() const;
  void SetPacketMode(bool on);
  bool packet_mode() const;

 private:
  using Effects = LineDiscipline::Effects;

  // Moves waiting keys into the line discipline.
  void PumpLocked(Effects* effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TypeEndOfInputLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayEndInputLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayReadLocked(uint64_t wanted, bool nonblocking) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteFlushLocked(const Effects& effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteFlowLocked(bool was_stopped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartQuietTimerLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void QuietTimeOver();
  // After the mutex has been given back.
  void Finish(const Effects& effects);
  void WakeAll();

  const uint32_t index_;
  const std::unique_ptr<JobControl> job_control_;
  TimerQueue* const timers_;
  WaitQueue program_queue_, screen_queue_;

  mutable absl::Mutex mutex_;
  LineDiscipline discipline_ ABSL_GUARDED_BY(mutex_);
  std::string keys_ ABSL_GUARDED_BY(mutex_);
  WindowSize size_ ABSL_GUARDED_BY(mutex_);
  uint32_t programs_ ABSL_GUARDED_BY(mutex_) = 0;
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;  // the program's side ever was
  bool hung_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool locked_ ABSL_GUARDED_BY(mutex_) = true;
  bool exclusive_ ABSL_GUARDED_BY(mutex_) = false;
  bool packets_ ABSL_GUARDED_BY(mutex_) = false;
  uint8_t packet_status_ ABSL_GUARDED_BY(mutex_) = 0;  // TIOCPKT_* that were not read yet
  bool input_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool end_typed_ ABSL_GUARDED_BY(mutex_) = false;  // in the present mode
  bool quiet_ ABSL_GUARDED_BY(mutex_) = false;      // VTIME has passed since the last byte
  std::unique_ptr<Timer> quiet_timer_;              // last: its callback uses all of the above
};
using TerminalRef = std::shared_ptr<Terminal>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TTY_TERMINAL_H_
