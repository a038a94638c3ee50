// FdPages: copies of hot text, each rule; that they show the file as it is to whoever comes.
#include "sentry/fs/host/fd_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "platform/fake/fake_platform.h"
#include "platform/mem/safe_copy.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kHot = 4;

struct Fixture {
  explicit Fixture(uint64_t pages = 600, int64_t settled_ns = 0)
      : chunks(std::make_shared<ChunkCache>(
            &platform.memory(),
            ChunkCache::Options{.copies = true, .hot = kHot, .settled_ns = settled_ns})) {
    platform::InstallSafeCopyHandler();
    const std::string content(pages * kPageSize, 'x');
    REQUIRE(write(fd->get(), content.data(), content.size()) ==
            static_cast<ssize_t>(content.size()));
    Open(false);
  }
  void Open(bool writable) {
    text = std::make_shared<FdPages>(chunks, writable, 1, 2)
               ->Use(std::shared_ptr<const UniqueFd>(fd), "text");
  }
  // The host's times are as coarse as its ticks.
  void Change(uint64_t page, char byte) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    REQUIRE(pwrite(fd->get(), &byte, 1, static_cast<off_t>(page * kPageSize)) == 1);
  }
  char Byte(Frame frame) {
    char byte = 0;
    platform::SafeCopy(&byte, platform.memory().HostAddress(frame), 1);
    return byte;
  }
  // What a new private mapping shows of a page; 0 for none.
  char Ask(uint64_t page, bool exec = true) {
    const Result<FrameRun> run = text->GetPrivateFrames(page, 1, exec);
    if (!run.ok()) return 0;
    last = run->first;
    platform.memory().Unref(*run);
    return Byte(last);
  }
  void Heat(uint64_t page, bool exec = true) {
    for (uint32_t i = 0; i < kHot; ++i) CHECK(Ask(page, exec) != 0);
  }
  uint64_t Copied() { return platform.memory().GetStats().copied_bytes / kPageSize; }

  platform::FakePlatform platform;
  const std::shared_ptr<UniqueFd> fd =
      std::make_shared<UniqueFd>(memfd_create("test", MFD_CLOEXEC));
  std::shared_ptr<ChunkCache> chunks;
  MappableRef text;
  Frame last{};
};

TEST_CASE("the fourth mapping makes a copy of the chunk, as far as the file goes") {
  Fixture f;
  for (uint32_t i = 1; i < kHot; ++i) CHECK(f.Ask(600 - 1) == 'x');
  CHECK(f.Copied() == 0);
  const Frame before = f.last;
  CHECK(f.Ask(600 - 1) == 'x');
  CHECK(f.Copied() == 600 - kPagesPerHuge);
  CHECK(f.last == before);  // in place
  f.Heat(0);
  CHECK(f.Copied() == 600);
}

TEST_CASE("only text is copied, and what is mapped with it") {
  Fixture f;
  for (int i = 0; i < 5; ++i) f.Heat(0, false);
  CHECK(f.Copied() == 0);
  f.Heat(kPagesPerHuge);
  CHECK(f.Copied() == 600 - kPagesPerHuge);
  f.Heat(0, false);
  CHECK(f.Copied() == 600);
}

TEST_CASE("no copies where KVM does not page by shadows") {
  Fixture f;
  f.chunks = std::make_shared<ChunkCache>(&f.platform.memory());
  f.Open(false);
  for (int i = 0; i < 5; ++i) f.Heat(0);
  CHECK(f.Copied() == 0);
}

TEST_CASE("a file that has changed is shown as it is, to all, and copied again later") {
  Fixture f;
  f.Heat(0);
  f.Heat(kPagesPerHuge);
  const Frame old = f.last;
  f.Change(kPagesPerHuge, 'y');
  CHECK(f.Byte(old) == 'x');  // nobody asked yet
  CHECK(f.Ask(0) == 'x');
  CHECK(f.Copied() == 0);
  CHECK(f.Byte(old) == 'y');
  CHECK(f.Ask(kPagesPerHuge) == 'y');
  f.Heat(kPagesPerHuge);
  CHECK(f.Copied() == 600 - kPagesPerHuge);
  f.Change(kPagesPerHuge, 'z');
  CHECK(f.Ask(kPagesPerHuge) == 'z');
}

