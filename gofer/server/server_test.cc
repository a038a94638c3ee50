// Client and server of a gofer in one process, over socketpairs.
#include "gofer/server/server.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "gofer/client/grpc_client.h"
#include "gofer/server/testing_temp_tree.h"
#include "gofer/wire/fd_channel.h"
#include "proto/gofer/gofer.grpc.pb.h"

namespace ringfence::gofer {
namespace {

using Names = std::vector<std::string_view>;

struct Sockets {
  Sockets() {
    int rpc[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rpc) == 0);
    client_rpc.Reset(rpc[0]);
    server_rpc.Reset(rpc[1]);
    auto fds = MakeFdChannel().value();
    client_fds = std::move(fds.first);
    server_fds = std::move(fds.second);
  }
  UniqueFd client_rpc, server_rpc, client_fds, server_fds;
};

struct Fixture {
  explicit Fixture(NodeTableLimits limits = {}) {
    host.Directory("dir");
    host.File("dir/file", "content");
    host.Symlink("link", "dir/file");
    Sockets s;
    server = Server::Start(Tree::Make(host.Open(), limits).value(), std::move(s.server_rpc),
                           std::move(s.server_fds))
                 .value();
    client = NewGrpcClient(std::move(s.client_rpc), std::move(s.client_fds),
                           [this](std::string_view) { ++lines; });
  }

