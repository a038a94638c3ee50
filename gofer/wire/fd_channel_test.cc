#include "gofer/wire/fd_channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>

namespace ringfence::gofer {
namespace {

struct Channel {
  Channel() : Channel(MakeFdChannel().value()) {}
  explicit Channel(std::pair<UniqueFd, UniqueFd> ends)
      : receiver(std::move(ends.first)), sender(std::move(ends.second)) {}
  FdReceiver receiver;
  FdSender sender;
};

UniqueFd NewFile(char mark) {
  UniqueFd fd(memfd_create("donated", MFD_CLOEXEC));
  REQUIRE(pwrite(fd.get(), &mark, 1, 0) == 1);
  return fd;
}

char Mark(const UniqueFd& fd) {
  char mark = 0;
  REQUIRE(pread(fd.get(), &mark, 1, 0) == 1);
  return mark;
}

size_t OpenFds() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

void SendRaw(int socket, const void* bytes, size_t size, const std::vector<int>& fds) {
  iovec body = {.iov_base = const_cast<void*>(bytes), .iov_len = size};
  alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &body;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  REQUIRE(sendmsg(socket, &message, 0) == static_cast<ssize_t>(size));
}

TEST_CASE("a descriptor arrives close-on-exec under its id") {
  Channel channel;
  const uint64_t id = channel.receiver.Begin();
  REQUIRE(channel.sender.Send(id, NewFile('a').get()).ok());
  Result<UniqueFd> fd = channel.receiver.Take(id);
  REQUIRE(fd.ok());
  CHECK(Mark(*fd) == 'a');
  CHECK(fcntl(fd->get(), F_GETFD) == FD_CLOEXEC);
}

TEST_CASE("descriptors may be taken in another order than sent") {
  Channel channel;
  const uint64_t a = channel.receiver.Begin();
  const uint64_t b = channel.receiver.Begin();
  REQUIRE(channel.sender.Send(a, NewFile('a').get()).ok());
  REQUIRE(channel.sender.Send(b, NewFile('b').get()).ok());
  CHECK(Mark(channel.receiver.Take(b).value()) == 'b');
  CHECK(Mark(channel.receiver.Take(a).value()) == 'a');
}

TEST_CASE("what was not asked for is closed") {
  Channel channel;
  const UniqueFd file = NewFile('x');
  const size_t before = OpenFds();
  const uint64_t abandoned = channel.receiver.Begin();
  const uint64_t id = channel.receiver.Begin();
  channel.receiver.Abandon(abandoned);
  REQUIRE(channel.sender.Send(999, file.get()).ok());
  REQUIRE(channel.sender.Send(abandoned, file.get()).ok());
  REQUIRE(channel.sender.Send(id, NewFile('a').get()).ok());
  REQUIRE(channel.sender.Send(id, file.get()).ok());
  const uint64_t last = channel.receiver.Begin();
  CHECK(channel.receiver.Take(last).error() == Errno::kIO);
  CHECK(Mark(channel.receiver.Take(id).value()) == 'a');
  CHECK(channel.receiver.Take(id).error() == Errno::kIO);
  CHECK(OpenFds() == before);
}

TEST_CASE("malformed messages leave nothing open") {
  Channel channel;
  const UniqueFd file = NewFile('x');
  const size_t before = OpenFds();
  const uint64_t id = channel.receiver.Begin();
  const char longer[9] = {};
  SECTION("short") { SendRaw(channel.sender.socket(), &id, 3, {file.get()}); }
  SECTION("long") { SendRaw(channel.sender.socket(), longer, 9, {file.get()}); }
  SECTION("no descriptor") { SendRaw(channel.sender.socket(), &id, 8, {}); }
  SECTION("two") { SendRaw(channel.sender.socket(), &id, 8, {file.get(), file.get()}); }
  SECTION("many") { SendRaw(channel.sender.socket(), &id, 8, std::vector<int>(16, file.get())); }
  CHECK(channel.receiver.Take(id).error() == Errno::kIO);
  CHECK(OpenFds() == before);
}

TEST_CASE("a full descriptor table is EMFILE") {
  Channel channel;
  const UniqueFd file = NewFile('x');
  const uint64_t id = channel.receiver.Begin();
  REQUIRE(channel.sender.Send(id, file.get()).ok());
  rlimit old;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
  const rlimit tight = {.rlim_cur = 3, .rlim_max = old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  const Result<UniqueFd> fd = channel.receiver.Take(id);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(fd.error() == Errno::kMFILE);
}

TEST_CASE("a peer that is gone is an error on both sides") {
  auto ends = MakeFdChannel().value();
  SECTION("sender") {
    ends.second.Reset();
    FdReceiver receiver(std::move(ends.first));
    CHECK(receiver.Take(receiver.Begin()).error() == Errno::kIO);
  }
  SECTION("receiver") {
    ends.first.Reset();
    FdSender sender(std::move(ends.second));
    CHECK(sender.Send(1, NewFile('x').get()).error() == Errno::kPIPE);
  }
}

}  // namespace
}  // namespace ringfence::gofer