TEST_CASE("a change of the times alone counts, also when mtime is set back") {
  Fixture f;
  struct stat before;
  REQUIRE(fstat(f.fd->get(), &before) == 0);
  f.Heat(0);
  f.Change(0, 'y');
  const struct timespec times[] = {before.st_atim, before.st_mtim};
  REQUIRE(futimens(f.fd->get(), times) == 0);
  CHECK(f.Ask(0) == 'y');
}

TEST_CASE("a file that changed a moment ago is not copied yet") {
  Fixture f(600, 300 * int64_t{1000000});
  f.Change(0, 'a');
  f.Heat(0);
  f.Heat(0);
  CHECK(f.Copied() == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(350));
  f.Heat(0);
  CHECK(f.Copied() == kPagesPerHuge);
}

TEST_CASE("a file that is cut: no pages past its end, and copies of what is left") {
  Fixture f;
  f.Heat(0);
  f.Heat(599);
  const Frame end = f.last;
  REQUIRE(ftruncate(f.fd->get(), 520 * kPageSize) == 0);
  CHECK(f.Byte(end) == 0);
  CHECK(f.text->GetPrivateFrames(599, 1, true).error() == Errno::kFAULT);
  CHECK(f.Ask(519) == 'x');
  f.Heat(519);
  CHECK(f.Copied() == 8);
  REQUIRE(ftruncate(f.fd->get(), 3 * kPageSize) == 0);
  const FrameRun left = f.text->GetPrivateFrames(0, 100, true).value();
  CHECK(left.count == 3);
  f.platform.memory().Unref(left);
  CHECK(f.Ask(512) == 0);
}

TEST_CASE("a shared mapping ends the copies for good, as does one that may be stored to") {
  Fixture f;
  f.Heat(0);
  CHECK(f.Copied() == kPagesPerHuge);
  SECTION("shared") {
    const FrameRun run = f.text->GetFrames(0, 1, Access::kRead).value();
    CHECK(f.Copied() == 0);
    f.Change(0, 'y');
    CHECK(f.Byte(run.first) == 'y');
    f.platform.memory().Unref(run);
  }
  SECTION("stored to") { static_cast<FdPages*>(f.text.get())->KeepLive(); }
  f.Heat(0);
  f.Heat(0);
  CHECK(f.Copied() == 0);
  f.Change(0, 'z');
  CHECK(f.Byte(f.last) == 'z');
}

TEST_CASE("a descriptor that may be written is never copied") {
  Fixture f;
  f.Open(true);
  f.Heat(0);
  f.Heat(0);
  CHECK(f.Copied() == 0);
}

TEST_CASE("copies end with the file's object, and with the room in the cache") {
  Fixture f;
  f.Heat(0);
  f.Heat(599);
  CHECK(f.Copied() == 600);
  SECTION("object") {
    f.text.reset();
    CHECK(f.Copied() == 0);
  }
  SECTION("room") {
    f.chunks = std::make_shared<ChunkCache>(
        &f.platform.memory(),
        ChunkCache::Options{.max_chunks = 1, .copies = true, .hot = kHot, .settled_ns = 0});
    f.Open(false);
    f.Heat(0);
    CHECK(f.Copied() == kPagesPerHuge);
    CHECK(f.Ask(599) == 'x');
    CHECK(f.Copied() == 0);
  }
}

TEST_CASE("beyond the budget, and after memory was short, the pages are the page cache's") {
  Fixture f;
  platform::GuestMemory& memory = f.platform.memory();
  // Fill guest memory until the copies have to go.
  f.Heat(0);
  std::vector<FrameRun> filler;
  while (f.Copied() != 0) filler.push_back(memory.Allocate(kPagesPerHuge).value());
  f.Heat(0);
  f.Heat(0);
  CHECK(f.Copied() == 0);
  f.Change(0, 'y');
  CHECK(f.Byte(f.last) == 'y');
  for (const FrameRun& run : filler) memory.Unref(run);
  f.Heat(0);
  CHECK(f.Copied() == kPagesPerHuge);
  CHECK(f.Ask(0) == 'y');
}

}  // namespace
}  // namespace ringfence::sentry
