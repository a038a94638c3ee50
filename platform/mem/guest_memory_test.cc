#include "platform/mem/guest_memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "platform/mem/safe_copy.h"

namespace ringfence::platform {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class RecordingSink : public SlotSink {
 public:
  Result<void> AddSlot(uint64_t phys, uint64_t bytes, std::byte* host, bool) override {
    if (fail) return Errno::kNOSPC;
    slots.push_back({phys, bytes, host});
    return Ok();
  }
  struct Slot {
    uint64_t phys, bytes;
    std::byte* host;
  };
  std::vector<Slot> slots;
  bool fail = false;
};

std::unique_ptr<GuestMemory> Create(SlotSink* sink, uint64_t anonymous_bytes = 64 * kMiB) {
  InstallSafeCopyHandler();
  auto memory = GuestMemory::Create({.max_anonymous_bytes = anonymous_bytes}, sink);
  REQUIRE(memory.ok());
  return std::move(memory).value();
}

bool AllBytes(const std::byte* p, size_t n, int value) {
  return std::all_of(p, p + n, [&](std::byte b) { return b == std::byte(value); });
}

class TestFile {
 public:
  explicit TestFile(uint64_t bytes) : fd(memfd_create("test", MFD_CLOEXEC)) {
    REQUIRE(ftruncate(fd, bytes) == 0);
  }
  ~TestFile() { close(fd); }
  const int fd;
};

// Is `address` where one mapping of this process ends and the next begins?
bool IsCut(const std::byte* address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (std::stoull(line, nullptr, 16) == reinterpret_cast<uintptr_t>(address)) return true;
  }
  return false;
}

class ShadowSink : public RecordingSink {
 public:
  HostPaging Paging() const override { return HostPaging::kShadow; }
};

// Found by counting shadow page faults of a program's start: half of them were for pages that were
// there before somebody else's page in the same 2 MiB was invalidated.
TEST_CASE("bug: the host invalidated 2 MiB for a page: blocks of pages lie in two mappings") {
  ShadowSink sink;
  auto memory = Create(&sink);
  const FrameRun part = memory->Allocate(3).value();
  const std::byte* const half = memory->HostAddress(part.first) + kMiB;
  CHECK(IsCut(half));
  memory->Invalidate({part.first, 1});
  CHECK(IsCut(half));
  const FrameRun whole = memory->Allocate(512).value();
  CHECK_FALSE(IsCut(memory->HostAddress(whole.first) + kMiB));
  std::memset(memory->HostAddress(part.first), 0x5a, 3 * kPageSize);
  memory->Unref(part);
  // The block of the parts is kept and used as a whole: in one mapping, and zero.
  const FrameRun again = memory->Allocate(512).value();
  CHECK(again.first == part.first);
  CHECK_FALSE(IsCut(half));
  CHECK(AllBytes(memory->HostAddress(again.first), kHugePageSize, 0));
  memory->Unref(whole);
  memory->Unref(again);

  RecordingSink nested;
  auto plain = Create(&nested);
  const FrameRun run = plain->Allocate(1).value();
  CHECK_FALSE(IsCut(plain->HostAddress(run.first) + kMiB));
  plain->Unref(run);
}

