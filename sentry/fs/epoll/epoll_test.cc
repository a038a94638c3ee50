#include "sentry/fs/epoll/epoll.h"

#include <catch2/catch.hpp>
#include <thread>

#include "sentry/fs/eventfd/eventfd.h"
#include "sentry/mm/user_io.h"

namespace ringfence::sentry {
namespace {

constexpr Fd kFd{3};

void Post(File& file, uint64_t value = 1) {
  UserIo io(absl::MakeSpan(reinterpret_cast<std::byte*>(&value), sizeof(value)));
  REQUIRE(file.Write({}, io, nullptr).ok());
}

void Drain(File& file) {
  uint64_t value;
  UserIo io(absl::MakeSpan(reinterpret_cast<std::byte*>(&value), sizeof(value)));
  REQUIRE(file.Read({}, io, nullptr).ok());
}

std::shared_ptr<EventFd> NewEvent(uint64_t count = 0) {
  return std::make_shared<EventFd>(count, false, 0);
}

TEST_CASE("level-triggered items stay ready until drained") {
  EpollFile epoll;
  const auto event = NewEvent();
  REQUIRE(epoll.Add(kFd, event, {kEventIn, 77}).ok());
  CHECK(epoll.Collect(8).empty());
  CHECK(epoll.Poll() == 0);
  Post(*event);
  CHECK(epoll.Poll() == kEventIn);
  for (int i = 0; i < 2; ++i) {
    const auto events = epoll.Collect(8);
    REQUIRE(events.size() == 1);
    CHECK(events[0].data == 77);
    CHECK(events[0].events == kEventIn);
  }
  Drain(*event);
  CHECK(epoll.Collect(8).empty());
}

TEST_CASE("edge-triggered items are reported once for each notification") {
  EpollFile epoll;
  const auto event = NewEvent();
  REQUIRE(epoll.Add(kFd, event, {kEventIn | kEpollEdge, 1}).ok());
  Post(*event);
  CHECK(epoll.Collect(8).size() == 1);
  CHECK(epoll.Collect(8).empty());
  Post(*event);
  CHECK(epoll.Collect(8).size() == 1);
}

TEST_CASE("one-shot items wait for a modification") {
  EpollFile epoll;
  const auto event = NewEvent(1);
  REQUIRE(epoll.Add(kFd, event, {kEventIn | kEpollOneShot, 1}).ok());
  CHECK(epoll.Collect(8).size() == 1);
  Post(*event);
  CHECK(epoll.Collect(8).empty());
  REQUIRE(epoll.Modify(kFd, event, {kEventIn | kEpollOneShot, 2}).ok());
  const auto events = epoll.Collect(8);
  REQUIRE(events.size() == 1);
  CHECK(events[0].data == 2);
}

TEST_CASE("an item ends with its file") {
  EpollFile epoll;
  auto event = NewEvent(1);
  REQUIRE(epoll.Add(kFd, event, {kEventIn, 1}).ok());
  event.reset();
  CHECK(epoll.Collect(8).empty());
  CHECK(epoll.Poll() == 0);
}

TEST_CASE("errors of epoll_ctl") {
  EpollFile epoll;
  const auto event = NewEvent();
  CHECK(epoll.Modify(kFd, event, {kEventIn, 1}).error() == Errno::kNOENT);
  CHECK(epoll.Remove(kFd, event).error() == Errno::kNOENT);
  REQUIRE(epoll.Add(kFd, event, {kEventIn, 1}).ok());
  CHECK(epoll.Add(kFd, event, {kEventIn, 1}).error() == Errno::kEXIST);
  CHECK(epoll.Add(Fd{4}, event, {kEventIn, 1}).ok());
  CHECK(epoll.Remove(kFd, event).ok());
}

TEST_CASE("cycles and long chains are refused") {
  std::vector<std::shared_ptr<EpollFile>> chain;
  for (int i = 0; i < 7; ++i) chain.push_back(std::make_shared<EpollFile>());
  int added = 0;
  for (int i = 0; i + 1 < 7; ++i) {
    if (chain[i + 1]->Add(kFd, chain[i], {kEventIn, 0}).ok()) ++added;
  }
  CHECK(added == 5);
  CHECK(chain[0]->Add(kFd, chain[1], {kEventIn, 0}).error() == Errno::kLOOP);
}

TEST_CASE("readiness passes through a nested epoll file") {
  EpollFile outer;
  const auto inner = std::make_shared<EpollFile>();
  const auto event = NewEvent();
  REQUIRE(inner->Add(kFd, event, {kEventIn, 5}).ok());
  REQUIRE(outer.Add(kFd, inner, {kEventIn, 6}).ok());
  CHECK(outer.Collect(8).empty());
  Post(*event);
  const auto events = outer.Collect(8);
  REQUIRE(events.size() == 1);
  CHECK(events[0].data == 6);
}

TEST_CASE("files that end while watched and posted to by other threads") {
  for (int round = 0; round < 200; ++round) {
    const auto epoll = std::make_shared<EpollFile>();
    auto event = NewEvent();
    REQUIRE(epoll->Add(kFd, event, {kEventIn, 1}).ok());
    std::thread poster([event = std::move(event)]() mutable {
      Post(*event);
      event.reset();
    });
    std::thread collector([&] {
      for (int i = 0; i < 20; ++i) epoll->Collect(4);
    });
    poster.join();
    collector.join();
    CHECK(epoll->Collect(4).empty());
  }
}

}  // namespace
}  // namespace ringfence::sentry