  TempTree host;
  std::atomic<int> lines = 0;
  std::unique_ptr<Server> server;
  std::unique_ptr<Client> client;
};

std::string Content(const UniqueFd& fd) {
  char buffer[64];
  const ssize_t size = pread(fd.get(), buffer, sizeof(buffer), 0);
  return std::string(buffer, size < 0 ? 0 : static_cast<size_t>(size));
}

TEST_CASE("every call over the wire") {
  Fixture f;
  const Result<Node> root = f.client->Attach(0);
  REQUIRE(root.ok());
  CHECK(S_ISDIR(root->attr.mode));
  const Result<WalkResult> walked = f.client->Walk(root->id, Names{"dir", "file"});
  REQUIRE(walked.ok());
  REQUIRE(walked->nodes.size() == 2);
  const NodeId file = walked->nodes[1].id;
  CHECK(f.client->GetAttr(file)->size == 7);
  Result<OpenedFile> opened = f.client->Open(file, {}, O_RDONLY);
  REQUIRE(opened.ok());
  CHECK(Content(opened->fd) == "content");
  CHECK(opened->attr.ino == walked->nodes[1].attr.ino);
  CHECK(f.client->Walk(root->id, Names{"dir", "none"})->stopped == Errno::kNOENT);
  const NodeId link = f.client->Walk(root->id, Names{"link"})->nodes[0].id;
  CHECK(f.client->ReadLink(link).value() == "dir/file");
  CHECK(f.client->ReadLink(file).error() == Errno::kINVAL);
  CHECK(f.client->Open(link, {}, O_RDONLY).error() == Errno::kLOOP);
  CHECK(f.client->Open(file, {}, O_RDWR).error() == Errno::kROFS);
  const Result<DirectoryPage> page =
      f.client->ReadDir(root->id, 0, kMaxReadDirBytes, EntryDetail::kNodes);
  REQUIRE(page.ok());
  CHECK(page->end);
  CHECK(page->entries.size() == 2);
  const Result<std::vector<ListedDirectory>> tree =
      f.client->ReadTree(root->id, Names{"dir"}, 8, kMaxReadDirBytes);
  REQUIRE(tree.ok());
  REQUIRE(tree->size() == 1);
  CHECK(tree->front().attr.ino == walked->nodes[0].attr.ino);
  REQUIRE(tree->front().entries.size() == 1);
  CHECK(tree->front().entries[0].name == "file");
  CHECK(f.client->Walk(root->id, Names{"link"})->nodes[0].target == "dir/file");
  CHECK(f.client->Open(root->id, Names{"dir", "file"}, O_RDONLY).ok());
  CHECK(f.client->StatFs(root->id)->namelen > 0);
  CHECK(f.lines == 0);
}

TEST_CASE("a page as large as allowed fits into a message") {
  Fixture f;
  f.host.Directory("many");
  for (int i = 0; i < 2000; ++i) f.host.File("many/" + std::to_string(i), "");
  const NodeId root = f.client->Attach(0)->id;
  const NodeId many = f.client->Walk(root, Names{"many"})->nodes[0].id;
  const EntryDetail detail = GENERATE(EntryDetail::kNames, EntryDetail::kNodes);
  size_t count = 0;
  int64_t cookie = 0;
  for (bool end = false; !end;) {
    const Result<DirectoryPage> page = f.client->ReadDir(many, cookie, kMaxReadDirBytes, detail);
    REQUIRE(page.ok());
    count += page->entries.size();
    end = page->end;
    if (!end) cookie = page->entries.back().next_cookie;
  }
  CHECK(count == 2000);
}

TEST_CASE("nodes given back make room for others") {
  Fixture f({.nodes = 200, .descriptors = 16});
  const NodeId root = f.client->Attach(0)->id;
  for (int i = 0; i < 1000; ++i) {
    const Result<WalkResult> walked = f.client->Walk(root, Names{"dir", "file"});
    REQUIRE(walked.ok());
    REQUIRE(walked->stopped == Errno{});
    f.client->Close(std::vector{walked->nodes[0].id, walked->nodes[1].id});
  }
}

TEST_CASE("more nodes than the gofer keeps are ENFILE") {
  Fixture f({.nodes = 20, .descriptors = 16});
  const NodeId root = f.client->Attach(0)->id;
  Errno stopped{};
  for (int i = 0; i < 30 && stopped == Errno{}; ++i) {
    stopped = f.client->Walk(root, Names{"dir"})->stopped;
  }
  CHECK(stopped == Errno::kNFILE);
}

TEST_CASE("many threads open at once and each gets its own descriptor") {
  Fixture f;
  for (int i = 0; i < 8; ++i) f.host.File("dir/" + std::to_string(i), std::to_string(i));
  const NodeId root = f.client->Attach(0)->id;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, name = std::to_string(i)] {
      const Result<WalkResult> walked = f.client->Walk(root, Names{"dir", name});
      for (int n = 0; n < 100; ++n) {
        const Result<OpenedFile> file = f.client->Open(walked->nodes.back().id, {}, 0);
        if (!file.ok() || Content(file->fd) != name) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("hostile requests are refused and the gofer goes on") {
  TempTree host;
  host.File("file", "content");
  Sockets s;
  const auto server = Server::Start(Tree::Make(host.Open(), {}).value(), std::move(s.server_rpc),
                                    std::move(s.server_fds))
                          .value();
  fcntl(s.client_rpc.get(), F_SETFL, O_NONBLOCK);
  const auto stub =
      wire::Gofer::NewStub(grpc::CreateInsecureChannelFromFd("x", s.client_rpc.Release()));
  const auto walk = [&](const wire::WalkRequest& request) {
    grpc::ClientContext context;
    wire::WalkReply reply;
    const grpc::Status status = stub->Walk(&context, request, &reply);
    return status.ok() ? reply.error() : -1;
  };
  wire::WalkRequest request;
  request.set_node(1);
  SECTION("too many components") {
    for (int i = 0; i < 5000; ++i) request.add_components("a");
  }
  SECTION("..") { request.add_components(".."); }
  SECTION("a path") { request.add_components("a/../../etc"); }
  SECTION("a long component") { request.add_components(std::string(5000, 'a')); }
  SECTION("an unknown node") {
    request.set_node(~uint64_t{0});
    request.add_components("file");
  }
  CHECK(walk(request) == static_cast<int>(Errno::kINVAL));
  request.clear_components();
  request.add_components(std::string(1 << 20, 'a'));
  CHECK(walk(request) == -1);

  grpc::ClientContext context;
  wire::ReadDirRequest read;
  wire::ReadDirReply read_reply;
  read.set_node(1);
  read.set_detail(static_cast<wire::EntryDetail>(77));
  REQUIRE(stub->ReadDir(&context, read, &read_reply).ok());
  CHECK(read_reply.error() == static_cast<int>(Errno::kINVAL));

  request.Clear();
  request.set_node(1);
  request.add_components("file");
  CHECK(walk(request) == 0);
}

TEST_CASE("the server notices that its peer is gone") {
  Fixture f;
  std::thread closer([&] { f.client.reset(); });
  f.server->WaitForPeerToLeave();
  closer.join();
}

TEST_CASE("garbage instead of HTTP/2 ends the channel, not the server") {
  TempTree host;
  Sockets s;
  const auto server = Server::Start(Tree::Make(host.Open(), {}).value(), std::move(s.server_rpc),
                                    std::move(s.server_fds))
                          .value();
  const std::string garbage(100'000, '\xfe');
  CHECK(send(s.client_rpc.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL) > 0);
  char byte;
  while (recv(s.client_rpc.get(), &byte, 1, 0) > 0) {
  }
}

TEST_CASE("a peer that says nothing more is EIO at once, with one line") {
  Sockets s;
  s.server_fds.Reset();
  s.server_rpc.Reset();
  std::atomic<int> lines = 0;
  const auto client = NewGrpcClient(std::move(s.client_rpc), std::move(s.client_fds),
                                    [&](std::string_view) { ++lines; });
  const auto start = std::chrono::steady_clock::now();
  CHECK(client->Attach(0).error() == Errno::kIO);
  CHECK(client->GetAttr(1).error() == Errno::kIO);
  CHECK(client->Open(1, {}, 0).error() == Errno::kIO);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
  CHECK(lines == 1);
}

TEST_CASE("a gofer that dies during a call is EIO, not a hang") {
  Sockets s;
  std::atomic<int> lines = 0;
  const auto client = NewGrpcClient(std::move(s.client_rpc), std::move(s.client_fds),
                                    [&](std::string_view) { ++lines; });
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    s.server_rpc.Reset();
    s.server_fds.Reset();
  });
  CHECK(client->Attach(0).error() == Errno::kIO);
  killer.join();
  CHECK(client->Attach(0).error() == Errno::kIO);
  CHECK(lines == 1);
}

}  // namespace
}  // namespace ringfence::gofer