TEST_CASE("frames are zero, also when they are used again") {
  RecordingSink sink;
  auto memory = Create(&sink);
  for (uint64_t count : {1, 5, 16, 512, 1, 512}) {
    const FrameRun run = memory->Allocate(count).value();
    CHECK(run.count == count);
    CHECK(AllBytes(memory->HostAddress(run.first), count * kPageSize, 0));
    std::memset(memory->HostAddress(run.first), 0xee, count * kPageSize);
    memory->Unref(run);
  }
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

TEST_CASE("slots are announced when needed, small ones first, and cover every frame") {
  RecordingSink sink;
  auto memory = Create(&sink, uint64_t{3} << 30);
  CHECK(sink.slots.empty());
  std::vector<FrameRun> runs;
  while (true) {
    auto run = memory->Allocate(512);
    if (!run.ok()) {
      CHECK(run.error() == Errno::kNOMEM);
      break;
    }
    const auto& slot = sink.slots.back();
    REQUIRE(run->first.phys() >= slot.phys);
    REQUIRE(run->end().phys() <= slot.phys + slot.bytes);
    REQUIRE(memory->HostAddress(run->first) == slot.host + (run->first.phys() - slot.phys));
    runs.push_back(*run);
  }
  CHECK(runs.size() == 3 * 512);
  CHECK(sink.slots.front().bytes == 256 * kMiB);
  CHECK(sink.slots.size() == 6);
  for (const auto& slot : sink.slots) CHECK(slot.bytes <= 1024 * kMiB);
  CHECK(memory->GetStats().slots == sink.slots.size());
}

TEST_CASE("a host that has no slot left is out of memory") {
  RecordingSink sink;
  auto memory = Create(&sink);
  sink.fail = true;
  CHECK(memory->Allocate(1).error() == Errno::kNOMEM);
  CHECK(memory->MapFileChunk(TestFile(kHugePageSize).fd, 0, false).error() == Errno::kNOMEM);
  sink.fail = false;
  CHECK(memory->Allocate(1).ok());
}

TEST_CASE("the limit is exact") {
  RecordingSink sink;
  auto memory = Create(&sink, 4 * kMiB + 3 * kPageSize);
  CHECK(memory->Allocate(512).ok());
  CHECK(memory->Allocate(512).ok());
  CHECK(memory->Allocate(4).error() == Errno::kNOMEM);
  const FrameRun last = memory->Allocate(3).value();
  CHECK(memory->Allocate(1).error() == Errno::kNOMEM);
  memory->Unref(last);
  CHECK(memory->Allocate(1).ok());
  CHECK(memory->Allocate(0).error() == Errno::kINVAL);
  CHECK(memory->Allocate(513).error() == Errno::kINVAL);
}

TEST_CASE("frames live until the last reference") {
  RecordingSink sink;
  auto memory = Create(&sink);
  const FrameRun run = memory->Allocate(8).value();
  memory->Ref({Frame{run.first.index + 2}, 3});
  CHECK(memory->RefCount(run.first) == 1);
  CHECK(memory->RefCount(Frame{run.first.index + 2}) == 2);
  memory->Unref(run);
  CHECK(memory->GetStats().anonymous_bytes == 3 * kPageSize);
  memory->Unref({Frame{run.first.index + 2}, 3});
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

TEST_CASE("freed blocks go back to the host") {
  RecordingSink sink;
  auto memory = Create(&sink);
  std::vector<FrameRun> runs;
  for (int i = 0; i < 32; ++i) {
    runs.push_back(memory->Allocate(512).value());
    std::memset(memory->HostAddress(runs.back().first), 1, kHugePageSize);
  }
  CHECK(memory->GetStats().committed_bytes == 64 * kMiB);
  for (const FrameRun& run : runs) memory->Unref(run);
  CHECK(memory->GetStats().committed_bytes == 16 * kMiB);
  unsigned char resident[512];
  int resident_blocks = 0;
  for (const FrameRun& run : runs) {
    REQUIRE(mincore(memory->HostAddress(run.first), kHugePageSize, resident) == 0);
    if ((resident[0] & 1) != 0) ++resident_blocks;
  }
  CHECK(resident_blocks == 8);
}

TEST_CASE("Invalidate keeps contents and is counted") {
  RecordingSink sink;
  auto memory = Create(&sink);
  const FrameRun run = memory->Allocate(512).value();
  std::memset(memory->HostAddress(run.first), 0x42, kHugePageSize);
  const uint64_t generation = memory->InvalidationGeneration();
  CHECK_FALSE(memory->InvalidatedSince(generation));
  memory->Invalidate({Frame{run.first.index + 7}, 1});
  CHECK(memory->InvalidatedSince(generation));
  memory->Invalidate(run);
  memory->Invalidate({run.first, 0});
  CHECK(AllBytes(memory->HostAddress(run.first), kHugePageSize, 0x42));
  CHECK(memory->GetStats().invalidations == 2);
}

TEST_CASE("the sentry can use frames while they are invalidated") {
  RecordingSink sink;
  auto memory = Create(&sink);
  const FrameRun run = memory->Allocate(64).value();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      uint64_t n = 0;
      while (!stop) memory->Invalidate({Frame{run.first.index + (n++ * 7 + t) % 48}, 16});
    });
  }
  // Plain accesses: a page fault here would end the test program.
  uint64_t sum = 0;
  for (int i = 0; i < 300000; ++i) {
    auto* p = reinterpret_cast<uint8_t*>(memory->HostAddress(run.first)) + (i * 37) % (64 * 4096);
    *const_cast<volatile uint8_t*>(p) = 1;
    sum += *const_cast<volatile uint8_t*>(p);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(sum == 300000);
}

