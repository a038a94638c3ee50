#include "sentry/fs/tty/terminal.h"

#include <asm/ioctls.h>

#include <algorithm>
#include <array>
#include <utility>

namespace ringfence::sentry {
namespace {

constexpr int64_t kTenthNs = 100'000'000;  // the unit of VTIME
constexpr EventMask kAllEvents = kEventIn | kEventOut | kEventPri | kEventHup | kEventErr;

}  // namespace

Terminal::Terminal(Options options)
    : index_(options.index),
      job_control_(std::move(options.job_control)),
      timers_(options.timers),
      discipline_(options.termios),
      size_(options.size) {
  if (timers_ != nullptr) {
    quiet_timer_ = std::make_unique<Timer>(timers_, [this](uint64_t) { QuietTimeOver(); });
  }
}

// --- the program's side ---

Result<void> Terminal::OpenProgramSide(bool privileged) {
  absl::MutexLock lock(&mutex_);
  if (locked_ || hung_up_) return Errno::kIO;
  if (exclusive_ && programs_ != 0 && !privileged) return Errno::kBUSY;
  ++programs_;
  opened_ = true;
  return Ok();
}

void Terminal::CloseProgramSide() {
  {
    absl::MutexLock lock(&mutex_);
    if (--programs_ != 0) return;
    packets_ = false;
    exclusive_ = false;
  }
  screen_queue_.Notify(kAllEvents);
}

bool Terminal::MayReadLocked(uint64_t wanted, bool nonblocking) {
  if (!discipline_.Readable()) return false;
  if (discipline_.canonical()) return true;
  const Termios& t = discipline_.termios();
  const uint64_t minimum = std::min<uint64_t>(std::max<cc_t>(t.c_cc[VMIN], 1), wanted);
  return nonblocking || quiet_ || discipline_.Readable(minimum);
}

Result<size_t> Terminal::Read(UserIo& io, bool nonblocking) {
  std::array<char, LineDiscipline::kInputCapacity> bytes;
  Effects effects;
  Result<size_t> moved = size_t{0};
  {
    absl::MutexLock lock(&mutex_);
    if (hung_up_ || io.remaining() == 0) return size_t{0};
    if (!discipline_.Readable() && MayEndInputLocked()) TypeEndOfInputLocked();
    if (!MayReadLocked(io.remaining(), nonblocking)) {
      const Termios& t = discipline_.termios();
      if (discipline_.canonical() || t.c_cc[VMIN] != 0 || t.c_cc[VTIME] != 0) return Errno::kAGAIN;
      return size_t{0};
    }
    const size_t n =
        discipline_.Read(bytes.data(), std::min<uint64_t>(io.remaining(), bytes.size()));
    quiet_ = false;
    if (n != 0) moved = io.Write(bytes.data(), n);
    PumpLocked(&effects);
  }
  Finish(effects);
  screen_queue_.Notify(kEventIn | kEventOut);
  return moved;
}

Result<size_t> Terminal::Write(UserIo& io) {
  std::array<char, 4096> bytes;
  size_t done = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (hung_up_) return Errno::kIO;
    while (io.remaining() != 0) {
      const uint64_t room = std::min<uint64_t>(discipline_.WriteRoom(), bytes.size());
      if (room == 0) break;
      const Result<size_t> n = io.Read(bytes.data(), std::min<uint64_t>(room, io.remaining()));
      if (!n.ok()) {
        if (done == 0) return n.error();
        break;
      }
      discipline_.Write({bytes.data(), *n});
      done += *n;
    }
    if (done == 0 && io.remaining() != 0) return Errno::kAGAIN;
  }
  screen_queue_.Notify(kEventIn);
  return done;
}

int64_t Terminal::ReadTimeoutNs() const {
  absl::MutexLock lock(&mutex_);
  const Termios& t = discipline_.termios();
  if (discipline_.canonical() || t.c_cc[VMIN] != 0) return -1;
  return t.c_cc[VTIME] * kTenthNs;
}

bool Terminal::StopsWriters() const {
  absl::MutexLock lock(&mutex_);
  return (discipline_.termios().c_lflag & TOSTOP) != 0;
}

bool Terminal::hung_up() const {
  absl::MutexLock lock(&mutex_);
  return hung_up_;
}

EventMask Terminal::PollProgramSide() {
  absl::MutexLock lock(&mutex_);
  if (hung_up_) return kEventIn | kEventOut | kEventErr | kEventHup;
  const Termios& t = discipline_.termios();
  const size_t wanted = t.c_cc[VTIME] == 0 && t.c_cc[VMIN] != 0 ? t.c_cc[VMIN] : 1;
  EventMask events = 0;
  if (discipline_.Readable(wanted) || MayEndInputLocked()) events |= kEventIn;
  if (discipline_.WriteRoom() != 0) events |= kEventOut;
  return events;
}

