#include "sentry/net/socket_options.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

template <typename T>
std::string Bytes(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

int32_t Number(const SocketOptions& options, int name) {
  const Result<std::string> value = options.Get(name);
  REQUIRE(value.ok());
  REQUIRE(value->size() == sizeof(int32_t));
  int32_t number;
  std::memcpy(&number, value->data(), sizeof(number));
  return number;
}

TEST_CASE("buffers are doubled and bounded; only an administrator goes beyond") {
  SocketOptions options;
  const CallContext root = RootContext(), user = UserContext(7, 7);
  CHECK(options.send_buffer() == SocketOptions::kMaxBuffer);
  REQUIRE(options.Set(user, SO_SNDBUF, Bytes(5000)).ok());
  CHECK(options.send_buffer() == 10000);
  REQUIRE(options.Set(user, SO_SNDBUF, Bytes(-1)).ok());
  CHECK(options.send_buffer() == 2 * SocketOptions::kMaxBuffer);
  REQUIRE(options.Set(user, SO_SNDBUF, Bytes(0)).ok());
  CHECK(options.send_buffer() == SocketOptions::kMinSendBuffer);
  CHECK(ErrorOf(options.Set(user, SO_SNDBUFFORCE, Bytes(1 << 20))) == Errno::kPERM);
  REQUIRE(options.Set(root, SO_SNDBUFFORCE, Bytes(1 << 20)).ok());
  CHECK(Number(options, SO_SNDBUF) == 2 << 20);
}

TEST_CASE("timeouts: what is no time is refused, none is 0") {
  SocketOptions options;
  const CallContext ctx = RootContext();
  CHECK(options.receive_timeout_ns() == 0);
  REQUIRE(options.Set(ctx, SO_RCVTIMEO, Bytes(timeval{1, 500000})).ok());
  CHECK(options.receive_timeout_ns() == 1'500'000'000);
  CHECK(ErrorOf(options.Set(ctx, SO_RCVTIMEO, Bytes(timeval{0, 1000000}))) == Errno::kDOM);
  CHECK(ErrorOf(options.Set(ctx, SO_RCVTIMEO, Bytes(int64_t{1}))) == Errno::kINVAL);
  REQUIRE(options.Set(ctx, SO_RCVTIMEO, Bytes(timeval{INT64_MAX, 0})).ok());
  CHECK(options.receive_timeout_ns() == 0);
}

TEST_CASE("an accepted socket takes over that credentials are wanted, and nothing else") {
  SocketOptions listener, accepted;
  const CallContext ctx = RootContext();
  REQUIRE(listener.Set(ctx, SO_PASSCRED, Bytes(1)).ok());
  REQUIRE(listener.Set(ctx, SO_KEEPALIVE, Bytes(1)).ok());
  accepted.InheritFrom(listener);
  CHECK(accepted.pass_credentials());
  CHECK(Number(accepted, SO_KEEPALIVE) == 0);
}

}  // namespace
}  // namespace ringfence::sentry
