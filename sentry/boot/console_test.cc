#include "sentry/boot/console.h"

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

struct Person {
  Person() {
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    socket.Reset(fds[0]);
    terminal = std::make_shared<Terminal>(Terminal::Options{});
    terminal->SetLocked(false);
    REQUIRE(terminal->OpenProgramSide(true).ok());
    console = std::move(Console::Start(UniqueFd(fds[1]), terminal)).value();
  }
  void Show(std::string text) {
    UserIo io(absl::Span<std::byte>(reinterpret_cast<std::byte*>(text.data()), text.size()));
    REQUIRE(terminal->Write(io).ok());
  }
  // Until `bytes` came or the socket ended.
  std::string Watch(size_t bytes) {
    std::string text(bytes, '\0');
    const ssize_t got = recv(socket.get(), text.data(), bytes, MSG_WAITALL);
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return text;
  }
  std::string ReadLine() {
    std::string text(100, '\0');
    while (true) {
      UserIo io(absl::Span<std::byte>(reinterpret_cast<std::byte*>(text.data()), text.size()));
      const Result<size_t> got = terminal->Read(io, false);
      if (got.ok()) return text.substr(0, *got);
      usleep(1000);
    }
  }
  UniqueFd socket;
  TerminalRef terminal;
  std::unique_ptr<Console> console;
};

TEST_CASE("keys are typed, what is shown is sent") {
  Person p;
  REQUIRE(write(p.socket.get(), "hello\r", 6) == 6);
  CHECK(p.ReadLine() == "hello\n");
  p.Show("x\n");
  CHECK(p.Watch(10) == "hello\r\nx\r\n");
}

TEST_CASE("the end of the keys is the program's end of file") {
  Person p;
  REQUIRE(write(p.socket.get(), "part", 4) == 4);
  shutdown(p.socket.get(), SHUT_WR);
  CHECK(p.ReadLine() == "part");
  CHECK(p.ReadLine().empty());
  CHECK(p.ReadLine().empty());
  p.Show("still\n");
  CHECK(p.Watch(11) == "partstill\r\n");
}

TEST_CASE("Finish sends all that was shown") {
  Person p;
  std::thread program([&] {
    for (int i = 0; i < 100; ++i) {
      std::string text(1000, 'x');
      UserIo io(absl::Span<std::byte>(reinterpret_cast<std::byte*>(text.data()), text.size()));
      while (io.remaining() != 0) {
        if (!p.terminal->Write(io).ok()) usleep(1000);
      }
    }
    p.console->Finish();
  });
  CHECK(p.Watch(200000).size() == 100000);
  program.join();
}

TEST_CASE("nobody at the other end is a hang-up") {
  Person p;
  p.socket.Reset();
  p.Show("x");
  for (int i = 0; i < 5000 && !p.terminal->hung_up(); ++i) usleep(1000);
  CHECK(p.terminal->hung_up());
  p.console->Finish();
}

}  // namespace
}  // namespace ringfence::sentry
