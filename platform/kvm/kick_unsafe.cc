#include "platform/kvm/kick_unsafe.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <mutex>

namespace ringfence::kvm {
namespace {

// SAFETY: written by its own thread only; a handler on that thread sees either the pointer of a
// live KickTarget or null. The program is not a shared object, so access needs no allocation.
thread_local kvm_run* volatile current_run = nullptr;

void OnKick(int) {
  const int saved = errno;
  kvm_run* run = current_run;
  if (run != nullptr) __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_RELAXED);
  errno = saved;
}

}  // namespace

int KickSignalNumber() { return SIGRTMIN + 1; }

void InstallKickHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_handler = OnKick;
    action.sa_flags = SA_RESTART;
    sigaction(KickSignalNumber(), &action, nullptr);
  });
}

pid_t CurrentThread() {
  static thread_local const pid_t tid = gettid();
  return tid;
}

void SendKick(pid_t thread) {
  const int saved = errno;
  syscall(SYS_tgkill, getpid(), thread, KickSignalNumber());
  errno = saved;
}

KickTarget::KickTarget(kvm_run* run) { current_run = run; }
KickTarget::~KickTarget() { current_run = nullptr; }

}  // namespace ringfence::kvm
