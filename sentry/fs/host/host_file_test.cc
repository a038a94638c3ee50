// HostFile on pipes, regular files and a pseudo terminal of the host.
#include "sentry/fs/host/host_file.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "sentry/fs/testing/fixture.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {
namespace {

struct Fixture {
  Fixture() { signal(SIGPIPE, SIG_IGN); }
  FileRef Make(int fd) {
    HostFileOptions options;
    options.notifier = notifier;
    options.chunks = chunks;
    return MakeHostFile(UniqueFd(fd), options).value();
  }
  // Both ends as files of the sandbox.
  std::pair<FileRef, FileRef> MakePipe() {
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    return {Make(fds[0]), Make(fds[1])};
  }
  std::string Read(File& file, size_t n) {
    const Result<std::string> data = ReadFrom(ctx, file, n);
    return data.ok() ? *data : std::string(ErrnoName(data.error()));
  }
  platform::FakePlatform platform;
  std::shared_ptr<ChunkCache> chunks = std::make_shared<ChunkCache>(&platform.memory());
  std::shared_ptr<Notifier> notifier = Notifier::Create().value();
  CallContext ctx = RootContext();
};

// Waits until a queue announces one of the events, at most 10 seconds.
class Watch : public WaitEntry {
 public:
  explicit Watch(File& file, EventMask mask) : queue_(*file.wait_queue()) {
    queue_.Add(this, mask);
  }
  ~Watch() override { queue_.Remove(this); }
  void Wake(EventMask events) override { seen_ |= events; }
  EventMask Wait() {
    for (int i = 0; i < 10000 && seen_ == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return seen_.exchange(0);
  }
  EventMask seen() const { return seen_; }

 private:
  WaitQueue& queue_;
  std::atomic<EventMask> seen_{0};
};

int MemoryFile(std::string_view content) {
  const int fd = memfd_create("test", MFD_CLOEXEC);
  REQUIRE(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
  return fd;
}

TEST_CASE("a descriptor that is not open") {
  CHECK(MakeHostFile(UniqueFd(), {}).error() == Errno::kBADF);
}

TEST_CASE("pipes: data, EAGAIN, the end, EPIPE") {
  Fixture f;
  auto [in, out] = f.MakePipe();
  CHECK(f.Read(*in, 10) == "EAGAIN");
  CHECK(WriteTo(f.ctx, *out, "abc").value() == 3);
  CHECK(f.Read(*in, 2) == "ab");
  CHECK(f.Read(*in, 0).empty());
  CHECK(f.Read(*in, 10) == "c");
  CHECK(in->Seek(f.ctx, 0, SEEK_CUR).error() == Errno::kSPIPE);
  const int64_t offset = 0;
  CHECK(ReadFrom(f.ctx, *in, 1, &offset).error() == Errno::kSPIPE);
  CHECK(in->GetMappable(f.ctx, false).error() == Errno::kNODEV);
  SECTION("the writer goes") {
    out.reset();
    CHECK(f.Read(*in, 10).empty());
    CHECK((in->Poll() & kEventHup) != 0);
  }
  SECTION("the reader goes") {
    in.reset();
    CHECK(WriteTo(f.ctx, *out, "x").error() == Errno::kPIPE);
    CHECK((out->Poll() & kEventErr) != 0);
  }
}

TEST_CASE("nothing blocks, also where the host's description would") {
  Fixture f;
  auto [in, out] = f.MakePipe();
  CHECK((fcntl(0, F_GETFL) & O_NONBLOCK) == 0);
  const std::string much(1 << 20, 'x');
  size_t total = 0;
  for (;;) {
    const Result<size_t> done = WriteTo(f.ctx, *out, much);
    if (!done.ok()) {
      CHECK(done.error() == Errno::kAGAIN);
      break;
    }
    total += *done;
  }
  CHECK(total == 65536);
  CHECK((out->Poll() & kEventOut) == 0);
  CHECK(f.Read(*in, 1 << 20).size() == total);
  CHECK((out->Poll() & kEventOut) != 0);
}

TEST_CASE("who waits is told of data, room and the end, again and again") {
  Fixture f;
  auto [in, out] = f.MakePipe();
  Watch reader(*in, kEventIn);
  for (int i = 0; i < 20; ++i) {
    CHECK((in->Poll() & kEventIn) == 0);
    CHECK(WriteTo(f.ctx, *out, "x").ok());
    CHECK((reader.Wait() & kEventIn) != 0);
    CHECK(f.Read(*in, 10) == "x");
  }
  CHECK(WriteTo(f.ctx, *out, std::string(65536, 'x')).value() == 65536);
  {
    Watch writer(*out, kEventOut);
    CHECK((out->Poll() & kEventOut) == 0);
    CHECK(f.Read(*in, 65536).size() == 65536);
    CHECK((writer.Wait() & kEventOut) != 0);
  }
  CHECK(f.Read(*in, 1) == "EAGAIN");
  out.reset();
  CHECK((reader.Wait() & kEventHup) != 0);
}

TEST_CASE("a read that found nothing arms the watch by itself") {
  Fixture f;
  auto [in, out] = f.MakePipe();
  Watch reader(*in, kEventIn);
  CHECK(f.Read(*in, 1) == "EAGAIN");
  CHECK(WriteTo(f.ctx, *out, "x").ok());
  CHECK((reader.Wait() & kEventIn) != 0);
}

TEST_CASE("a hang-up that nobody reads does not keep the notifier busy") {
  Fixture f;
  auto [in, out] = f.MakePipe();
  Watch reader(*in, kEventIn);
  CHECK(in->Poll() == 0);
  out.reset();
  CHECK((reader.Wait() & kEventHup) != 0);
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const int64_t spent =
      (after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec;
  CHECK(spent < 100'000'000);
}

TEST_CASE("files may go while their notifier is at work") {
  Fixture f;
  for (int i = 0; i < 300; ++i) {
    auto [in, out] = f.MakePipe();
    CHECK(in->Poll() == 0);
    std::thread writer([&f, out = out] { (void)WriteTo(f.ctx, *out, "x"); });
    in.reset();
    writer.join();
  }
}

TEST_CASE("sockets: half closed") {
  Fixture f;
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  const FileRef a = f.Make(fds[0]), b = f.Make(fds[1]);
  CHECK(WriteTo(f.ctx, *a, "abc").value() == 3);
  CHECK(f.Read(*b, 10) == "abc");
  CHECK(f.Read(*b, 10) == "EAGAIN");
  shutdown(fds[0], SHUT_WR);
  CHECK(f.Read(*b, 10).empty());
  CHECK((b->Poll() & (kEventIn | kEventRdHup)) == (kEventIn | kEventRdHup));
  CHECK(a->AnonymousName().starts_with("socket:["));
}

TEST_CASE("a regular file has one offset with those outside") {
  Fixture f;
  const int fd = MemoryFile("0123456789");
  const int outside = dup(fd);
  const FileRef file = f.Make(fd);
  CHECK(f.Read(*file, 3) == "012");
  CHECK(lseek(outside, 0, SEEK_CUR) == 3);
  CHECK(lseek(outside, 7, SEEK_SET) == 7);
  CHECK(f.Read(*file, 10) == "789");
  CHECK(f.Read(*file, 10).empty());
  CHECK(file->Seek(f.ctx, 2, SEEK_SET).value() == 2);
  CHECK(lseek(outside, 0, SEEK_CUR) == 2);
  CHECK(WriteTo(f.ctx, *file, "XY").value() == 2);
  CHECK(lseek(outside, 0, SEEK_CUR) == 4);
  // Positioned calls do not move it.
  const int64_t at = 2;
  CHECK(ReadFrom(f.ctx, *file, 3, &at).value() == "XY4");
  CHECK(WriteTo(f.ctx, *file, "z", &at).value() == 1);
  CHECK(lseek(outside, 0, SEEK_CUR) == 4);
  const int64_t before = -1;
  CHECK(ReadFrom(f.ctx, *file, 1, &before).error() == Errno::kINVAL);
  CHECK(file->Poll() == (kEventIn | kEventOut));
  CHECK(file->Truncate(f.ctx, 5).ok());
  CHECK(file->GetAttr(f.ctx)->size == 5);
  CHECK(file->Truncate(f.ctx, ~uint64_t{0}).error() == Errno::kINVAL);
  close(outside);
}

TEST_CASE("O_APPEND of the host's description is obeyed") {
  Fixture f;
  const int fd = MemoryFile("abc");
  REQUIRE(fcntl(fd, F_SETFL, O_APPEND) == 0);
  const FileRef file = f.Make(fd);
  CHECK((file->flags() & O_APPEND) != 0);
  CHECK(WriteTo(f.ctx, *file, "d").value() == 1);
  const int64_t start = 0;
  CHECK(ReadFrom(f.ctx, *file, 10, &start).value() == "abcd");
}

TEST_CASE("access modes are those of the descriptor, also when opened again") {
  Fixture f;
  auto [in, out] = f.MakePipe();
  CHECK(in->readable());
  CHECK_FALSE(in->writable());
  CHECK(out->writable());
  CHECK(in->inode()->Open(f.ctx, O_WRONLY).error() == Errno::kACCES);
  const FileRef again = in->inode()->Open(f.ctx, O_RDONLY).value();
  CHECK(WriteTo(f.ctx, *out, "abc").ok());
  CHECK(f.Read(*again, 10) == "abc");
}

TEST_CASE("attributes cannot be changed, the size can") {
  Fixture f;
  const FileRef file = f.Make(MemoryFile("abc"));
  SetAttrRequest request;
  request.mode = 0;
  CHECK(ErrorOf(file->inode()->SetAttr(f.ctx, request)) == Errno::kPERM);
  request.size = 1;
  CHECK(file->inode()->SetAttr(f.ctx, request).ok());
  CHECK(file->GetAttr(f.ctx)->size == 1);
}

TEST_CASE("a regular file can be mapped, for writing if it is open for it") {
  Fixture f;
  const FileRef file = f.Make(MemoryFile(std::string(8192, 'x')));
  const MappableRef pages = file->GetMappable(f.ctx, true).value();
  const FrameRun run = pages->GetFrames(0, 10, Access::kWrite).value();
  CHECK(run.count == 2);
  *f.platform.memory().HostAddress(run.first) = std::byte{'y'};
  CHECK(f.Read(*file, 2) == "yx");
  f.platform.memory().Unref(run);
  const std::string name = "/proc/self/fd/" + std::to_string(fileno(std::tmpfile()));
  const FileRef reading = f.Make(open(name.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(reading->GetMappable(f.ctx, false).value()->GetFrames(0, 1, Access::kRead).error() ==
        Errno::kFAULT);
}

// ---- terminals ----

struct Terminal : Fixture {
  Terminal() {
    REQUIRE(openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    termios raw;
    REQUIRE(tcgetattr(slave, &raw) == 0);
    cfmakeraw(&raw);
    REQUIRE(tcsetattr(slave, TCSANOW, &raw) == 0);
    tty = Make(dup(slave));
  }
  ~Terminal() {
    close(master);
    close(slave);
  }
  int master, slave;
  FileRef tty;
};

TEST_CASE("a terminal: input, output, EAGAIN, and no positions") {
  Terminal t;
  CHECK(t.tty->IsTty());
  CHECK(t.tty->AnonymousName() == "/dev/tty");
  CHECK(t.Read(*t.tty, 10) == "EAGAIN");
  REQUIRE(write(t.master, "abc", 3) == 3);
  CHECK(t.Read(*t.tty, 10) == "abc");
  CHECK(WriteTo(t.ctx, *t.tty, "out").value() == 3);
  char buffer[10];
  CHECK(read(t.master, buffer, sizeof(buffer)) == 3);
  CHECK(t.tty->Seek(t.ctx, 0, SEEK_CUR).error() == Errno::kSPIPE);
  // The host's description was left alone.
  CHECK((fcntl(t.slave, F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("a terminal is served on the task's own thread only") {
  Terminal t;
  (void)t.Read(*t.tty, 1);  // finds out that the host knows no RWF_NOWAIT here
  REQUIRE(write(t.master, "abc", 3) == 3);
  t.ctx.may_block = false;
  const Result<std::string> data = ReadFrom(t.ctx, *t.tty, 10);
  if (!data.ok()) CHECK(data.error() == Errno::kWOULDBLOCK_RETRY_ON_TASK);
  t.ctx.may_block = true;
  CHECK(t.Read(*t.tty, 10) == (data.ok() ? "EAGAIN" : "abc"));
}

TEST_CASE("who waits for a terminal is told, and of its hang-up") {
  Terminal t;
  Watch reader(*t.tty, kEventIn);
  CHECK(t.Read(*t.tty, 1) == "EAGAIN");
  REQUIRE(write(t.master, "x", 1) == 1);
  CHECK((reader.Wait() & kEventIn) != 0);
  CHECK(t.Read(*t.tty, 1) == "x");
  CHECK(t.Read(*t.tty, 1) == "EAGAIN");
  close(t.master);
  t.master = -1;
  CHECK((reader.Wait() & kEventHup) != 0);
}

// Says no to the background.
class Background : public JobControl {
 public:
  Result<int32_t> GetForegroundGroup(const CallContext&) override { return 5; }
  Result<void> SetForegroundGroup(const CallContext&, int32_t) override { return Ok(); }
  Result<int32_t> GetSession(const CallContext&) override { return 5; }
  Result<void> Acquire(const CallContext&, int32_t) override { return Ok(); }
  Result<void> Release(const CallContext&) override { return Ok(); }
  Result<void> CheckUse(const CallContext&, Use use) override {
    ++asked;
    return use == Use::kRead ? Result<void>(Errno::kIO) : Ok();
  }
  void Opened(const CallContext&) override {}
  void SignalForeground(SigNo) override {}
  void HangUp() override {}
  int32_t ForegroundId() override { return 5; }
  int32_t SessionId() override { return 5; }
  int asked = 0;
};

TEST_CASE("job control is asked before data moves") {
  Terminal t;
  HostFileOptions options;
  options.notifier = t.notifier;
  const auto job = std::make_shared<Background>();
  options.job_control = job;
  const FileRef file = MakeHostFile(UniqueFd(dup(t.slave)), options).value();
  REQUIRE(write(t.master, "abc", 3) == 3);
  CHECK(t.Read(*file, 10) == "EIO");
  CHECK(WriteTo(t.ctx, *file, "x").ok());
  CHECK(job->asked == 1);  // without TOSTOP anybody may write
  termios settings;
  REQUIRE(tcgetattr(t.slave, &settings) == 0);
  settings.c_lflag |= TOSTOP;
  REQUIRE(tcsetattr(t.slave, TCSANOW, &settings) == 0);
  CHECK(WriteTo(t.ctx, *file, "x").ok());
  CHECK(job->asked == 2);
  CHECK(t.Read(*t.tty, 10) == "abc");  // nothing was taken
}

}  // namespace
}  // namespace ringfence::sentry
