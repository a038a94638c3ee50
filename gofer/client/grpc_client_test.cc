// A gofer that answers nonsense: whatever the client hands on keeps the promises of client.h.
#include "gofer/client/grpc_client.h"

#include <fcntl.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "gofer/wire/convert.h"
#include "gofer/wire/fd_channel.h"
#include "proto/gofer/gofer.grpc.pb.h"

namespace ringfence::gofer {
namespace {

// Answers at random; about half of the fields are plausible.
class LyingGofer final : public wire::Gofer::Service {
 public:
  explicit LyingGofer(UniqueFd fd_socket) : donations_(std::move(fd_socket)) {}

  grpc::Status Walk(grpc::ServerContext*, const wire::WalkRequest* request,
                    wire::WalkReply* reply) override {
    reply->set_error(AnyError());
    const uint64_t count = Odd() ? static_cast<uint64_t>(request->components_size())
                                 : Below(request->components_size() + 2u);
    for (uint64_t i = 0; i < count; ++i) Fill(reply->add_nodes());
    reply->set_stopped(AnyError());
    return AnyStatus();
  }
  grpc::Status GetAttr(grpc::ServerContext*, const wire::GetAttrRequest*,
                       wire::GetAttrReply* reply) override {
    reply->set_error(AnyError());
    Fill(reply->mutable_attr());
    return AnyStatus();
  }
  grpc::Status ReadLink(grpc::ServerContext*, const wire::ReadLinkRequest*,
                        wire::ReadLinkReply* reply) override {
    reply->set_error(AnyError());
    reply->set_target(AnyBytes(6000));
    return AnyStatus();
  }
  grpc::Status Open(grpc::ServerContext*, const wire::OpenRequest* request,
                    wire::OpenReply* reply) override {
    reply->set_error(AnyError());
    Fill(reply->mutable_attr());
    const UniqueFd fd(AnyFd());
    if (Odd()) (void)donations_.Send(Odd() ? request->donation() : random_(), fd.get());
    if (Below(4) == 0) (void)donations_.Send(request->donation(), fd.get());
    return AnyStatus();
  }
  grpc::Status ReadDir(grpc::ServerContext*, const wire::ReadDirRequest*,
                       wire::ReadDirReply* reply) override {
    reply->set_error(AnyError());
    reply->set_end(Odd());
    for (uint64_t n = Below(4); n > 0; --n) {
      wire::DirectoryEntry* entry = reply->add_entries();
      entry->set_name(Odd() ? "name" : AnyBytes(300));
      entry->set_next_cookie(random_());
      Fill(entry->mutable_attr());
    }
    return AnyStatus();
  }

