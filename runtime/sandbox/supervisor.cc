#include "runtime/sandbox/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ringfence::runtime {
namespace {

constexpr int kForwarded[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGWINCH,
                              SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT};
constexpr int kSignalExitBase = 128;

bool IsIgnored(int signal) {
  struct sigaction action;
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// Waits for `*pid`, which becomes -1; its wait status.
int Reap(pid_t* pid) {
  int status = 0;
  while (*pid > 0 && waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  *pid = -1;
  return status;
}

// For a child whose control socket closed: it is dead or about to be. One that is not after all
// would be waited for without end.
int KillAndReap(pid_t* pid) {
  if (*pid <= 0) return 0;
  siginfo_t info = {};
  constexpr int kGraceMs = 200;
  for (int ms = 0; ms < kGraceMs; ++ms) {
    if (waitid(P_PID, static_cast<id_t>(*pid), &info, WEXITED | WNOWAIT | WNOHANG) == 0 &&
        info.si_pid == *pid) {
      return Reap(pid);
    }
    usleep(1000);
  }
  kill(*pid, SIGKILL);
  return Reap(pid);
}

std::string Describe(int wait_status) {
  if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGSYS) {
    return "was killed since it made a forbidden system call (--debug-log FILE tells which)";
  }
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    return absl::StrCat("was killed by signal ", signal, " (", strsignal(signal), ")");
  }
  return absl::StrCat("ended unexpectedly with status ", WEXITSTATUS(wait_status));
}

}  // namespace

absl::StatusOr<UniqueFd> CatchForwardedSignals() {
  sigset_t forwarded;
  sigemptyset(&forwarded);
  for (const int signal : kForwarded) {
    if (!IsIgnored(signal)) sigaddset(&forwarded, signal);
  }
  if (sigprocmask(SIG_BLOCK, &forwarded, nullptr) != 0) {
    return absl::ErrnoToStatus(errno, "sigprocmask");
  }
  UniqueFd fd(signalfd(-1, &forwarded, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "signalfd");
  return fd;
}

int ExitStatusOf(int wait_status) {
  if (WIFSIGNALED(wait_status)) return kSignalExitBase + WTERMSIG(wait_status);
  return WEXITSTATUS(wait_status);
}

Supervisor::~Supervisor() {
  for (Child* child : {&sentry_, &gofer_}) {
    if (child->pid > 0) kill(child->pid, SIGKILL);
  }
  Reap(&sentry_.pid);
  Reap(&gofer_.pid);
}

int Supervisor::Run() {
  while (true) {
    std::vector<pollfd> fds = {{.fd = sentry_.control.fd(), .events = POLLIN, .revents = 0},
                               {.fd = gofer_.control.fd(), .events = POLLIN, .revents = 0},
                               {.fd = signals_.get(), .events = POLLIN, .revents = 0}};
    const size_t first = fds.size();
    if (debug_ != nullptr) debug_->AddPolls(&fds);
    if (relay_ != nullptr) relay_->AddPolls(&fds);
    if (poll(fds.data(), fds.size(), -1) < 0) continue;  // EINTR
    const bool sentry_spoke = fds[0].revents != 0;
    // The gofer's words first: they explain a sentry that fails for want of it. Its end last: it
    // ends because the sentry did.
    if (fds[1].revents != 0) {
      const std::optional<Message> message = gofer_.control.Receive();
      if (message.has_value()) {
        if (HearGofer(*message)) return status_;
      } else if (!sentry_spoke && MissGofer()) {
        return status_;
      }
    }
    if (sentry_spoke && HearSentry()) return status_;
    if (fds[2].revents != 0) ForwardSignals();
    ServeCompanions(fds, first);
  }
}

void Supervisor::ServeCompanions(const std::vector<pollfd>& polls, size_t first) {
  if (debug_ != nullptr) {
    // A sentry that left is noticed by the loop.
    if (debug_->Polled(polls, first)) (void)sentry_.control.Send({MessageKind::kReport, 0, {}});
    first += DebugServer::kPolls;
  }
  if (relay_ == nullptr) return;
  relay_->Polled(polls, first);
  if (relay_->TakeHangUp()) (void)sentry_.control.Send({MessageKind::kHangUp, 0, {}});
}

bool Supervisor::HearForCompanions(const Message& message) {
  if (message.kind == MessageKind::kLog && log_ != nullptr) log_->Write(message.text);
  if (message.kind == MessageKind::kReportLine && debug_ != nullptr) debug_->AddLine(message.text);
  if (message.kind == MessageKind::kReportEnd && debug_ != nullptr) debug_->End();
  return message.kind >= MessageKind::kReport;
}

bool Supervisor::RelaySignal(int signal) {
  if (relay_ == nullptr) return false;
  if (signal == SIGCONT) relay_->Start();
  if (signal == SIGHUP) {
    (void)sentry_.control.Send({.kind = MessageKind::kHangUp, .text = {}});
    return true;
  }
  if (signal == SIGTSTP) {
    Stop();
    return true;
  }
  if (signal != SIGWINCH && signal != SIGCONT) return false;
  const sentry::WindowSize size = CallersTerminal().size;
  (void)sentry_.control.Send({.kind = MessageKind::kResize,
                              .value = static_cast<int32_t>(size.rows << 16 | size.columns),
                              .text = {}});
  return signal == SIGWINCH;
}

// Ctrl-Z stopped the program: now the shell that started us has to see us stop. A program that is a
// shell itself gave the key to its job and goes on, and so do we.
void Supervisor::Stop() {
  if (relay_ != nullptr) relay_->Restore();
  kill(getpid(), SIGSTOP);
}

void Supervisor::Finished(int wait_status) {
  status_ = ExitStatusOf(wait_status);
  if (relay_ != nullptr) relay_->Finish();
}

void Supervisor::ForwardSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    const auto signal = static_cast<int>(info.ssi_signo);
    if (RelaySignal(signal)) continue;
    // A sentry that left is noticed by the loop.
    (void)sentry_.control.Send({.kind = MessageKind::kSignal, .value = signal, .text = {}});
  }
}

bool Supervisor::Fail(std::string_view line, int status) {
  if (relay_ != nullptr) relay_->Restore();  // or the line would not end at the left
  say_(line);
  status_ = status;
  return true;
}

bool Supervisor::HearSentry() {
  const std::optional<Message> message = sentry_.control.Receive();
  if (!message.has_value()) {
    return Fail(absl::StrCat("the sentry ", Describe(KillAndReap(&sentry_.pid))), kFailureStatus);
  }
  if (HearForCompanions(*message)) return false;
  switch (message->kind) {
    case MessageKind::kStarted:
      started_ = true;
      return false;
    case MessageKind::kFinished:
      Finished(message->value);
      return true;
    case MessageKind::kFailed:
      return Fail(message->text, message->value);
    case MessageKind::kStopped:
      Stop();
      return false;
    default:  // these go the other way
      break;
  }
  return false;
}

bool Supervisor::HearGofer(const Message& message) {
  return message.kind == MessageKind::kFailed && Fail(message.text, kFailureStatus);
}

bool Supervisor::MissGofer() {
  gofer_.control.Close();
  const std::string how = Describe(KillAndReap(&gofer_.pid));
  if (!started_) return Fail(absl::StrCat("the gofer ", how), kFailureStatus);
  say_(absl::StrCat("the gofer ", how, ": files of the host give the program EIO from now on"));
  return false;
}

}  // namespace ringfence::runtime
