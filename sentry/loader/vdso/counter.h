// The CPU's counter that the vDSO reads (TSC, CNTVCT), as the host sees it.
#ifndef RINGFENCE_SENTRY_LOADER_VDSO_COUNTER_H_
#define RINGFENCE_SENTRY_LOADER_VDSO_COUNTER_H_

#include <cstdint>

namespace ringfence::sentry {

// Ordered after earlier loads and before later ones.
uint64_t ReadCounter();

// True when the counter runs at one rate, on all CPUs alike, and does not stop.
bool CounterIsReliable();

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_VDSO_COUNTER_H_
