// pipe(7), fifo(7), pipe2(2), fcntl(2) F_SETPIPE_SZ, poll(2). The numbers are what Linux gives.
#include "sentry/fs/pipe/pipe.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

struct Fixture {
  explicit Fixture(uint32_t flags = 0) : ends(MakePipe(ctx, flags)) {}
  // Bytes, or the errno as a negative number.
  long Write(size_t n, char c = 'x') { return WriteData(std::string(n, c)); }
  long WriteData(std::string_view data) {
    const Result<size_t> done = WriteTo(ctx, *ends.write_end, data);
    return done.ok() ? static_cast<long>(*done) : -static_cast<long>(done.error());
  }
  long Read(size_t n) {
    const Result<std::string> data = ReadFrom(ctx, *ends.read_end, n);
    return data.ok() ? static_cast<long>(data->size()) : -static_cast<long>(data.error());
  }
  Result<int64_t> Resize(uint64_t size) { return ends.write_end->Fcntl(ctx, F_SETPIPE_SZ, size); }
  CallContext ctx = RootContext();
  PipeEnds ends;
};

// Collects what a queue announces.
class Watch : public WaitEntry {
 public:
  explicit Watch(File& file, EventMask mask = kEventIn | kEventOut) : queue_(*file.wait_queue()) {
    queue_.Add(this, mask);
  }
  ~Watch() override { queue_.Remove(this); }
  void Wake(EventMask events) override { seen_ |= events; }
  EventMask Take() { return seen_.exchange(0); }

 private:
  WaitQueue& queue_;
  std::atomic<EventMask> seen_{0};
};

TEST_CASE("bytes come out in order, through many wraps of the ring") {
  Fixture f;
  std::string sent, got;
  for (int i = 0; i < 500; ++i) {
    std::string data(static_cast<size_t>(i * 37 % 3000 + 1), static_cast<char>('a' + i % 26));
    REQUIRE(f.WriteData(data) == static_cast<long>(data.size()));
    sent += data;
    const size_t n = static_cast<size_t>(i * 53 % 3000 + 1);
    if (sent.size() - got.size() > 20000 || i % 3 == 0) {
      got += ReadFrom(f.ctx, *f.ends.read_end, n * 3).value();
    }
  }
  got += ReadFrom(f.ctx, *f.ends.read_end, 1 << 20).value();
  CHECK(got == sent);
}

TEST_CASE("writes of up to PIPE_BUF bytes are whole or nothing") {
  Fixture f;
  CHECK(f.Write(1 << 20) == 65536);
  CHECK(f.Write(1) == -EAGAIN);
  CHECK(f.Read(4095) == 4095);
  CHECK(f.Write(4096) == -EAGAIN);
  CHECK(f.Read(1) == 1);
  CHECK(f.Write(4096) == 4096);
  CHECK(f.Read(6000) == 6000);
  // A larger one takes what room there is.
  CHECK(f.Write(8000) == 6000);
}

TEST_CASE("writers that share a pipe never mix small writes") {
  Fixture f;
  std::atomic<int> running = 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      CallContext ctx = RootContext();
      const std::string data(1000, static_cast<char>('a' + t));
      for (int i = 0; i < 500;) {
        if (WriteTo(ctx, *f.ends.write_end, data).ok()) {
          ++i;
        } else {
          std::this_thread::yield();
        }
      }
      --running;
    });
  }
  std::string all;
  while (running != 0 || f.ends.read_end->Poll() != 0) {
    Result<std::string> part = ReadFrom(f.ctx, *f.ends.read_end, 777);
    if (part.ok()) all += *part;
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(all.size() == 4 * 500 * 1000);
  bool mixed = false;
  for (size_t i = 0; i < all.size(); i += 1000) {
    mixed |= all.find_first_not_of(all[i], i) < std::min(i + 1000, all.size());
  }
  CHECK_FALSE(mixed);
}

TEST_CASE("empty: EAGAIN with writers, the end without") {
  Fixture f;
  CHECK(f.Read(10) == -EAGAIN);
  CHECK(f.Read(0) == 0);
  CHECK(f.Write(3) == 3);
  f.ends.write_end.reset();
  CHECK(f.Read(10) == 3);
  CHECK(f.Read(10) == 0);
}

TEST_CASE("no readers: EPIPE, but nothing can be written always") {
  Fixture f;
  CHECK(f.Write(5) == 5);
  f.ends.read_end.reset();
  CHECK(f.Write(1) == -EPIPE);
  CHECK(f.Write(0) == 0);
}

TEST_CASE("what poll says") {
  Fixture f;
  File& in = *f.ends.read_end;
  File& out = *f.ends.write_end;
  CHECK(in.Poll() == 0);
  CHECK(out.Poll() == kEventOut);
  f.Write(1);
  CHECK(in.Poll() == kEventIn);
  f.Write(1 << 20);
  CHECK(out.Poll() == 0);
  f.Read(1);
  CHECK(out.Poll() == 0);
  f.Read(4095);
  CHECK(out.Poll() == kEventOut);
  SECTION("the writer goes") {
    f.ends.write_end.reset();
    CHECK(in.Poll() == (kEventIn | kEventHup));
    f.Read(1 << 20);
    CHECK(in.Poll() == kEventHup);
  }
  SECTION("the reader goes") {
    f.ends.read_end.reset();
    CHECK(out.Poll() == (kEventOut | kEventErr));
  }
}