TEST_CASE("file chunks show the file, its changes and its end") {
  RecordingSink sink;
  auto memory = Create(&sink);
  TestFile file(kHugePageSize + 2 * kPageSize);
  REQUIRE(pwrite(file.fd, "hello", 5, 0) == 5);
  const FrameRun first = memory->MapFileChunk(file.fd, 0, false).value();
  const FrameRun second = memory->MapFileChunk(file.fd, kHugePageSize, true).value();
  CHECK(memory->IsFileFrame(first.first));
  CHECK_FALSE(memory->IsFileFrame(memory->Allocate(1).value().first));
  char buffer[kPageSize];
  CHECK(SafeCopy(buffer, memory->HostAddress(first.first), 5) == 5);
  CHECK(std::string(buffer, 5) == "hello");
  REQUIRE(pwrite(file.fd, "HE", 2, 0) == 2);
  memory->Invalidate(first);
  CHECK(SafeCopy(buffer, memory->HostAddress(first.first), 5) == 5);
  CHECK(std::string(buffer, 5) == "HEllo");
  // Not writable: the sentry gets a short copy, not a crash.
  CHECK(SafeCopy(memory->HostAddress(first.first), buffer, 5) == 0);
  CHECK(SafeCopy(memory->HostAddress(second.first), "new", 3) == 3);
  CHECK(pread(file.fd, buffer, 3, kHugePageSize) == 3);
  CHECK(std::string(buffer, 3) == "new");
  // The chunk goes on past the end of the file.
  CHECK(SafeCopy(buffer, memory->HostAddress(Frame{second.first.index + 1}), kPageSize) ==
        kPageSize);
  CHECK(SafeCopy(buffer, memory->HostAddress(Frame{second.first.index + 2}), kPageSize) == 0);
  memory->Unref(first);
  memory->Unref(second);
  CHECK(memory->GetStats().file_chunks == 0);
}

TEST_CASE("a chunk is unmapped when its last frame goes") {
  RecordingSink sink;
  auto memory = Create(&sink);
  TestFile file(kHugePageSize);
  const FrameRun chunk = memory->MapFileChunk(file.fd, 0, false).value();
  char byte = 0;
  memory->Unref({chunk.first, 511});
  CHECK(SafeCopy(&byte, memory->HostAddress(chunk.first), 1) == 1);
  memory->Unref({Frame{chunk.first.index + 511}, 1});
  CHECK(SafeCopy(&byte, memory->HostAddress(chunk.first), 1) == 0);
  CHECK(memory->MapFileChunk(file.fd, 0, false).value() == chunk);
}

TEST_CASE("chunks that cannot be mapped") {
  RecordingSink sink;
  auto memory = Create(&sink);
  TestFile file(kHugePageSize);
  CHECK(memory->MapFileChunk(file.fd, kPageSize, false).error() == Errno::kINVAL);
  CHECK(memory->MapFileChunk(-1, 0, false).error() == Errno::kBADF);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(memory->MapFileChunk(ends[0], 0, false).error() == Errno::kNODEV);
  close(ends[0]);
  close(ends[1]);
  CHECK(memory->GetStats().file_chunks == 0);
  GuestMemory::Options two_chunks{.max_anonymous_bytes = 2 * kMiB, .max_file_bytes = 4 * kMiB};
  auto small = GuestMemory::Create(two_chunks, &sink).value();
  CHECK(small->MapFileChunk(file.fd, 0, false).ok());
  CHECK(small->MapFileChunk(file.fd, 0, false).ok());
  CHECK(small->MapFileChunk(file.fd, 0, false).error() == Errno::kNOMEM);
}

TEST_CASE("the host mappings of all chunks together stay bounded") {
  RecordingSink sink;
  auto memory = Create(&sink);
  TestFile file(kHugePageSize);
  uint64_t chunks = 0;
  while (memory->MapFileChunk(file.fd, 0, false).ok()) ++chunks;
  CHECK(chunks == GuestMemory::kMaxFileChunks);
}

