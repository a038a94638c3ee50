#include "sentry/boot/console.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kPiece = 4096;

}  // namespace

absl::StatusOr<std::unique_ptr<Console>> Console::Start(UniqueFd socket, TerminalRef terminal) {
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return absl::ErrnoToStatus(errno, "eventfd");
  std::unique_ptr<Console> console(
      new Console(std::move(socket), std::move(wake), std::move(terminal)));
  console->terminal_->screen_queue().Add(console.get(), kEventIn | kEventOut);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  console->thread_ = std::thread([self = console.get()] { self->Run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return console;
}

Console::Console(UniqueFd socket, UniqueFd wake, TerminalRef terminal)
    : socket_(std::move(socket)), wake_(std::move(wake)), terminal_(std::move(terminal)) {}

Console::~Console() {
  Finish();
  terminal_->screen_queue().Remove(this);
}

void Console::Wake(EventMask) { WakeThread(); }

void Console::WakeThread() {
  if (woken_.exchange(true)) return;
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
}

void Console::Finish() {
  finishing_.store(true);
  WakeThread();
  if (thread_.joinable()) thread_.join();
}

void Console::Run() {
  while (true) {
    // Read before the output is looked at: what comes later wakes again.
    const bool last = finishing_.load();
    if (!SendOutput()) {
      // Nobody looks any more.
      terminal_->HangUp();
      break;
    }
    if (!keys_ended_ && TypeKeys() && !ReceiveKeys()) {
      keys_ended_ = true;
      terminal_->EndInput();
    }
    if (last && output_.empty() && (terminal_->PollScreen() & kEventIn) == 0) break;
    Sleep();
  }
  shutdown(socket_.get(), SHUT_WR);
}

bool Console::SendOutput() {
  while (true) {
    if (output_.empty()) {
      bool ended;
      output_.resize(kPiece);
      output_.resize(terminal_->TakeOutput(output_.data(), kPiece, &ended));
      if (output_.empty()) return true;
    }
    const ssize_t sent =
        send(socket_.get(), output_.data(), output_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    output_.erase(0, static_cast<size_t>(sent));
  }
}

bool Console::TypeKeys() {
  keys_.erase(0, terminal_->Type(keys_));
  return keys_.empty();
}

bool Console::ReceiveKeys() {
  keys_.resize(kPiece);
  const ssize_t got = recv(socket_.get(), keys_.data(), keys_.size(), MSG_DONTWAIT);
  const int error = errno;
  keys_.resize(got > 0 ? static_cast<size_t>(got) : 0);
  if (got == 0) return false;
  if (got < 0) return error == EAGAIN || error == EINTR;
  (void)TypeKeys();
  return true;
}

void Console::Sleep() {
  short wanted = 0;
  if (!keys_ended_ && keys_.empty()) wanted |= POLLIN;
  if (!output_.empty()) wanted |= POLLOUT;
  pollfd fds[] = {{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                  // A socket that hung up would end each poll at once.
                  {.fd = wanted == 0 ? -1 : socket_.get(), .events = wanted, .revents = 0}};
  if (poll(fds, 2, -1) < 0 || fds[0].revents == 0) return;
  uint64_t count;
  (void)!read(wake_.get(), &count, sizeof(count));
  woken_.store(false);
}

}  // namespace ringfence::sentry