TEST_CASE("who waits is told") {
  Fixture f;
  Watch reader(*f.ends.read_end, kEventIn), writer(*f.ends.write_end, kEventOut);
  f.Write(1);
  CHECK(reader.Take() == kEventIn);
  CHECK(writer.Take() == 0);
  f.Read(1);
  CHECK(writer.Take() == kEventOut);
  SECTION("of the end") {
    f.ends.write_end.reset();
    CHECK((reader.Take() & kEventHup) != 0);
  }
  SECTION("of a broken pipe") {
    f.ends.read_end.reset();
    CHECK((writer.Take() & kEventErr) != 0);
  }
}

TEST_CASE("capacities are powers of two of pages") {
  Fixture f;
  CHECK(f.ends.read_end->Fcntl(f.ctx, F_GETPIPE_SZ, 0).value() == 65536);
  CHECK(f.Resize(0).value() == 4096);
  CHECK(f.Resize(4097).value() == 8192);
  CHECK(f.Resize(1 << 20).value() == 1 << 20);
  CHECK(f.Resize(uint64_t{1} << 31).error() == Errno::kPERM);  // beyond what all pipes may have
  CHECK(f.Resize((uint64_t{1} << 31) + 1).error() == Errno::kINVAL);
  CHECK(f.Write(3 << 19) == 1 << 20);
  CHECK(f.Resize(1 << 19).error() == Errno::kBUSY);
  CHECK(f.Read(3 << 18) == 3 << 18);
  CHECK(f.Resize(1 << 19).value() == 1 << 19);
  CHECK(f.Read(1 << 20) == 1 << 18);
}

TEST_CASE("beyond the maximum only with CAP_SYS_RESOURCE") {
  Fixture f;
  CHECK(f.Resize((1 << 20) + 1).value() == 1 << 21);
  f.ctx = UserContext(1000, 1000);
  CHECK(f.Resize(1 << 22).error() == Errno::kPERM);
  CHECK(f.Resize(1 << 21).value() == 1 << 21);
}

TEST_CASE("pipes of a sandbox cannot take all memory") {
  std::vector<std::unique_ptr<Fixture>> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(std::make_unique<Fixture>());
    (void)many.back()->Resize(1 << 20);
  }
  uint64_t total = 0;
  for (const auto& f : many) {
    total += static_cast<uint64_t>(f->ends.read_end->Fcntl(f->ctx, F_GETPIPE_SZ, 0).value());
  }
  CHECK(total <= Pipe::kSoftTotal + many.size() * Pipe::kMinCapacity);
  // New ones still work, and get all again once the others are gone.
  CHECK(Fixture().Write(1 << 20) < 65536);
  many.clear();
  CHECK(Fixture().Write(1 << 20) == 65536);
}

TEST_CASE("packets: one read, one write, the rest dropped") {
  Fixture f(O_DIRECT);
  CHECK(f.Write(5) == 5);
  CHECK(f.Write(4096) == 4096);
  CHECK(f.Write(6000) == 4096);
  CHECK(f.Read(3) == 3);
  CHECK(f.Read(9000) == 4096);
  CHECK(f.Read(9000) == 4096);
  CHECK(f.Read(1) == -EAGAIN);
  int count = 0;
  while (f.Write(1) == 1) ++count;
  CHECK(count == 16);
}

TEST_CASE("a pipe has no positions and no names of devices") {
  Fixture f;
  const int64_t offset = 0;
  CHECK(ReadFrom(f.ctx, *f.ends.read_end, 1, &offset).error() == Errno::kSPIPE);
  CHECK(WriteTo(f.ctx, *f.ends.write_end, "x", &offset).error() == Errno::kSPIPE);
  CHECK(f.ends.read_end->Seek(f.ctx, 0, SEEK_CUR).error() == Errno::kSPIPE);
  CHECK(f.ends.read_end->Truncate(f.ctx, 0).error() == Errno::kINVAL);
  CHECK(f.ends.read_end->GetMappable(f.ctx, false).error() == Errno::kNODEV);
  CHECK(f.ends.read_end->AnonymousName() == f.ends.write_end->AnonymousName());
  CHECK(f.ends.read_end->GetAttr(f.ctx)->mode == (S_IFIFO | 0600));
  CHECK(f.ends.read_end->GetAttr(f.ctx)->ino == f.ends.write_end->GetAttr(f.ctx)->ino);
}

