#include "gofer/wire/event_engine.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"

namespace ringfence::gofer {
namespace {

using namespace std::chrono_literals;

TEST_CASE("tasks run in the order of their times, on one thread of the engine's") {
  const auto engine = NewEventEngine();
  std::string order;
  absl::Notification done;
  bool own = false;
  engine->RunAfter(60ms, [&] { done.Notify(); });
  engine->RunAfter(30ms, [&] { order += 'c'; });
  engine->RunAfter(10ms, [&] { order += 'b'; });
  engine->Run([&] {
    order += 'a';
    own = engine->IsWorkerThread();
  });
  done.WaitForNotification();
  CHECK(order == "abc");
  CHECK(own);
  CHECK_FALSE(engine->IsWorkerThread());
}

TEST_CASE("a task that is cancelled does not run, one that ran cannot be cancelled") {
  const auto engine = NewEventEngine();
  bool ran = false;
  absl::Notification done;
  const auto cancelled = engine->RunAfter(20ms, [&] { ran = true; });
  const auto last = engine->RunAfter(40ms, [&] { done.Notify(); });
  CHECK(engine->Cancel(cancelled));
  CHECK_FALSE(engine->Cancel(cancelled));
  done.WaitForNotification();
  CHECK_FALSE(ran);
  CHECK_FALSE(engine->Cancel(last));
}

TEST_CASE("an engine goes although tasks are left, also by the hand of one of its own") {
  NewEventEngine()->RunAfter(1h, [] {});
  std::shared_ptr engine = NewEventEngine();
  absl::Notification posted;
  absl::Notification gone;
  engine->Run([&posted, &gone, held = engine]() mutable {
    posted.WaitForNotification();
    held.reset();
    gone.Notify();
  });
  engine.reset();
  posted.Notify();
  gone.WaitForNotification();
}

}  // namespace
}  // namespace ringfence::gofer