// Runs `body` in a child process and returns its exit status, -1 when it was killed.
template <typename Body>
int InChild(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("a host that refuses memory: ENOMEM, and what there is goes on working") {
  CHECK(InChild([] {
          RecordingSink sink;
          auto memory = GuestMemory::Create({.max_anonymous_bytes = uint64_t{2} << 30}, &sink);
          if (!memory.ok()) return 1;
          if (!(*memory)->Allocate(512).ok()) return 2;
          const rlimit data{400 * kMiB, 400 * kMiB};
          if (setrlimit(RLIMIT_DATA, &data) != 0) return 3;
          uint64_t blocks = 1;
          while ((*memory)->Allocate(512).ok()) ++blocks;
          if (blocks != 128) return 4;  // what the first slot holds
          const FrameRun run{Frame{GuestMemory::kWindowStart / kPageSize}, 512};
          (*memory)->Invalidate(run);
          (*memory)->Unref(run);
          return (*memory)->Allocate(16).ok() ? 0 : 5;
        }) == 0);
}

TEST_CASE("no address space for the window: a message that says what to do") {
  CHECK(InChild([] {
          const rlimit space{1024 * kMiB, 1024 * kMiB};
          if (setrlimit(RLIMIT_AS, &space) != 0) return 1;
          RecordingSink sink;
          auto memory = GuestMemory::Create({}, &sink);
          if (memory.ok()) return 2;
          if (memory.status().code() != absl::StatusCode::kResourceExhausted) return 3;
          const std::string message(memory.status().message());
          return message.find("ulimit -v") != std::string::npos ? 0 : 4;
        }) == 0);
}

TEST_CASE("options that make no sense") {
  RecordingSink sink;
  CHECK(GuestMemory::Create({.max_anonymous_bytes = 0}, &sink).status().code() ==
        absl::StatusCode::kInvalidArgument);
  auto status = GuestMemory::Create({.max_anonymous_bytes = uint64_t{1} << 60}, &sink).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("threads allocate, share and free") {
  RecordingSink sink;
  auto memory = Create(&sink, 512 * kMiB);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        auto run = memory->Allocate(1 + (i * 7 + t) % 20);
        if (!run.ok()) {
          ++wrong;
          continue;
        }
        std::byte* p = memory->HostAddress(run->first);
        if (!AllBytes(p, 64, 0)) ++wrong;
        std::memset(p, t + 1, run->count * kPageSize);
        memory->Ref(*run);
        if (!AllBytes(p, run->count * kPageSize, t + 1)) ++wrong;
        memory->Unref(*run);
        memory->Unref(*run);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

TEST_CASE("references of whole blocks and of frames are the same thing") {
  RecordingSink sink;
  auto memory = Create(&sink);
  const FrameRun block = memory->Allocate(512).value();
  std::vector<uint32_t> expected(512, 1);
  std::minstd_rand random(3);
  const auto part = [&](uint64_t first, uint64_t count) {
    return FrameRun{Frame{block.first.index + first}, count};
  };
  for (int i = 0; i < 2000; ++i) {
    const bool whole = random() % 3 == 0;
    const uint64_t first = whole ? 0 : random() % 512;
    const uint64_t count = whole ? 512 : 1 + random() % (512 - first);
    const auto begin = expected.begin() + first;
    // One reference stays, as that of a caller who asks.
    const bool drop = std::all_of(begin, begin + count, [](uint32_t n) { return n > 1; });
    if (drop && random() % 2 == 0) {
      memory->Unref(part(first, count));
      std::for_each(begin, begin + count, [](uint32_t& n) { --n; });
    } else if (expected[first] < 20) {
      memory->Ref(part(first, count));
      std::for_each(begin, begin + count, [](uint32_t& n) { ++n; });
    }
    const uint64_t any = random() % 512;
    REQUIRE(memory->RefCount(part(any, 1).first) == expected[any]);
  }
  CHECK_FALSE(memory->OneReference(block));
  for (uint64_t i = 0; i < 512; ++i) {
    for (; expected[i] > 1; --expected[i]) memory->Unref(part(i, 1));
  }
  CHECK(memory->OneReference(block));
  // The last ones go in parts; then the block is one again.
  memory->Unref(part(100, 412));
  CHECK(memory->GetStats().anonymous_bytes == 100 * kPageSize);
  memory->Unref(part(0, 100));
  CHECK(memory->GetStats().anonymous_bytes == 0);
  memory->Unref(memory->Allocate(512).value());
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

TEST_CASE("threads share whole blocks, split and drop them") {
  RecordingSink sink;
  auto memory = Create(&sink, 256 * kMiB);
  std::vector<FrameRun> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(memory->Allocate(512).value());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t);
      for (int i = 0; i < 3000; ++i) {
        const FrameRun block = blocks[random() % blocks.size()];
        const uint64_t cut = 1 + random() % 511;
        memory->Ref(block);
        if (random() % 2 == 0) {
          memory->Unref(block);
        } else {
          memory->Unref({block.first, cut});
          memory->Unref({Frame{block.first.index + cut}, 512 - cut});
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const FrameRun& block : blocks) {
    CHECK(memory->OneReference(block));
    memory->Unref(block);
  }
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

// Memory of this process without files, in bytes.
uint64_t ResidentAnonymous() {
  std::ifstream status("/proc/self/status");
  std::string word;
  uint64_t kib = 0;
  while (status >> word) {
    if (word == "RssAnon:") status >> kib;
  }
  return kib << 10;
}

TEST_CASE("freed blocks go back to the host at once, but for a few") {
  RecordingSink sink;
  auto memory = Create(&sink, 256 * kMiB);
  const uint64_t before = ResidentAnonymous();
  std::vector<FrameRun> blocks;
  for (int i = 0; i < 64; ++i) {
    blocks.push_back(memory->Allocate(512).value());
    std::memset(memory->HostAddress(blocks.back().first), 1, 2 * kMiB);
  }
  CHECK(ResidentAnonymous() >= before + 128 * kMiB);
  // Neighbours with one call, and others.
  for (int i = 63; i >= 32; --i) memory->Unref(blocks[i]);
  memory->Unref({blocks[0].first, 32 * 512});
  CHECK(ResidentAnonymous() <= before + 17 * kMiB);
  CHECK(memory->GetStats().anonymous_bytes == 0);
}

}  // namespace
}  // namespace ringfence::platform
