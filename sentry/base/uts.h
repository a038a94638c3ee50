// What uname(2) and /proc/version say of this kernel: the Linux ABI it offers.
#ifndef RINGFENCE_SENTRY_BASE_UTS_H_
#define RINGFENCE_SENTRY_BASE_UTS_H_

namespace ringfence::sentry {

inline constexpr char kUtsSysname[] = "Linux";
inline constexpr char kUtsRelease[] = "6.12.0-ringfence";
inline constexpr char kUtsVersion[] = "#1 SMP PREEMPT_DYNAMIC Ringfence";

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BASE_UTS_H_
