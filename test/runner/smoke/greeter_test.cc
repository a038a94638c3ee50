#include "test/runner/smoke/greeter.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <memory>

#include "absl/synchronization/mutex.h"

namespace ringfence::smoke {
namespace {

TEST_CASE("a call travels over a socketpair") {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
  GreeterService service;
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  REQUIRE(server != nullptr);
  grpc::AddInsecureChannelFromFd(server.get(), fds[0]);
  auto stub = Greeter::NewStub(grpc::CreateInsecureChannelFromFd("greeter", fds[1]));

  HelloRequest request;
  request.set_name("ring 3");
  HelloReply reply;
  grpc::ClientContext context;
  REQUIRE(stub->Hello(&context, request, &reply).ok());
  CHECK(reply.text() == "hello, ring 3");

  grpc::ClientContext second;
  request.clear_name();
  CHECK(stub->Hello(&second, request, &reply).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  server->Shutdown();
}

TEST_CASE("a mutex locks") {
  absl::Mutex mutex;
  absl::MutexLock lock(&mutex);
  mutex.AssertHeld();
}

}  // namespace
}  // namespace ringfence::smoke