bool Terminal::MayEndInputLocked() const {
  if (!input_ended_ || !keys_.empty()) return false;
  const Termios& t = discipline_.termios();
  return t.c_cc[VEOF] != 0 && (discipline_.canonical() || !end_typed_);
}

void Terminal::TypeEndOfInputLocked() {
  end_typed_ = true;
  const char key = static_cast<char>(discipline_.termios().c_cc[VEOF]);
  Effects effects;
  (void)discipline_.Receive({&key, 1}, &effects);
}

// --- keyboard and screen ---

void Terminal::PumpLocked(Effects* effects) {
  if (keys_.empty()) return;
  const bool was_stopped = discipline_.output_stopped();
  Effects made;
  keys_.erase(0, discipline_.Receive(keys_, &made));
  NoteFlushLocked(made);
  NoteFlowLocked(was_stopped);
  effects->signals.insert(effects->signals.end(), made.signals.begin(), made.signals.end());
  StartQuietTimerLocked();
}

void Terminal::StartQuietTimerLocked() {
  const Termios& t = discipline_.termios();
  quiet_ = false;
  if (quiet_timer_ == nullptr || discipline_.canonical()) return;
  if (t.c_cc[VMIN] < 2 || t.c_cc[VTIME] == 0) return;
  quiet_timer_->Arm({.next = Deadline::After(t.c_cc[VTIME] * kTenthNs)});
}

void Terminal::QuietTimeOver() {
  {
    absl::MutexLock lock(&mutex_);
    quiet_ = true;
  }
  program_queue_.Notify(kEventIn);
}

void Terminal::NoteFlushLocked(const Effects& effects) {
  if (!packets_) return;
  if (effects.flushed_input) packet_status_ |= TIOCPKT_FLUSHREAD;
  if (effects.flushed_output) packet_status_ |= TIOCPKT_FLUSHWRITE;
}

void Terminal::NoteFlowLocked(bool was_stopped) {
  const bool stopped = discipline_.output_stopped();
  if (!packets_ || stopped == was_stopped) return;
  packet_status_ &= static_cast<uint8_t>(~(TIOCPKT_START | TIOCPKT_STOP));
  packet_status_ |= stopped ? TIOCPKT_STOP : TIOCPKT_START;
}

Result<size_t> Terminal::ReadOutput(UserIo& io) {
  std::array<char, 4096> bytes;
  Result<size_t> moved = size_t{0};
  {
    absl::MutexLock lock(&mutex_);
    if (io.remaining() == 0) return size_t{0};
    size_t n = 0;
    if (packets_ && packet_status_ != 0) {
      bytes[n++] = static_cast<char>(std::exchange(packet_status_, uint8_t{0}));
    } else if (discipline_.output_size() == 0) {
      return opened_ && programs_ == 0 ? Errno::kIO : Errno::kAGAIN;
    } else {
      if (packets_) bytes[n++] = TIOCPKT_DATA;
      n += discipline_.TakeOutput(bytes.data() + n,
                                  std::min<uint64_t>(io.remaining(), bytes.size()) - n);
    }
    moved = io.Write(bytes.data(), n);
  }
  program_queue_.Notify(kEventOut);
  return moved;
}

size_t Terminal::TakeOutput(char* dst, size_t n, bool* ended) {
  size_t taken;
  {
    absl::MutexLock lock(&mutex_);
    taken = discipline_.TakeOutput(dst, n);
    *ended = taken == 0 && opened_ && programs_ == 0;
  }
  if (taken != 0) program_queue_.Notify(kEventOut);
  return taken;
}

Result<size_t> Terminal::Type(UserIo& io) {
  std::array<char, kKeyCapacity> bytes;
  Effects effects;
  size_t done = 0;
  {
    absl::MutexLock lock(&mutex_);
    while (io.remaining() != 0) {
      const size_t room = kKeyCapacity - keys_.size();
      if (room == 0) break;
      const Result<size_t> n = io.Read(bytes.data(), std::min<uint64_t>(room, io.remaining()));
      if (!n.ok()) {
        if (done == 0) return n.error();
        break;
      }
      keys_.append(bytes.data(), *n);
      done += *n;
      PumpLocked(&effects);
    }
    if (done == 0 && io.remaining() != 0) return Errno::kAGAIN;
  }
  Finish(effects);
  WakeAll();
  return done;
}

