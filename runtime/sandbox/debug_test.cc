#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "runtime/sandbox/debug_server.h"
#include "runtime/sandbox/log_file.h"
#include "runtime/sandbox/places.h"

namespace ringfence::runtime {
namespace {

std::string TempDirectory() {
  std::string name = "/tmp/ringfence-test-XXXXXX";
  REQUIRE(mkdtemp(name.data()) != nullptr);
  return name;
}

int Connect(const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return -1;
  return fd;
}

// One round of the supervisor; whether a report is wanted.
bool Round(DebugServer& server) {
  std::vector<pollfd> polls;
  server.AddPolls(&polls);
  REQUIRE(polls.size() == DebugServer::kPolls);
  poll(polls.data(), polls.size(), 10);
  return server.Polled(polls, 0);
}

std::string ReadAll(int fd) {
  std::string text(1 << 20, '\0');
  const ssize_t got = recv(fd, text.data(), text.size(), MSG_WAITALL);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

TEST_CASE("a client is told the title, or the report once it is complete") {
  const std::string directory = TempDirectory() + "/run";
  DebugServer server("12\tsh -c x");
  REQUIRE(server.Listen(directory, "do-12").ok());
  const int lists = Connect(directory + "/do-12.sock");
  REQUIRE(send(lists, "l", 1, 0) == 1);
  Round(server);
  CHECK_FALSE(Round(server));
  CHECK(ReadAll(lists) == "12\tsh -c x\n");

  const int shows = Connect(directory + "/do-12.sock");
  REQUIRE(send(shows, "t", 1, 0) == 1);
  Round(server);
  CHECK(Round(server));
  server.AddLine("pid 1");
  server.AddLine("    close(3)");
  server.End();
  Round(server);
  CHECK(ReadAll(shows) == "pid 1\n    close(3)\n");

  const int odd = Connect(directory + "/do-12.sock");
  REQUIRE(send(odd, "x", 1, 0) == 1);
  Round(server);
  CHECK_FALSE(Round(server));
  CHECK(ReadAll(odd).empty());
}

TEST_CASE("a client that does not read gives way, one that left harms nobody") {
  const std::string directory = TempDirectory() + "/run";
  DebugServer server("title");
  REQUIRE(server.Listen(directory, "do-1").ok());
  const int stuck = Connect(directory + "/do-1.sock");
  REQUIRE(send(stuck, "t", 1, 0) == 1);
  Round(server);
  REQUIRE(Round(server));
  for (int i = 0; i < 10000; ++i) server.AddLine(std::string(1000, 'x'));  // more than is kept
  server.End();
  Round(server);
  const int next = Connect(directory + "/do-1.sock");
  REQUIRE(send(next, "l", 1, 0) == 1);
  for (int i = 0; i < 3; ++i) Round(server);
  CHECK(ReadAll(next) == "title\n");

  const int leaves = Connect(directory + "/do-1.sock");
  REQUIRE(send(leaves, "t", 1, 0) == 1);
  Round(server);
  REQUIRE(Round(server));
  close(leaves);
  server.AddLine("x");
  server.End();
  for (int i = 0; i < 3; ++i) Round(server);
}

TEST_CASE("the socket goes with the server; a directory of others is refused") {
  const std::string directory = TempDirectory() + "/run";
  {
    DebugServer server("title");
    REQUIRE(server.Listen(directory, "do-1").ok());
    CHECK(access((directory + "/do-1.sock").c_str(), F_OK) == 0);
  }
  CHECK(access((directory + "/do-1.sock").c_str(), F_OK) != 0);
  chmod(directory.c_str(), 0755);
  DebugServer server("title");
  CHECK_FALSE(server.Listen(directory, "do-1").ok());
  const std::string link = TempDirectory() + "/link";
  REQUIRE(symlink("/tmp", link.c_str()) == 0);
  CHECK_FALSE(MakeRunDirectory(link).ok());
}

TEST_CASE("the log is made with its first line, and bounded") {
  const std::string path = TempDirectory() + "/a/b/ringfence.log";
  LogFile log(path, "do-7");
  CHECK(access(path.c_str(), F_OK) != 0);
  log.Write("hello");
  struct stat st;
  REQUIRE(stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  for (int i = 0; i < 3000; ++i) log.Write(std::string(1000, 'x'));
  REQUIRE(stat(path.c_str(), &st) == 0);
  CHECK(st.st_size < (1 << 20) + 4096);
  char text[200] = {};
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(read(fd, text, sizeof(text) - 1) > 0);
  close(fd);
  CHECK(std::string(text).find("Z do-7 hello\n") != std::string::npos);
  REQUIRE(truncate(path.c_str(), 9 << 20) == 0);
  LogFile next(path, "do-8");
  next.Write("x");
  CHECK(stat((path + ".1").c_str(), &st) == 0);
  LogFile none("", "do-9");
  none.Write("x");
}

}  // namespace
}  // namespace ringfence::runtime
