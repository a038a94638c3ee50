#include "runtime/sandbox/terminal_relay.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ringfence::runtime {
namespace {

constexpr size_t kPiece = 4096;  // a pipe that poll(2) calls writable takes that much
constexpr uint16_t kRows = 24, kColumns = 80;

bool IsTransient(int error) { return error == EAGAIN || error == EINTR; }

// No processing on the way in and out: the sandbox's terminal does it.
TerminalSpec::Settings Raw(TerminalSpec::Settings settings) {
  settings.c_iflag &=
      ~uint32_t{IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON | IXOFF};
  settings.c_oflag &= ~uint32_t{OPOST};
  settings.c_lflag &= ~uint32_t{ECHO | ECHONL | ICANON | ISIG | IEXTEN};
  settings.c_cflag = (settings.c_cflag & ~uint32_t{CSIZE | PARENB}) | CS8;
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  return settings;
}

}  // namespace

TerminalSpec CallersTerminal() {
  TerminalSpec spec;
  spec.size.rows = kRows;
  spec.size.columns = kColumns;
  if (ioctl(STDIN_FILENO, TCGETS2, &spec.settings) != 0) {
    spec.settings = sentry::DefaultTermios();
  }
  sentry::WindowSize size;
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.rows == 0 || size.columns == 0) continue;
    spec.size = size;
    break;
  }
  return spec;
}

TerminalRelay::TerminalRelay(UniqueFd socket)
    : socket_(std::move(socket)), is_terminal_(isatty(STDIN_FILENO) != 0) {}

void TerminalRelay::Start() {
  if (!is_terminal_ || raw_ || ioctl(STDIN_FILENO, TCGETS2, &saved_) != 0) return;
  TerminalSpec::Settings settings = Raw(saved_);
  raw_ = ioctl(STDIN_FILENO, TCSETSW2, &settings) == 0;
}

void TerminalRelay::Restore() {
  if (std::exchange(raw_, false)) ioctl(STDIN_FILENO, TCSETSW2, &saved_);
}

void TerminalRelay::AddPolls(std::vector<pollfd>* polls) const {
  const bool reads = !keys_ended_ && keys_.empty() && Interested();
  const bool receives = !socket_ended_ && output_.empty();
  polls->push_back({.fd = reads ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0});
  polls->push_back({.fd = receives ? socket_.get() : -1, .events = POLLIN, .revents = 0});
  polls->push_back({.fd = keys_.empty() ? -1 : socket_.get(), .events = POLLOUT, .revents = 0});
  polls->push_back({.fd = output_.empty() ? -1 : STDOUT_FILENO, .events = POLLOUT, .revents = 0});
}

void TerminalRelay::Polled(const std::vector<pollfd>& polls, size_t first) {
  if (polls[first].revents != 0) ReadKeys();
  if (polls[first + 1].revents != 0) ReceiveOutput();
  if (polls[first + 2].revents != 0) SendKeys();
  if (polls[first + 3].revents != 0) Show();
}

void TerminalRelay::ReadKeys() {
  keys_.resize(kPiece);
  const ssize_t got = read(STDIN_FILENO, keys_.data(), keys_.size());
  const int error = errno;
  keys_.resize(got > 0 ? static_cast<size_t>(got) : 0);
  if (got < 0 && IsTransient(error)) return;
  if (got > 0) {
    SendKeys();
    return;
  }
  keys_ended_ = true;
  // In raw mode a terminal has no end of file: it is gone.
  hang_up_ = hang_up_ || is_terminal_;
  shutdown(socket_.get(), SHUT_WR);
}

void TerminalRelay::SendKeys() {
  const ssize_t sent = send(socket_.get(), keys_.data(), keys_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent > 0) {
    keys_.erase(0, static_cast<size_t>(sent));
  } else if (!IsTransient(errno)) {
    keys_.clear();
    keys_ended_ = true;
  }
}

void TerminalRelay::ReceiveOutput() {
  output_.resize(kPiece);
  const ssize_t got = recv(socket_.get(), output_.data(), output_.size(), MSG_DONTWAIT);
  const int error = errno;
  output_.resize(got > 0 ? static_cast<size_t>(got) : 0);
  socket_ended_ = got == 0 || (got < 0 && !IsTransient(error));
  if (got > 0) Show();
}

void TerminalRelay::Show() {
  if (screen_lost_) {
    output_.clear();
    return;
  }
  const ssize_t shown = write(STDOUT_FILENO, output_.data(), output_.size());
  if (shown >= 0) {
    output_.erase(0, static_cast<size_t>(shown));
  } else if (!IsTransient(errno)) {
    screen_lost_ = hang_up_ = true;
    output_.clear();
  }
}

bool TerminalRelay::TakeHangUp() { return std::exchange(hang_up_, false); }

void TerminalRelay::Finish() {
  keys_ended_ = true;
  keys_.clear();
  while (!socket_ended_ || !output_.empty()) {
    std::vector<pollfd> polls;
    AddPolls(&polls);
    if (poll(polls.data(), polls.size(), -1) > 0) Polled(polls, 0);
  }
}

}  // namespace ringfence::runtime