  grpc::Status ReadTree(grpc::ServerContext*, const wire::ReadTreeRequest*,
                        wire::ReadTreeReply* reply) override {
    reply->set_error(AnyError());
    for (uint64_t n = Below(4); n > 0; --n) {
      wire::DirectoryListing* directory = reply->add_directories();
      Fill(directory->mutable_attr());
      wire::DirectoryEntry* entry = directory->add_entries();
      entry->set_name(Odd() ? "name" : AnyBytes(300));
      Fill(entry->mutable_attr());
      if (Odd()) entry->mutable_attr()->set_mode(S_IFLNK | 0777);
      if (Odd()) entry->set_target(AnyBytes(6000));
    }
    return AnyStatus();
  }
  grpc::Status Make(grpc::ServerContext*, const wire::MakeRequest* request,
                    wire::MakeReply* reply) override {
    reply->set_error(AnyError());
    Fill(reply->mutable_node());
    Fill(reply->mutable_directory());
    const UniqueFd fd(AnyFd());
    if (Odd()) (void)donations_.Send(Odd() ? request->donation() : random_(), fd.get());
    return AnyStatus();
  }
  grpc::Status Link(grpc::ServerContext*, const wire::LinkRequest*,
                    wire::LinkReply* reply) override {
    reply->set_error(AnyError());
    Fill(reply->mutable_attr());
    if (Odd()) Fill(reply->mutable_directory());
    return AnyStatus();
  }
  grpc::Status Unlink(grpc::ServerContext*, const wire::UnlinkRequest*,
                      wire::UnlinkReply* reply) override {
    reply->set_error(AnyError());
    Fill(reply->mutable_directory());
    return AnyStatus();
  }
  grpc::Status Rename(grpc::ServerContext*, const wire::RenameRequest*,
                      wire::RenameReply* reply) override {
    reply->set_error(AnyError());
    Fill(reply->mutable_old_directory());
    Fill(reply->mutable_new_directory());
    return AnyStatus();
  }
  grpc::Status SetAttr(grpc::ServerContext*, const wire::SetAttrRequest*,
                       wire::SetAttrReply* reply) override {
    reply->set_error(AnyError());
    Fill(reply->mutable_attr());
    return AnyStatus();
  }
  grpc::Status GetXattr(grpc::ServerContext*, const wire::GetXattrRequest*,
                        wire::GetXattrReply* reply) override {
    reply->set_error(AnyError());
    reply->set_value(AnyBytes(Below(16) == 0 ? 100000 : 100));
    return AnyStatus();
  }
  grpc::Status ListXattr(grpc::ServerContext*, const wire::ListXattrRequest*,
                         wire::ListXattrReply* reply) override {
    reply->set_error(AnyError());
    for (uint64_t n = Below(16) == 0 ? 5000 : Below(4); n > 0; --n) {
      reply->add_names(Odd() ? "user.x" : AnyBytes(300));
    }
    return AnyStatus();
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }
  bool Odd() { return Below(2) == 1; }
  int32_t AnyError() { return Below(3) == 0 ? static_cast<int32_t>(random_() >> Below(64)) : 0; }
  grpc::Status AnyStatus() {
    return Below(10) == 0 ? grpc::Status(grpc::StatusCode::INTERNAL, "x\n\x1b") : grpc::Status::OK;
  }
  std::string AnyBytes(size_t max) {
    std::string bytes(Below(max), '\0');
    for (char& c : bytes) c = static_cast<char>(Odd() ? 'a' : random_());
    return bytes;
  }
  int AnyFd() {
    switch (Below(6)) {
      case 3:
        return open("/tmp", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
      case 4:
        return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
      case 0:
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      case 1:
        return open("/proc/self/exe", O_PATH | O_CLOEXEC);
      case 2:
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
      default:
        return memfd_create("plain", MFD_CLOEXEC);
    }
  }
  void Fill(wire::Attributes* attr) {
    attr->set_mode(Below(4) == 0 ? static_cast<uint32_t>(random_()) : S_IFREG | 0644);
    attr->set_size(random_());
    attr->mutable_mtime()->set_nsec(Below(8) == 0 ? static_cast<uint32_t>(random_()) : 1);
  }
  void Fill(wire::Node* node) {
    node->set_id(Below(8) == 0 ? 0 : random_());
    Fill(node->mutable_attr());
  }

  std::mt19937_64 random_{7};
  FdSender donations_;
};

void CheckAttributes(const Attributes& attr) {
  CHECK((attr.mode & ~uint32_t{S_IFMT | 07777}) == 0);
  CHECK(attr.mtime.nsec < 1'000'000'000);
}

void CheckErrno(Errno error) {
  CHECK(static_cast<int>(error) > 0);
  CHECK(static_cast<int>(error) < 200);
}

void CheckEntry(const DirectoryEntry& entry) {
  CHECK(IsValidComponent(entry.name));
  CheckAttributes(entry.attr);
  CHECK((entry.target.empty() || (S_ISLNK(entry.attr.mode) && IsValidTarget(entry.target))));
}

void AskEverything(Client& client) {
  const std::vector<std::string_view> names = {"a", "b", "c"};
  if (const auto walked = client.Walk(1, names); walked.ok()) {
    CHECK(walked->nodes.size() <= names.size());
    CHECK((walked->nodes.size() == names.size()) == (walked->stopped == Errno{}));
    for (const Node& node : walked->nodes) {
      CHECK(node.id != 0);
      CheckAttributes(node.attr);
    }
  } else {
    CheckErrno(walked.error());
  }
  if (const auto attr = client.GetAttr(1); attr.ok()) CheckAttributes(*attr);
  if (const auto target = client.ReadLink(1); target.ok()) {
    CHECK((!target->empty() && target->size() < kMaxLinkTarget));
    CHECK(target->find('\0') == std::string::npos);
  }
  if (const auto file = client.Open(1, {}, O_RDONLY); file.ok()) {
    struct stat s;
    CHECK((fstat(file->fd.get(), &s) == 0 && S_ISREG(s.st_mode)));
    CHECK((fcntl(file->fd.get(), F_GETFL) & O_PATH) == 0);
    CHECK((fcntl(file->fd.get(), F_GETFL) & O_ACCMODE) != O_WRONLY);
  }
  if (const auto page = client.ReadDir(1, 0, 4096, EntryDetail::kAttributes); page.ok()) {
    CHECK((page->end || !page->entries.empty()));
    for (const DirectoryEntry& entry : page->entries) CheckEntry(entry);
  }
  if (const auto made =
          client.Make(1, "x", {.mode = S_IFREG | 0644}, Client::AlsoOpen::kYes, O_RDWR);
      made.ok()) {
    struct stat s;
    CHECK((fstat(made->fd.get(), &s) == 0 && S_ISREG(s.st_mode)));
    CHECK((fcntl(made->fd.get(), F_GETFL) & O_ACCMODE) == O_RDWR);
    CHECK(S_ISREG(made->node.attr.mode));
    CHECK(made->node.id != 0);
    CheckAttributes(made->directory);
  }
  if (const auto linked = client.Link(1, 2, "x"); linked.ok()) CheckAttributes(linked->attr);
  if (const auto attr = client.Unlink(1, "x", Client::Victim::kFile); attr.ok()) {
    CheckAttributes(*attr);
  }
  if (const auto renamed = client.Rename({1, "x", 2, "y"}); renamed.ok()) {
    CheckAttributes(renamed->new_directory);
  }
  if (const auto attr = client.SetAttr(1, {.mode = 0644}); attr.ok()) CheckAttributes(*attr);
  if (const auto value = client.GetXattr(1, "user.x"); value.ok()) {
    CHECK(value->size() <= kMaxXattrValue);
  }
  if (const auto listed = client.ListXattr(1); listed.ok()) {
    CHECK(listed->size() <= kMaxXattrNames);
    for (const std::string& name : *listed) CHECK(IsValidXattrName(name));
  }
  if (const auto listed = client.ReadTree(1, names, 3, 4096); listed.ok()) {
    CHECK(listed->size() <= 3);
    for (const ListedDirectory& directory : *listed) {
      for (const DirectoryEntry& entry : directory.entries) CheckEntry(entry);
    }
  }
}

TEST_CASE("a gofer that answers nonsense") {
  int rpc[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, rpc) == 0);
  auto fds = MakeFdChannel().value();
  LyingGofer gofer(std::move(fds.second));
  grpc::ServerBuilder builder;
  builder.RegisterService(&gofer);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  grpc::AddInsecureChannelFromFd(server.get(), rpc[1]);
  int lines = 0;
  const auto client =
      NewGrpcClient(UniqueFd(rpc[0]), std::move(fds.first), [&](std::string_view) { ++lines; });
  for (int i = 0; i < 1000; ++i) AskEverything(*client);
  CHECK(lines == 1);
}

}  // namespace
}  // namespace ringfence::gofer