size_t Terminal::Type(std::string_view keys) {
  Effects effects;
  size_t done;
  {
    absl::MutexLock lock(&mutex_);
    done = std::min(keys.size(), kKeyCapacity - keys_.size());
    keys_.append(keys.substr(0, done));
    PumpLocked(&effects);
  }
  Finish(effects);
  WakeAll();
  return done;
}

void Terminal::EndInput() {
  {
    absl::MutexLock lock(&mutex_);
    input_ended_ = true;
  }
  program_queue_.Notify(kEventIn);
}

void Terminal::HangUp() {
  {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(hung_up_, true)) return;
    keys_.clear();
    discipline_.FlushInput();
  }
  if (job_control_ != nullptr) job_control_->HangUp();
  WakeAll();
}

EventMask Terminal::PollScreen() {
  absl::MutexLock lock(&mutex_);
  EventMask events = 0;
  if (discipline_.output_size() != 0) events |= kEventIn;
  if (packets_ && packet_status_ != 0) events |= kEventIn | kEventPri;
  if (opened_ && programs_ == 0) events |= kEventHup;
  if (keys_.size() < kKeyCapacity) events |= kEventOut;
  return events;
}

void Terminal::Finish(const Effects& effects) {
  if (job_control_ == nullptr) return;
  for (const SigNo signal : effects.signals) job_control_->SignalForeground(signal);
}

void Terminal::WakeAll() {
  program_queue_.Notify(kAllEvents);
  screen_queue_.Notify(kAllEvents);
}

// --- settings ---

Termios Terminal::termios() const {
  absl::MutexLock lock(&mutex_);
  return discipline_.termios();
}

void Terminal::SetTermios(Termios settings, bool flush_input) {
  // A pseudo-terminal has 8 bits and no parity.
  settings.c_cflag = (settings.c_cflag & ~uint32_t{CSIZE | PARENB}) | CS8 | CREAD;
  Effects effects;
  {
    absl::MutexLock lock(&mutex_);
    const bool was_stopped = discipline_.output_stopped();
    if (flush_input) {
      discipline_.FlushInput();
      keys_.clear();
      NoteFlushLocked({.signals = {}, .flushed_input = true});
    }
    discipline_.SetTermios(settings);
    end_typed_ = false;
    NoteFlowLocked(was_stopped);
    PumpLocked(&effects);
  }
  Finish(effects);
  WakeAll();
}

WindowSize Terminal::window_size() const {
  absl::MutexLock lock(&mutex_);
  return size_;
}

void Terminal::SetWindowSize(const WindowSize& size) {
  {
    absl::MutexLock lock(&mutex_);
    if (size_ == size) return;
    size_ = size;
  }
  if (job_control_ != nullptr) job_control_->SignalForeground(SigNo::kWinch);
}

void Terminal::Flush(Queue queue) {
  {
    absl::MutexLock lock(&mutex_);
    Effects effects;
    if (queue != Queue::kOutput) {
      discipline_.FlushInput();
      keys_.clear();
      effects.flushed_input = true;
    }
    if (queue != Queue::kInput) {
      discipline_.FlushOutput();
      effects.flushed_output = true;
    }
    NoteFlushLocked(effects);
  }
  WakeAll();
}

void Terminal::SetFlow(Flow flow) {
  {
    absl::MutexLock lock(&mutex_);
    const bool was_stopped = discipline_.output_stopped();
    if (flow == Flow::kStopOutput || flow == Flow::kStartOutput) {
      discipline_.SuspendOutput(flow == Flow::kStopOutput);
    } else {
      discipline_.SendFlowControl(flow == Flow::kSendStop);
    }
    NoteFlowLocked(was_stopped);
  }
  WakeAll();
}

size_t Terminal::InputBytes() const {
  absl::MutexLock lock(&mutex_);
  return discipline_.Available();
}

size_t Terminal::OutputBytes() const {
  absl::MutexLock lock(&mutex_);
  return discipline_.output_size();
}

void Terminal::SetLocked(bool locked) {
  absl::MutexLock lock(&mutex_);
  locked_ = locked;
}

bool Terminal::locked() const {
  absl::MutexLock lock(&mutex_);
  return locked_;
}

void Terminal::SetExclusive(bool exclusive) {
  absl::MutexLock lock(&mutex_);
  exclusive_ = exclusive;
}

bool Terminal::exclusive() const {
  absl::MutexLock lock(&mutex_);
  return exclusive_;
}

void Terminal::SetPacketMode(bool on) {
  absl::MutexLock lock(&mutex_);
  if (on && !packets_) packet_status_ = 0;
  packets_ = on;
}

bool Terminal::packet_mode() const {
  absl::MutexLock lock(&mutex_);
  return packets_;
}

}  // namespace ringfence::sentry
