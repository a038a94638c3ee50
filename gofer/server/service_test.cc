// Random requests, half of them hostile: the gofer answers each, stays within its bounds and
// changes nothing outside of the tree that may be changed.
#include "gofer/server/service.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
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
    host_.Directory("readonly/d");
    host_.File("readonly/file", "constant");
    std::vector<Export> exports;
    exports.push_back({host_.Open("root"), Access::kReadWrite});
    exports.push_back({host_.Open("readonly"), Access::kReadOnly});
    std::unique_ptr<Tree> tree =
        Tree::Make(std::move(exports), {.nodes = kMaxNodes, .descriptors = 8}).value();
    tree_ = tree.get();
    auto channel = MakeFdChannel().value();
    receiver_ = std::move(channel.first);
    service_ = std::make_unique<Service>(std::move(tree), std::move(channel.second));
    for (uint32_t i = 0; i < 3; ++i) {
      wire::AttachRequest request;
      request.set_tree(i);
      wire::AttachReply reply;
      service_->Attach(request, &reply);
      REQUIRE((reply.error() == 0) == (i < 2));
      if (i < 2) ids_.push_back(reply.root().id());
    }
  }

  // What no sentry may change, whatever it asks for.
  std::string Untouchable() const {
    std::string seen;
    for (const char* name : {"outside", "readonly/file"}) {
      std::ifstream in(host_ / name);
      seen.append(std::istreambuf_iterator<char>(in), {}).append("|");
    }
    std::set<std::string> names;
    for (const char* directory : {".", "readonly", "readonly/d"}) {
      for (const auto& entry : std::filesystem::directory_iterator(host_ / directory)) {
        names.insert(entry.path().filename());
      }
    }
    for (const std::string& name : names) seen += name + "|";
    for (const char* name : {"outside", "readonly", "readonly/file", "readonly/d"}) {
      struct stat s = {};
      stat((host_ / name).c_str(), &s);
      seen += std::to_string(s.st_mode) + ":" + std::to_string(s.st_uid) + ":" +
              std::to_string(s.st_mtim.tv_sec) + ":" + std::to_string(s.st_mtim.tv_nsec) + "|";
    }
    return seen;
  }

  void Attack() {
    switch (Below(14)) {
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
      case 6:
        return Close();
      case 7:
        return Make();
      case 8:
        return Rename();
      case 9:
        return Unlink();
      case 10:
        return SetAttr();
      case 11:
        return Xattrs();
      case 12:
        return Link();
      default:
        return Mutated();
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

  void Make() {
    wire::MakeRequest request;
    request.set_directory(AnyNode());
    request.set_name(AnyName());
    static constexpr uint32_t kTypes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR, S_IFSOCK};
    request.set_mode(Below(4) == 0 ? static_cast<uint32_t>(random_())
                                   : kTypes[Below(std::size(kTypes))] | 0755);
    request.set_uid(Below(4) == 0 ? static_cast<uint32_t>(random_()) : getuid());
    request.set_gid(Below(4) == 0 ? static_cast<uint32_t>(random_()) : getgid());
    request.set_rdev(Below(2) == 0 ? 0 : random_());
    request.set_target(Below(2) == 0 ? "../../outside" : AnyName());
    if (Below(3) == 0) request.set_open_flags(static_cast<uint32_t>(random_()) & 0xfff);
    wire::MakeReply reply;
    service_->Make(request, &reply);
    if (reply.error() == 0) ids_.push_back(reply.node().id());
  }

  void Rename() {
    wire::RenameRequest request;
    request.set_old_directory(AnyNode());
    request.set_new_directory(AnyNode());
    request.set_old_name(AnyName());
    request.set_new_name(AnyName());
    request.set_flags(static_cast<uint32_t>(Below(6)));
    if (Below(2) == 0) request.set_moved(AnyNode());
    if (Below(2) == 0) request.set_exchanged(AnyNode());
    Call(&Service::Rename, request);
  }

  void Unlink() {
    wire::UnlinkRequest request;
    request.set_directory(AnyNode());
    request.set_name(AnyName());
    request.set_is_directory(Below(2) == 0);
    Call(&Service::Unlink, request);
  }

  void Link() {
    auto request = NodeRequest<wire::LinkRequest>();
    request.set_directory(AnyNode());
    request.set_name(AnyName());
    Call(&Service::Link, request);
  }

  void SetAttr() {
    auto request = NodeRequest<wire::SetAttrRequest>();
    if (Below(2) == 0) request.set_mode(static_cast<uint32_t>(random_() >> Below(64)));
    if (Below(4) == 0) request.set_uid(static_cast<uint32_t>(random_() >> Below(64)));
    if (Below(4) == 0) request.set_gid(static_cast<uint32_t>(random_() >> Below(64)));
    // Not so large that the host's disk is.
    if (Below(3) == 0) request.set_size(Below(2) == 0 ? Below(4096) : ~Below(4096));
    if (Below(2) == 0) request.mutable_atime()->set_now(Below(2) == 0);
    if (Below(2) == 0) {
      request.mutable_mtime()->mutable_time()->set_sec(static_cast<int64_t>(random_()));
      request.mutable_mtime()->mutable_time()->set_nsec(static_cast<uint32_t>(random_()));
    }
    Call(&Service::SetAttr, request);
  }

  void Xattrs() {
    const std::string name = Below(2) == 0 ? "user.x" : AnyName();
    auto set = NodeRequest<wire::SetXattrRequest>();
    set.set_name(name);
    set.set_value(std::string(Below(8) == 0 ? 70000 : Below(100), 'v'));
    set.set_flags(static_cast<uint32_t>(Below(5)));
    Call(&Service::SetXattr, set);
    auto get = NodeRequest<wire::GetXattrRequest>();
    get.set_name(name);
    Call(&Service::GetXattr, get);
    Call(&Service::ListXattr, NodeRequest<wire::ListXattrRequest>());
    auto remove = NodeRequest<wire::RemoveXattrRequest>();
    remove.set_name(name);
    Call(&Service::RemoveXattr, remove);
    Call(&Service::Sync, NodeRequest<wire::SyncRequest>());
  }

  // A request as bytes, with a few of them changed: whatever still parses is served.
  template <typename Request, typename Reply>
  void Mutate(void (Service::*method)(const Request&, Reply*), const Request& request) {
    std::string bytes = request.SerializeAsString();
    for (uint64_t n = Below(4); n > 0 && !bytes.empty(); --n) {
      bytes[Below(bytes.size())] = static_cast<char>(random_());
    }
    if (Below(4) == 0) bytes.resize(Below(bytes.size() + 1));
    Request mutated;
    if (mutated.ParseFromString(bytes)) Call(method, mutated);
  }
  void Mutated() {
    wire::RenameRequest rename;
    rename.set_old_directory(AnyNode());
    rename.set_old_name("a");
    rename.set_new_directory(AnyNode());
    rename.set_new_name("b");
    Mutate(&Service::Rename, rename);
    wire::MakeRequest make;
    make.set_directory(AnyNode());
    make.set_name("none");
    make.set_mode(S_IFDIR | 0755);
    make.set_uid(getuid());
    Mutate(&Service::Make, make);
    wire::UnlinkRequest unlink;
    unlink.set_directory(AnyNode());
    unlink.set_name("file");
    Mutate(&Service::Unlink, unlink);
    wire::WalkRequest walk;
    walk.set_node(AnyNode());
    walk.add_components("a");
    walk.add_components("b");
    Mutate(&Service::Walk, walk);
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
    const std::string before = attacker.Untouchable();
    for (int i = 0; i < 8000; ++i) attacker.Attack();
    CHECK(attacker.Untouchable() == before);
    CHECK(attacker.node_count() <= kMaxNodes);
    CHECK(attacker.descriptor_count() <= 8);
  }
}

}  // namespace
}  // namespace ringfence::gofer
