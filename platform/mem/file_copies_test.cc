// Copies of file chunks: what they show, what they count as, when they go.
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "platform/mem/guest_memory.h"
#include "platform/mem/safe_copy.h"

namespace ringfence::platform {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class Sink : public SlotSink {
 public:
  Result<void> AddSlot(uint64_t, uint64_t, std::byte*, bool) override { return Ok(); }
};

// A file of 'x' and one chunk of it.
struct Fixture {
  explicit Fixture(uint64_t pages = kPagesPerHuge, uint64_t anonymous_bytes = 128 * kMiB) {
    InstallSafeCopyHandler();
    memory = GuestMemory::Create({.max_anonymous_bytes = anonymous_bytes}, &sink).value();
    const std::string content(pages * kPageSize, 'x');
    REQUIRE(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    chunk = memory->MapFileChunk(fd, 0, false).value();
  }
  ~Fixture() { close(fd); }
  void Change(uint64_t page, char byte) {
    REQUIRE(pwrite(fd, &byte, 1, static_cast<off_t>(page * kPageSize)) == 1);
  }
  // The first byte of a page, 0 when it has no backing.
  char Byte(uint64_t page) const {
    char byte = 0;
    SafeCopy(&byte, memory->HostAddress(Frame{chunk.first.index + page}), 1);
    return byte;
  }
  uint64_t Copied() const { return memory->GetStats().copied_bytes / kPageSize; }
  Result<void> Copy(uint64_t pages) { return memory->CopyFileChunk(chunk.first, fd, 0, pages); }

  Sink sink;
  const int fd = memfd_create("test", MFD_CLOEXEC);
  std::unique_ptr<GuestMemory> memory;
  FrameRun chunk{};
};

TEST_CASE("a copy no longer follows the file, until it is dropped") {
  Fixture f;
  CHECK_FALSE(f.memory->HasCopies(f.chunk.first));
  REQUIRE(f.Copy(kPagesPerHuge).ok());
  CHECK(f.memory->HasCopies(f.chunk.first));
  CHECK(f.Copied() == kPagesPerHuge);
  f.Change(3, 'y');
  CHECK(f.Byte(3) == 'x');
  f.memory->DropCopies(f.chunk.first);
  CHECK_FALSE(f.memory->HasCopies(f.chunk.first));
  CHECK(f.Byte(3) == 'y');
  CHECK(f.Copied() == 0);
  f.Change(3, 'z');
  CHECK(f.Byte(3) == 'z');
  // And again.
  REQUIRE(f.Copy(4).ok());
  REQUIRE(f.Copy(4).ok());
  CHECK(f.Copied() == 4);
  f.Change(3, 'a');
  f.Change(4, 'b');
  CHECK(f.Byte(3) == 'z');
  CHECK(f.Byte(4) == 'b');
}

TEST_CASE("copies outlast Invalidate, also of many chunks at once") {
  Fixture f(2 * kPagesPerHuge);
  const FrameRun second = f.memory->MapFileChunk(f.fd, kHugePageSize, false).value();
  const FrameRun third = f.memory->MapFileChunk(f.fd, 0, true).value();
  REQUIRE(second.first == f.chunk.end());
  REQUIRE(third.first == second.end());
  REQUIRE(f.Copy(kPagesPerHuge).ok());
  f.Change(0, 'y');
  f.Change(511, 'y');
  f.Change(512, 'y');
  const uint64_t generation = f.memory->InvalidationGeneration();
  const uint64_t before = f.memory->GetStats().invalidations;
  f.memory->Invalidate({f.chunk.first, 3 * kPagesPerHuge});
  CHECK(f.memory->GetStats().invalidations == before + 2);  // copies, and the rest together
  CHECK(f.memory->InvalidatedSince(generation));
  f.memory->Invalidate({Frame{f.chunk.first.index + 510}, 4});
  CHECK(f.Byte(0) == 'x');
  CHECK(f.Byte(511) == 'x');
  CHECK(f.Byte(512) == 'y');
  CHECK(f.Byte(1024) == 'y');
}

TEST_CASE("a file that is cut takes its copies along") {
  Fixture f;
  REQUIRE(f.Copy(kPagesPerHuge).ok());
  REQUIRE(ftruncate(f.fd, 7 * kPageSize) == 0);
  CHECK(f.Byte(6) == 'x');
  CHECK(f.Byte(7) == 0);
  REQUIRE(ftruncate(f.fd, 8 * kPageSize) == 0);
  f.Change(7, 'n');
  CHECK(f.Byte(7) == 'n');
  // More than there is.
  CHECK(f.Copy(9).error() == Errno::kFAULT);
  CHECK(f.Copied() == 0);
  CHECK_FALSE(f.memory->HasCopies(f.chunk.first));
  f.Change(0, 'y');
  CHECK(f.Byte(0) == 'y');
}

TEST_CASE("copies that cannot be") {
  Fixture f;
  CHECK(f.Copy(0).error() == Errno::kINVAL);
  CHECK(f.Copy(kPagesPerHuge + 1).error() == Errno::kINVAL);
  const FrameRun anonymous = f.memory->Allocate(1).value();
  CHECK(f.memory->CopyFileChunk(anonymous.first, f.fd, 0, 1).error() == Errno::kINVAL);
  CHECK(f.memory->CopyFileChunk(f.chunk.first, -1, 0, 1).error() == Errno::kBADF);
  CHECK(f.Copied() == 0);
  CHECK(f.Byte(0) == 'x');
}

TEST_CASE("a sixteenth of memory at most is copies, and they end with their chunk") {
  Fixture f(kPagesPerHuge, 64 * kMiB);
  const FrameRun second = f.memory->MapFileChunk(f.fd, 0, false).value();
  const FrameRun third = f.memory->MapFileChunk(f.fd, 0, false).value();
  REQUIRE(f.Copy(kPagesPerHuge).ok());
  CHECK(f.memory->CopyFileChunk(second.first, f.fd, 0, kPagesPerHuge).ok());
  CHECK(f.memory->CopyFileChunk(third.first, f.fd, 0, 1).error() == Errno::kNOMEM);
  f.memory->Unref(second);
  CHECK(f.Copied() == kPagesPerHuge);
  CHECK(f.memory->CopyFileChunk(third.first, f.fd, 0, kPagesPerHuge).ok());
  // The chunk's number is used again, without its copies.
  const FrameRun again = f.memory->MapFileChunk(f.fd, 0, false).value();
  CHECK(again == second);
  CHECK_FALSE(f.memory->HasCopies(again.first));
  f.memory->Unref(f.chunk);
  f.memory->Unref(third);
  CHECK(f.Copied() == 0);
}

TEST_CASE("who needs memory gets that of the copies") {
  Fixture f(kPagesPerHuge, 32 * kMiB);
  const uint64_t pages = 32 * kMiB / kPageSize;
  REQUIRE(f.Copy(kPagesPerHuge).ok());
  uint64_t used = 0;
  for (; used + kPagesPerHuge < pages; used += kPagesPerHuge) {
    REQUIRE(f.memory->Allocate(kPagesPerHuge).ok());
    CHECK(f.Copied() == kPagesPerHuge);
  }
  f.Change(0, 'y');
  CHECK(f.Byte(0) == 'x');
  REQUIRE(f.memory->Allocate(kPagesPerHuge).ok());
  CHECK(f.Copied() == 0);
  CHECK(f.Byte(0) == 'y');
  CHECK_FALSE(f.memory->Allocate(1).ok());
  // Not while so little is free.
  CHECK(f.Copy(1).error() == Errno::kNOMEM);
}

}  // namespace
}  // namespace ringfence::platform