TEST_CASE("an end opened again through its inode (/proc/PID/fd) is another end") {
  Fixture f;
  const FileRef again = f.ends.read_end->inode()->Open(f.ctx, O_WRONLY).value();
  f.ends.write_end.reset();
  CHECK(f.Read(1) == -EAGAIN);
  CHECK(WriteTo(f.ctx, *again, "abc").value() == 3);
  CHECK(f.Read(10) == 3);
}

// ---- fifos ----

std::shared_ptr<Pipe> NewFifo() { return std::make_shared<Pipe>(); }

TEST_CASE("a fifo's open waits for the other end") {
  const auto pipe = NewFifo();
  const FileRef reader = OpenFifo(pipe, O_RDONLY).value();
  CHECK(reader->OpenPending());
  Watch watch(*reader);
  const FileRef writer = OpenFifo(pipe, O_WRONLY).value();
  CHECK(watch.Take() != 0);
  CHECK_FALSE(reader->OpenPending());
  CHECK_FALSE(writer->OpenPending());
}

TEST_CASE("a fifo's open sees an end that came and went") {
  const auto pipe = NewFifo();
  const FileRef writer = OpenFifo(pipe, O_WRONLY).value();
  CHECK(writer->OpenPending());
  (void)OpenFifo(pipe, O_RDONLY | O_NONBLOCK);
  CHECK_FALSE(writer->OpenPending());
}

TEST_CASE("a fifo's open counts the end that was there, even if it has gone since") {
  const auto pipe = NewFifo();
  FileRef writer = OpenFifo(pipe, O_WRONLY).value();
  const FileRef reader = OpenFifo(pipe, O_RDONLY).value();
  CHECK_FALSE(writer->OpenPending());
  writer.reset();
  CHECK_FALSE(reader->OpenPending());
}

// The counts of ends were read after the new end had become visible: a writer that met the reader,
// wrote and went in between was taken for one of before, and the reader's open waited for ever.
TEST_CASE("a fifo's open never misses an end that comes and goes at once") {
  CallContext ctx = RootContext();
  int missed = 0;
  for (int i = 0; i < 10000; ++i) {
    const auto pipe = NewFifo();
    std::atomic<bool> wrote = false;
    std::thread writer([&] {
      Result<FileRef> file = Errno::kNXIO;
      while (!(file = OpenFifo(pipe, O_WRONLY | O_NONBLOCK)).ok()) {
      }
      (void)WriteTo(ctx, **file, "hello");
      file = Errno::kNXIO;
      wrote = true;
    });
    const FileRef reader = OpenFifo(pipe, O_RDONLY).value();
    while (!wrote) std::this_thread::yield();
    missed += reader->OpenPending();
    writer.join();
  }
  CHECK(missed == 0);
}

TEST_CASE("opening a fifo without waiting") {
  const auto pipe = NewFifo();
  CHECK(OpenFifo(pipe, O_WRONLY | O_NONBLOCK).error() == Errno::kNXIO);
  CHECK_FALSE(OpenFifo(pipe, O_RDWR).value()->OpenPending());
  const FileRef reader = OpenFifo(pipe, O_RDONLY | O_NONBLOCK).value();
  CHECK_FALSE(reader->OpenPending());
  // No hang-up before there was a writer; the end of file all the same.
  CallContext ctx = RootContext();
  CHECK(reader->Poll() == 0);
  CHECK(ReadFrom(ctx, *reader, 1)->empty());
  FileRef writer = OpenFifo(pipe, O_WRONLY | O_NONBLOCK).value();
  CHECK(ReadFrom(ctx, *reader, 1).error() == Errno::kAGAIN);
  writer.reset();
  CHECK(reader->Poll() == kEventHup);
}

TEST_CASE("what is in a fifo goes with its last end") {
  const auto pipe = NewFifo();
  CallContext ctx = RootContext();
  FileRef both = OpenFifo(pipe, O_RDWR).value();
  CHECK(WriteTo(ctx, *both, "abc").value() == 3);
  const FileRef reader = OpenFifo(pipe, O_RDONLY | O_NONBLOCK).value();
  both.reset();
  CHECK(ReadFrom(ctx, *reader, 1).value() == "a");
  const_cast<FileRef&>(reader).reset();
  both = OpenFifo(pipe, O_RDWR).value();
  CHECK(ReadFrom(ctx, *both, 10).error() == Errno::kAGAIN);
}

TEST_CASE("a fifo by name: made, opened, kept apart from its name") {
  TreeFixture t;
  CHECK(Vfs::Mknod(t.ctx, t.base, "/p", S_IFIFO | 0644, 0).ok());
  const FileRef reader = t.Open("/p", O_RDONLY | O_NONBLOCK).value();
  const FileRef writer = t.Open("/p", O_WRONLY | O_NONBLOCK).value();
  CHECK(t.Unlink("/p") == Errno{});
  CHECK(WriteTo(t.ctx, *writer, "abc").value() == 3);
  CHECK(ReadFrom(t.ctx, *reader, 10).value() == "abc");
  CHECK(t.OpenError("/p", O_RDONLY) == Errno::kNOENT);
}

}  // namespace
}  // namespace ringfence::sentry
