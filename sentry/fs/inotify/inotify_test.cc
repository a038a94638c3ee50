#include "sentry/fs/inotify/inotify.h"

#include <sys/inotify.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

// "wd:mask:name" of all events that are there.
std::vector<std::string> Drain(TreeFixture& t, InotifyFile& file) {
  std::vector<std::string> events;
  const Result<std::string> bytes = ReadFrom(t.ctx, file, 1 << 16);
  if (!bytes.ok()) return events;
  for (size_t at = 0; at < bytes->size();) {
    inotify_event event;
    std::memcpy(&event, bytes->data() + at, sizeof(event));
    at += sizeof(event);
    events.push_back(std::to_string(event.wd) + ":" + std::to_string(event.mask) + ":" +
                     std::string(bytes->data() + at, strnlen(bytes->data() + at, event.len)));
    at += event.len;
  }
  return events;
}

DentryRef Place(TreeFixture& t, std::string_view path) {
  return Vfs::Resolve(t.ctx, t.base, path).value();
}

TEST_CASE("events are told while somebody watches, and cost nothing else afterwards") {
  TreeFixture t;
  {
    const auto file = InotifyFile::Make(0).value();
    REQUIRE(file->AddWatch(Place(t, "/"), IN_CREATE).value() == 1);
    REQUIRE(t.Create("/f") == Errno{});
    CHECK(Drain(t, *file) == std::vector<std::string>{"1:256:f"});
    CHECK(file->Poll() == 0);
  }
  CHECK(t.Create("/g") == Errno{});
}

TEST_CASE("a file whose last name goes ends with its last open file") {
  TreeFixture t;
  const auto file = InotifyFile::Make(0).value();
  REQUIRE(t.Create("/f") == Errno{});
  REQUIRE(file->AddWatch(Place(t, "/f"), IN_DELETE_SELF).ok());
  Result<FileRef> a = t.Open("/f", O_RDONLY), b = t.Open("/f", O_RDONLY);
  REQUIRE(t.Unlink("/f") == Errno{});
  CHECK(Drain(t, *file).empty());
  *a = nullptr;
  CHECK(Drain(t, *file).empty());
  *b = nullptr;
  CHECK(Drain(t, *file) == std::vector<std::string>{"1:1024:", "1:32768:"});
}

TEST_CASE("another name keeps a file") {
  TreeFixture t;
  const auto file = InotifyFile::Make(0).value();
  REQUIRE(t.Create("/f") == Errno{});
  REQUIRE(t.Link("/f", "/g") == Errno{});
  REQUIRE(file->AddWatch(Place(t, "/f"), IN_DELETE_SELF).ok());
  REQUIRE(t.Unlink("/f") == Errno{});
  CHECK(Drain(t, *file).empty());
}

TEST_CASE("watches and instances are bounded") {
  TreeFixture t;
  std::vector<std::shared_ptr<InotifyFile>> all;
  while (all.size() < InotifyFile::kMaxInstances) all.push_back(InotifyFile::Make(0).value());
  CHECK(ErrorOf(InotifyFile::Make(0)) == Errno::kMFILE);
  all.clear();
  CHECK(InotifyFile::Make(0).ok());
}

}  // namespace
}  // namespace ringfence::sentry
