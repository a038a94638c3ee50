#include "sentry/loader/vdso/time_page.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "sentry/loader/vdso/counter.h"

namespace ringfence::sentry {
namespace {

constexpr int64_t kSecond = 1000000000;
constexpr double kMaxSlew = 500e-6;
// The host is this far ahead: step instead of slewing for minutes.
constexpr int64_t kStep = 1000000;
// Measuring rates over less than this says more about the sampling than about the clock.
constexpr int64_t kMinBaseline = kSecond / 2;
constexpr int64_t kAnchorAge = 16 * kSecond;

int64_t HostNow(clockid_t clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

uint64_t ToMult(double ns_per_count) {
  return static_cast<uint64_t>(std::llround(std::ldexp(ns_per_count, kVdsoShift)));
}

int64_t Elapsed(uint64_t counts, uint64_t mult) {
  return static_cast<int64_t>(static_cast<unsigned __int128>(counts) * mult >> kVdsoShift);
}

// clock - MONOTONIC, from the tightest of a few attempts.
int64_t OffsetOf(clockid_t clock, int64_t* uncertainty) {
  int64_t best = INT64_MAX, offset = 0;
  for (int i = 0; i < 4; ++i) {
    const int64_t before = HostNow(CLOCK_MONOTONIC);
    const int64_t there = HostNow(clock);
    const int64_t after = HostNow(CLOCK_MONOTONIC);
    if (after - before >= best) continue;
    best = after - before;
    offset = there - (before + after) / 2;
  }
  *uncertainty = std::max(*uncertainty, best);
  return offset;
}

}  // namespace

TimePage::HostSample TimePage::Sample() {
  HostSample sample;
  uint64_t best = ~uint64_t{0};
  for (int i = 0; i < 8; ++i) {
    const uint64_t before = ReadCounter();
    const int64_t monotonic = HostNow(CLOCK_MONOTONIC);
    const uint64_t after = ReadCounter();
    if (after - before >= best) continue;
    best = after - before;
    sample.counter = before + best / 2;
    sample.monotonic = monotonic;
  }
  sample.raw = sample.monotonic + OffsetOf(CLOCK_MONOTONIC_RAW, &sample.uncertainty);
  sample.realtime = sample.monotonic + OffsetOf(CLOCK_REALTIME, &sample.uncertainty);
  sample.boottime = sample.monotonic + OffsetOf(CLOCK_BOOTTIME, &sample.uncertainty);
  sample.tai = sample.monotonic + OffsetOf(CLOCK_TAI, &sample.uncertainty);
  return sample;
}

TimePage::TimePage(platform::GuestMemory* memory, Frame frame, uint64_t khz, int64_t counter_offset)
    : data_(static_cast<VdsoTimeData*>(static_cast<void*>(memory->HostAddress(frame)))),
      frame_(frame),
      counter_offset_(static_cast<uint64_t>(counter_offset)),
      reliable_(CounterIsReliable()) {
  absl::MutexLock lock(&mutex_);
  *data_ = VdsoTimeData{};
  first_ = anchor_ = Sample();
  ticks_per_second_ = static_cast<double>(khz) * 1000;
  if (khz == 0) {
    usleep(5000);
    const HostSample later = Sample();
    ticks_per_second_ =
        static_cast<double>(later.counter - first_.counter) * kSecond /
        static_cast<double>(std::max<int64_t>(1, later.monotonic - first_.monotonic));
    first_ = anchor_ = later;
  }
  rate_ = raw_rate_ = kSecond / ticks_per_second_;
  segment_ = {first_.counter + counter_offset_, ToMult(rate_), ToMult(raw_rate_), first_.monotonic,
              first_.raw};
  Publish(first_);
}

// Where the clocks of the current segment are at a later guest counter.
TimePage::Segment TimePage::Continue(uint64_t counter) const {
  Segment next = segment_;
  const uint64_t counts = counter - segment_.base;
  next.base = counter;
  next.monotonic += Elapsed(counts, segment_.mult);
  next.raw += Elapsed(counts, segment_.raw_mult);
  return next;
}

// A multiplier that makes up for `error` ns in `period` counts, within what is unnoticeable.
uint64_t TimePage::Steer(double rate, double error, uint64_t period) const {
  const double correction = error / static_cast<double>(period);
  return ToMult(rate + std::clamp(correction, -rate * kMaxSlew, rate * kMaxSlew));
}

void TimePage::Publish(const HostSample& now) {
  const int64_t age = now.monotonic - anchor_.monotonic;
  if (age >= kMinBaseline) {
    const auto counts = static_cast<double>(now.counter - anchor_.counter);
    rate_ = static_cast<double>(age) / counts;
    raw_rate_ = static_cast<double>(now.raw - anchor_.raw) / counts;
    if (age >= kAnchorAge) anchor_ = now;
  }
  // Soon after the start the rate is only what the platform said: look again sooner.
  const int64_t running = now.monotonic - first_.monotonic;
  const auto period = static_cast<uint64_t>(
      static_cast<double>(std::clamp(running, kSecond / 20, kSecond)) / rate_);

  const uint32_t seq = data_->seq;
  __atomic_store_n(&data_->seq, seq + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  const uint64_t counter = ReadCounter();
  Segment next = Continue(counter + counter_offset_);
  const auto since = static_cast<double>(counter - now.counter);
  const double error = static_cast<double>(now.monotonic - next.monotonic) + since * rate_;
  const double raw_error = static_cast<double>(now.raw - next.raw) + since * raw_rate_;
  if (error > kStep) next.monotonic += std::llround(error);
  if (raw_error > kStep) next.raw += std::llround(raw_error);
  next.mult = Steer(rate_, error > kStep ? 0 : error, period);
  next.raw_mult = Steer(raw_rate_, raw_error > kStep ? 0 : raw_error, period);
  segment_ = next;

  // The host moves these by steps only; smaller differences are how well we measured.
  const int64_t noise = now.uncertainty + 1000;
  const int64_t realtime = now.realtime - now.monotonic;
  if (std::abs(realtime - realtime_offset_) > noise) realtime_offset_ = realtime;
  const int64_t boottime = now.boottime - now.monotonic;
  if (std::abs(boottime - boottime_offset_) > noise) boottime_offset_ = boottime;
  const int64_t leap = std::llround(static_cast<double>(now.tai - now.realtime) / kSecond);
  tai_offset_ = realtime_offset_ + leap * kSecond;

  data_->counter_base = next.base;
  data_->max_delta = reliable_ ? period + period : 0;
  data_->mult = next.mult;
  data_->raw_mult = next.raw_mult;
  data_->monotonic_ns = next.monotonic;
  data_->raw_ns = next.raw;
  data_->realtime_offset = realtime_offset_;
  data_->boottime_offset = boottime_offset_;
  data_->tai_offset = tai_offset_;
  __atomic_store_n(&data_->seq, seq + 2, __ATOMIC_RELEASE);
  due_.store(counter + period, std::memory_order_relaxed);
}

void TimePage::UpdateLocked() {
  if (ReadCounter() < due_.load(std::memory_order_relaxed)) return;  // somebody else was faster
  Publish(Sample());
}

void TimePage::Update() {
  if (ReadCounter() < due_.load(std::memory_order_relaxed)) return;
  absl::MutexLock lock(&mutex_);
  UpdateLocked();
}

Result<int64_t> TimePage::Now(int clock) {
  absl::MutexLock lock(&mutex_);
  UpdateLocked();
  const Segment now = Continue(ReadCounter() + counter_offset_);
  const int64_t coarse = now.monotonic - now.monotonic % kVdsoTickNs;
  switch (clock) {
    case CLOCK_REALTIME:
      return now.monotonic + realtime_offset_;
    case CLOCK_MONOTONIC:
      return now.monotonic;
    case CLOCK_MONOTONIC_RAW:
      return now.raw;
    case CLOCK_REALTIME_COARSE:
      return coarse + realtime_offset_;
    case CLOCK_MONOTONIC_COARSE:
      return coarse;
    case CLOCK_BOOTTIME:
      return now.monotonic + boottime_offset_;
    case CLOCK_TAI:
      return now.monotonic + tai_offset_;
    default:
      return Errno::kINVAL;
  }
}

}  // namespace ringfence::sentry
