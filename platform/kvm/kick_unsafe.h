// Taking a thread out of KVM_RUN with a signal.
//
// KVM_RUN checks kvm_run->immediate_exit after it has blocked interrupts, so a handler that sets
// it closes the window between the last look at a flag and the entry into the guest. The handler
// finds the kvm_run of its thread in a thread-local pointer.
//
// Threads: KickTarget is set and cleared by its own thread; SendKick from any thread, also from
// signal handlers.
#ifndef RINGFENCE_PLATFORM_KVM_KICK_UNSAFE_H_
#define RINGFENCE_PLATFORM_KVM_KICK_UNSAFE_H_

#include <linux/kvm.h>
#include <sys/types.h>

namespace ringfence::kvm {

// Once per process; later calls do nothing.
void InstallKickHandler();
int KickSignalNumber();

pid_t CurrentThread();
void SendKick(pid_t thread);

// While alive, a kick of this thread stops `run`.
class KickTarget {
 public:
  explicit KickTarget(kvm_run* run);
  ~KickTarget();
  KickTarget(const KickTarget&) = delete;
  KickTarget& operator=(const KickTarget&) = delete;
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_KICK_UNSAFE_H_
