// Random requests, half of them hostile: the gofer answers each and stays within its bounds.
#include "gofer/server/service.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "gofer/server/testing_temp_tree.h"

namespace ringfence::gofer {
namespace {

constexpr size_t kMaxNodes = 300;

class Attacker {
 public:
  explicit Attacker(uint32_t seed) : random_(seed) {
    host_.Directory("root/a/b/c");
    host_.File("root/a/file", "inside");
    host_.File("outside", "secret");
    host_.Symlink("root/a/link", "../../outside");
    std::unique_ptr<Tree> tree =
        Tree::Make(host_.Open("root"), {.nodes = kMaxNodes, .descriptors = 8}).value();
    tree_ = tree.get();
    auto channel = MakeFdChannel().value();
    receiver_ = std::move(channel.first);
    service_ = std::make_unique<Service>(std::move(tree), std::move(channel.second));
    wire::AttachReply reply;
    service_->Attach({}, &reply);
    ids_.push_back(reply.root().id());
  }

  void Attack() {
    switch (Below(7)) {
      case 0:
      case 1:
        return Walk();
      case 2:
        return Call(&Service::GetAttr, NodeRequest<wire::GetAttrRequest>());
      case 3:
        return Call(&Service::ReadLink, NodeRequest<wire::ReadLinkRequest>());
      case 4:
        return Open();
      case 5:
        return ReadDir();
      default:
        return Close();
    }
  }

  size_t node_count() const { return tree_->nodes().node_count(); }
  size_t descriptor_count() const { return tree_->nodes().descriptor_count(); }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }
  uint64_t AnyNode() { return Below(4) == 0 ? random_() >> Below(64) : ids_[Below(ids_.size())]; }

  std::string AnyName() {
    static const char* const kNames[] = {"a", "b", "c", "file", "link", "none", ".", "..", "a/b"};
    if (Below(8) != 0) return kNames[Below(std::size(kNames))];
    std::string name(Below(400), '\0');
    for (char& c : name) c = static_cast<char>(random_());
    return name;
  }

  template <typename Request>
  Request NodeRequest() {
    Request request;
    request.set_node(AnyNode());
    return request;
  }

  template <typename Request, typename Reply>
  void Call(void (Service::*method)(const Request&, Reply*), const Request& request) {
    Reply reply;
    (service_.get()->*method)(request, &reply);
  }

  void Walk() {
    auto request = NodeRequest<wire::WalkRequest>();
    for (uint64_t n = Below(5) == 0 ? Below(300) : Below(5); n > 0; --n) {
      request.add_components(AnyName());
    }
    wire::WalkReply reply;
    service_->Walk(request, &reply);
    for (const wire::Node& node : reply.nodes()) ids_.push_back(node.id());
  }

  void Open() {
    auto request = NodeRequest<wire::OpenRequest>();
    if (Below(3) == 0) request.set_flags(static_cast<uint32_t>(random_()));
    request.set_donation(random_());
    wire::OpenReply reply;
    service_->Open(request, &reply);
    char byte;
    if (reply.error() == 0) CHECK(recv(receiver_.get(), &byte, 1, MSG_DONTWAIT) == 1);
  }

  void ReadDir() {
    auto request = NodeRequest<wire::ReadDirRequest>();
    request.set_cookie(Below(2) == 0 ? 0 : static_cast<int64_t>(random_() >> Below(64)));
    request.set_max_bytes(static_cast<uint32_t>(random_() >> Below(64)));
    request.set_detail(static_cast<wire::EntryDetail>(Below(4)));
    wire::ReadDirReply reply;
    service_->ReadDir(request, &reply);
    for (const wire::DirectoryEntry& entry : reply.entries()) {
      if (entry.id() != 0) ids_.push_back(entry.id());
    }
  }

  void Close() {
    wire::CloseRequest request;
    for (uint64_t n = Below(30); n > 0; --n) request.add_nodes(AnyNode());
    Call(&Service::Close, request);
  }

  std::mt19937_64 random_;
  TempTree host_;
  UniqueFd receiver_;
  std::unique_ptr<Service> service_;
  Tree* tree_;
  std::vector<uint64_t> ids_;
};

TEST_CASE("random requests") {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    Attacker attacker(seed);
    for (int i = 0; i < 5000; ++i) attacker.Attack();
    CHECK(attacker.node_count() <= kMaxNodes);
    CHECK(attacker.descriptor_count() <= 8);
  }
}

}  // namespace
}  // namespace ringfence::gofer
