#include "sentry/base/wait_queue.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

namespace ringfence::sentry {
namespace {

class Counter : public WaitEntry {
 public:
  void Wake(EventMask events) override {
    last = events;
    ++wakes;
  }
  std::atomic<int> wakes{0};
  std::atomic<EventMask> last{0};
};

TEST_CASE("a waiter hears only of the events it asked for, errors and hang-ups") {
  WaitQueue queue;
  Counter in, out;
  queue.Add(&in, kEventIn);
  queue.Add(&out, kEventOut);
  queue.Notify(kEventIn);
  CHECK(in.wakes == 1);
  CHECK(out.wakes == 0);
  queue.Notify(kEventHup);
  CHECK(in.wakes == 2);
  CHECK(out.wakes == 1);
  CHECK(out.last == kEventHup);
  queue.Remove(&in);
  queue.Remove(&in);
  queue.Notify(kEventIn | kEventOut);
  CHECK(in.wakes == 2);
  CHECK(out.last == kEventOut);
  queue.Remove(&out);
  CHECK(queue.empty());
}

TEST_CASE("adding twice changes the mask and keeps one place") {
  WaitQueue queue;
  Counter entry;
  queue.Add(&entry, kEventIn);
  queue.Add(&entry, kEventOut);
  queue.Notify(kEventIn);
  CHECK(entry.wakes == 0);
  queue.Notify(kEventOut);
  CHECK(entry.wakes == 1);
  queue.Remove(&entry);
  CHECK(queue.empty());
}

TEST_CASE("after Remove no wake-up runs any more") {
  WaitQueue queue;
  std::atomic<bool> stop{false};
  std::thread notifier([&] {
    while (!stop) queue.Notify(kEventIn);
  });
  for (int i = 0; i < 2000; ++i) {
    Counter entry;
    queue.Add(&entry, kEventIn);
    queue.Remove(&entry);
    const int seen = entry.wakes;
    CHECK(entry.wakes == seen);
  }
  stop = true;
  notifier.join();
}

}  // namespace
}  // namespace ringfence::sentry
