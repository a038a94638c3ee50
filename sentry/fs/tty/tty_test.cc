#include <asm/ioctls.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"
#include "sentry/fs/tty/devpts.h"

namespace ringfence::sentry {
namespace {

struct TtyFixture : TreeFixture {
  TtyFixture() {
    devpts = Devpts::Create({.new_job_control = nullptr, .timers = &timers});
    Mkdir("/pts");
    REQUIRE(ns->Mount(devpts, *Vfs::Resolve(ctx, base, "/pts"), "devpts", 0).ok());
    devices.AddCharacter(
        5, 2, [this](const CallContext& c, uint32_t flags) { return devpts->OpenPtmx(c, flags); });
    REQUIRE(Vfs::Mknod(ctx, base, "/ptmx", S_IFCHR | 0666, makedev(5, 2)).ok());
    screen = *Open("/ptmx", O_RDWR);
    terminal = devpts->NewTerminal(*ctx.creds, DefaultTermios(), {}).value();
    terminal->SetLocked(false);
    program = *Open("/pts/1", O_RDWR);
  }
  std::string Read(File& file, size_t n = 100) {
    const Result<std::string> text = ReadFrom(ctx, file, n);
    return text.ok() ? *text : std::string(ErrnoName(text.error()));
  }
  std::string Screen() {
    std::string text(100, '\0');
    bool ended;
    text.resize(terminal->TakeOutput(text.data(), text.size(), &ended));
    return text;
  }
  void Change(void (*change)(Termios&)) {
    Termios t = terminal->termios();
    change(t);
    terminal->SetTermios(t, false);
  }
  TimerQueue timers;
  std::shared_ptr<Devpts> devpts;
  FileRef screen, program;
  TerminalRef terminal;
};

TEST_CASE("devpts lists the terminals that exist") {
  TtyFixture t;
  CHECK(t.List("/pts") == std::vector<std::string>{"ptmx", "0", "1"});
  const Attributes attributes = *t.Stat("/pts/0");
  CHECK(attributes.mode == (S_IFCHR | 0620));
  CHECK(attributes.rdev == makedev(136, 0));
  CHECK(attributes.gid == 5);
  CHECK(t.OpenError("/pts/0", O_RDWR) == Errno::kIO);  // locked
  CHECK(t.OpenError("/pts/7", O_RDWR) == Errno::kNOENT);
  CHECK(t.OpenError("/pts/00", O_RDWR) == Errno::kNOENT);
  CHECK(t.OpenError("/pts/x", O_RDWR | O_CREAT) == Errno::kPERM);
  CHECK(*t.screen->PeerPath() == "pts/0");
  CHECK(*(*t.Open("/pts/ptmx", O_RDWR))->PeerPath() == "2");
  t.screen = nullptr;
  CHECK(t.List("/pts") == std::vector<std::string>{"ptmx", "1"});
}

TEST_CASE("there are only so many terminals") {
  TtyFixture t;
  std::vector<FileRef> all;
  while (true) {
    Result<FileRef> next = t.Open("/ptmx", O_RDWR);
    if (!next.ok()) {
      CHECK(next.error() == Errno::kNOSPC);
      break;
    }
    all.push_back(*next);
  }
  CHECK(all.size() == Devpts::kMaxTerminals - 2);
}

TEST_CASE("what is typed is read, what is written is shown") {
  TtyFixture t;
  CHECK(t.Read(*t.program) == "EAGAIN");
  CHECK(t.terminal->Type("hello\r") == 6);
  CHECK((t.program->Poll() & kEventIn) != 0);
  CHECK(t.Read(*t.program) == "hello\n");
  CHECK(*WriteTo(t.ctx, *t.program, "x\n") == 2);
  CHECK(t.Screen() == "hello\r\nx\r\n");
}

TEST_CASE("a program that does not read leaves the keyboard without room") {
  TtyFixture t;
  t.terminal->Type("line\n");
  const std::string many(50000, 'x');
  size_t taken = 0;
  while (const size_t n = t.terminal->Type(many)) taken += n;
  CHECK(taken >= Terminal::kKeyCapacity);
  CHECK(taken < 20000);
  CHECK((t.terminal->PollScreen() & kEventOut) == 0);
  CHECK(t.Read(*t.program) == "line\n");
  CHECK((t.terminal->PollScreen() & kEventOut) != 0);
}

TEST_CASE("a screen that does not look leaves the program without room") {
  TtyFixture t;
  size_t total = 0;
  for (Result<size_t> n = size_t{0}; n.ok(); n = WriteTo(t.ctx, *t.program, std::string(1000, 'x')))
    total += *n;
  CHECK(total < 20000);
  CHECK((t.program->Poll() & kEventOut) == 0);
  CHECK(t.Screen().size() == 100);
}

TEST_CASE("hang-up: reads end, all else fails") {
  TtyFixture t;
  t.terminal->Type("line\n");
  t.terminal->HangUp();
  CHECK(t.Read(*t.program) == "");
  CHECK(ErrorOf(WriteTo(t.ctx, *t.program, "x")) == Errno::kIO);
  CHECK((t.program->Poll() & kEventHup) != 0);
  CHECK(t.OpenError("/pts/1", O_RDWR) == Errno::kIO);
}

TEST_CASE("the screen reads what was left and then EIO once no program is there") {
  TtyFixture t;
  FileRef other = *t.Open("/pts/ptmx", O_RDWR);
  CHECK(t.Read(*other) == "EAGAIN");  // nobody was there yet
  CHECK((other->Poll() & kEventHup) == 0);
  CHECK(*WriteTo(t.ctx, *t.program, "bye") == 3);
  t.program = nullptr;
  CHECK(t.Screen() == "bye");
  CHECK((t.terminal->PollScreen() & kEventHup) != 0);
  bool ended = false;
  char byte;
  CHECK(t.terminal->TakeOutput(&byte, 1, &ended) == 0);
  CHECK(ended);
  t.program = *t.Open("/pts/1", O_RDWR);
  CHECK((t.terminal->PollScreen() & kEventHup) == 0);
}

TEST_CASE("VMIN and VTIME") {
  TtyFixture t;
  t.Change([](Termios& s) {
    s.c_lflag = 0;
    s.c_cc[VMIN] = 3;
    s.c_cc[VTIME] = 0;
  });
  t.terminal->Type("ab");
  CHECK(t.Read(*t.program) == "EAGAIN");
  CHECK(t.Read(*t.program, 2) == "ab");  // all that was asked for
  t.terminal->Type("abc");
  CHECK(t.Read(*t.program) == "abc");
  t.program->SetStatusFlags(O_NONBLOCK);
  t.terminal->Type("d");
  CHECK(t.Read(*t.program) == "d");
  t.program->SetStatusFlags(0);

  t.Change([](Termios& s) { s.c_cc[VTIME] = 1; });
  t.terminal->Type("e");
  CHECK(t.Read(*t.program) == "EAGAIN");
  std::string got = "EAGAIN";
  const Deadline end = Deadline::After(5 * kNanosPerSecond);
  while (got == "EAGAIN" && !end.Passed()) got = t.Read(*t.program);
  CHECK(got == "e");  // a tenth of a second without another

  CHECK(t.program->ReadTimeoutNs() == -1);
  t.Change([](Termios& s) {
    s.c_cc[VMIN] = 0;
    s.c_cc[VTIME] = 2;
  });
  CHECK(t.Read(*t.program) == "EAGAIN");
  CHECK(t.program->ReadTimeoutNs() == 200'000'000);
  t.Change([](Termios& s) { s.c_cc[VTIME] = 0; });
  CHECK(t.Read(*t.program) == "");
}

TEST_CASE("the end of input is an end of file for each read by lines, and one key for others") {
  TtyFixture t;
  t.terminal->Type("partial");
  t.terminal->EndInput();
  CHECK((t.program->Poll() & kEventIn) != 0);
  CHECK(t.Read(*t.program) == "partial");
  CHECK(t.Read(*t.program) == "");
  CHECK(t.Read(*t.program) == "");
  t.Change([](Termios& s) { s.c_lflag &= ~uint32_t{ICANON}; });
  CHECK(t.Read(*t.program) == "\x04");
  CHECK(t.Read(*t.program) == "EAGAIN");
  t.Change([](Termios&) {});
  CHECK(t.Read(*t.program) == "\x04");
}

TEST_CASE("flushing") {
  TtyFixture t;
  t.terminal->Type("line\n");
  t.terminal->Flush(Terminal::Queue::kInput);
  CHECK(t.Read(*t.program) == "EAGAIN");
  t.terminal->Type("line\n");
  t.terminal->SetTermios(t.terminal->termios(), /*flush_input=*/true);
  CHECK(t.Read(*t.program) == "EAGAIN");
}

TEST_CASE("packet mode says what happened before what was written") {
  TtyFixture t;
  FileRef ptmx = *t.Open("/pts/ptmx", O_RDWR);
  const TerminalRef mine = t.terminal;
  mine->SetPacketMode(true);
  mine->Type("\x13");
  char bytes[8];
  UserIo io(absl::Span<std::byte>(reinterpret_cast<std::byte*>(bytes), 8));
  CHECK((mine->PollScreen() & kEventPri) != 0);
  CHECK(*mine->ReadOutput(io) == 1);
  CHECK(bytes[0] == TIOCPKT_STOP);
  mine->Type("\x11");
  CHECK(*WriteTo(t.ctx, *t.program, "x") == 1);
  UserIo more(absl::Span<std::byte>(reinterpret_cast<std::byte*>(bytes), 8));
  CHECK(*mine->ReadOutput(more) == 1);
  CHECK(bytes[0] == TIOCPKT_START);
  CHECK(*mine->ReadOutput(more) == 2);
  CHECK(bytes[1] == TIOCPKT_DATA);
  CHECK(bytes[2] == 'x');
}

}  // namespace
}  // namespace ringfence::sentry
