#include "sentry/net/unix/unix_socket.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"
#include "sentry/net/socket_file.h"

namespace ringfence::sentry {
namespace {

struct Ends {
  FileRef a, b;
};

class UnixFixture {
 public:
  Ends Pair(int type) {
    const auto [a, b] = UnixSocket::MakePair(t.ctx, domain, type);
    return {SocketFile::Make(t.ctx, a, 0), SocketFile::Make(t.ctx, b, 0)};
  }
  FileRef Make(int type) { return SocketFile::Make(t.ctx, UnixSocket::Make(domain, type), 0); }
  static Socket& Of(const FileRef& file) { return file->AsSocket()->socket(); }
  Errno Bind(const FileRef& file, const std::string& path) {
    return ErrorOf(Of(file).Bind(t.ctx, t.base, Address(path)));
  }
  Errno Connect(const FileRef& file, const std::string& path) {
    return ErrorOf(Of(file).Connect(t.ctx, t.base, Address(path)));
  }
  static SocketAddress Address(const std::string& path) {
    return EncodeUnixAddress({UnixAddress::Kind::kPath, path});
  }
  Errno SendFiles(const FileRef& through, std::vector<FileRef> files) {
    std::byte byte{1};
    UserIo io(absl::MakeSpan(&byte, 1));
    SendRequest request;
    request.io = &io;
    request.files = std::move(files);
    return ErrorOf(Of(through).Send(t.ctx, request));
  }

  TreeFixture t;
  UnixDomainRef domain = std::make_shared<UnixDomain>();
};

TEST_CASE("what a message costs is given back when it is read, or when its reader goes") {
  UnixFixture f;
  Ends ends = f.Pair(SOCK_STREAM);
  REQUIRE(WriteTo(f.t.ctx, *ends.a, "hello").ok());
  CHECK(f.domain->buffered() == 5 + UnixSocket::kOverhead);
  CHECK(ReadFrom(f.t.ctx, *ends.b, 100).value() == "hello");
  CHECK(f.domain->buffered() == 0);
  REQUIRE(WriteTo(f.t.ctx, *ends.a, "unread").ok());
  ends.b = nullptr;
  CHECK(f.domain->buffered() == 0);
  CHECK(UnixFixture::Of(ends.a).TakeError() == ECONNRESET);
}

TEST_CASE("the last user of the send buffer is the last to be let in") {
  UnixFixture f;
  Ends ends = f.Pair(SOCK_STREAM);
  const std::string block(60000, 'x');
  int rounds = 0;
  while (WriteTo(f.t.ctx, *ends.a, block).ok()) ++rounds;
  CHECK(rounds >= 3);
  CHECK(ErrorOf(WriteTo(f.t.ctx, *ends.a, "x")) == Errno::kAGAIN);
  CHECK((ends.a->Poll() & kEventOut) == 0);
  while (ReadFrom(f.t.ctx, *ends.b, 100000).ok()) {
  }
  CHECK((ends.a->Poll() & kEventOut) != 0);
}

TEST_CASE("a name is found while its socket lives, and through any link to it") {
  UnixFixture f;
  FileRef server = f.Make(SOCK_STREAM);
  REQUIRE(f.Bind(server, "/s") == Errno{});
  CHECK(f.Bind(f.Make(SOCK_STREAM), "/s") == Errno::kADDRINUSE);
  CHECK(f.Connect(f.Make(SOCK_STREAM), "/s") == Errno::kCONNREFUSED);
  REQUIRE(UnixFixture::Of(server).Listen(f.t.ctx, 2).ok());
  REQUIRE(f.t.Link("/s", "/linked") == Errno{});
  REQUIRE(f.t.Unlink("/s") == Errno{});
  FileRef client = f.Make(SOCK_STREAM);
  CHECK(f.Connect(client, "/linked") == Errno{});
  CHECK(f.Connect(f.Make(SOCK_DGRAM), "/linked") == Errno::kPROTOTYPE);
  server = nullptr;
  CHECK(UnixFixture::Of(client).TakeError() == ECONNRESET);
  CHECK(f.Connect(f.Make(SOCK_STREAM), "/linked") == Errno::kCONNREFUSED);
}

TEST_CASE("a socket in its own queue is collected when its last descriptor goes") {
  UnixFixture f;
  Ends ends = f.Pair(SOCK_STREAM);
  const std::weak_ptr<File> watched = ends.b;
  REQUIRE(f.SendFiles(ends.a, {ends.b}) == Errno{});
  CHECK(f.domain->in_flight().files() == 1);
  ends.b = nullptr;
  CHECK(!watched.expired());
  ends.a = nullptr;
  CHECK(watched.expired());
  CHECK(f.domain->in_flight().files() == 0);
  CHECK(f.domain->buffered() == 0);
}

TEST_CASE("two sockets in each other's queues are collected; what can be reached is not") {
  UnixFixture f;
  Ends reach = f.Pair(SOCK_DGRAM);
  std::weak_ptr<File> watched;
  {
    Ends one = f.Pair(SOCK_DGRAM), two = f.Pair(SOCK_DGRAM);
    watched = one.b;
    REQUIRE(f.SendFiles(one.a, {two.b}) == Errno{});    // in the queue of one.b
    REQUIRE(f.SendFiles(two.a, {one.b}) == Errno{});    // in the queue of two.b
    REQUIRE(f.SendFiles(reach.a, {one.b}) == Errno{});  // and from outside
  }
  CHECK(!watched.expired());
  f.Make(SOCK_STREAM) = nullptr;
  CHECK(!watched.expired());
  reach.b = nullptr;  // drops the way to them
  f.Make(SOCK_STREAM) = nullptr;
  CHECK(watched.expired());
  CHECK(f.domain->in_flight().files() == 0);
}

TEST_CASE("a connection that was not accepted carries files, too") {
  UnixFixture f;
  FileRef server = f.Make(SOCK_STREAM);
  REQUIRE(f.Bind(server, "/s") == Errno{});
  REQUIRE(UnixFixture::Of(server).Listen(f.t.ctx, 2).ok());
  FileRef client = f.Make(SOCK_STREAM);
  REQUIRE(f.Connect(client, "/s") == Errno{});
  const std::weak_ptr<File> watched = server;
  REQUIRE(f.SendFiles(client, {server}) == Errno{});
  server = nullptr;
  CHECK(!watched.expired());
  client = nullptr;
  CHECK(watched.expired());
}

TEST_CASE("a chain of sockets in flight ends without recursion") {
  UnixFixture f;
  Ends outer = f.Pair(SOCK_DGRAM);
  for (int i = 0; i < 20000; ++i) {
    Ends next = f.Pair(SOCK_DGRAM);
    REQUIRE(f.SendFiles(next.a, {outer.b}) == Errno{});
    outer = next;
  }
  outer = {};
  CHECK(f.domain->in_flight().files() == 0);
}

TEST_CASE("files in flight are bounded") {
  UnixFixture f;
  Ends ends = f.Pair(SOCK_STREAM);
  const FileRef file = f.Make(SOCK_STREAM);
  const std::vector<FileRef> many(253, file);
  std::vector<Ends> all;
  Errno last{};
  for (int i = 0; i < 300 && last == Errno{}; ++i) {
    all.push_back(f.Pair(SOCK_STREAM));
    last = f.SendFiles(all.back().a, many);
  }
  CHECK(last == Errno::kTOOMANYREFS);
  all.clear();
  CHECK(f.domain->in_flight().files() == 0);
}

}  // namespace
}  // namespace ringfence::sentry
