// A hostile sentry: the input is a list of requests to the gofer's service, which has no sockets
// but the side channel here. Whatever they are, nothing outside of what is exported is opened or
// changed, no bound is exceeded, and what is answered is something that our client would believe.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gofer/server/service.h"
#include "gofer/wire/convert.h"
#include "test/fuzz/expect.h"
#include "test/fuzz/input.h"
#include "test/fuzz/scratch.h"

namespace ringfence::fuzz {
namespace {

using gofer::Service;
namespace wire = gofer::wire;

constexpr size_t kMaxRequests = 64;
constexpr gofer::NodeTableLimits kLimits = {.nodes = 48, .descriptors = 6};
// Of the node table, open directories, roots, /proc/self/fd and the channel.
constexpr size_t kMaxDescriptors = kLimits.descriptors + 16 + 4 + 1 + 2;
// What a client takes (gofer/client/grpc_client.cc).
constexpr size_t kMaxReplyBytes = 2 * 1024 * 1024;
constexpr uint32_t kTrees = 4;  // the last is of a kernel file system
constexpr uint32_t kReadOnlyTree = 1, kKernelTree = 3;

constexpr uint32_t kTypes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR, S_IFSOCK, S_IFBLK, 0};
constexpr const char* kNames[] = {"a", "b", "c",  "f", "l",   "p",         "x",
                                  "",  ".", "..", "/", "a/b", "../canary", "new"};
constexpr const char* kTargets[] = {"a", "../canary", "/", "..", "../../..", "/proc/self/fd/0"};

Scratch& TheScratch() {
  static Scratch scratch;
  return scratch;
}

class HostileSentry {
 public:
  HostileSentry(Choices input, Scratch* scratch) : input_(input), scratch_(scratch) {
    std::vector<gofer::Export> exports;
    exports.push_back({scratch->OpenRoot(), gofer::Access::kReadWrite});
    exports.push_back({scratch->OpenReadOnly(), gofer::Access::kReadOnly});
    exports.push_back({scratch->OpenVolume(), gofer::Access::kReadWrite});
    exports.push_back(
        {UniqueFd(open("/proc/self", O_PATH | O_CLOEXEC)), gofer::Access::kReadWrite});
    auto tree = gofer::Tree::Make(std::move(exports), kLimits).value();
    tree_ = tree.get();
    auto [receiver, sender] = gofer::MakeFdChannel().value();
    donations_ = std::make_unique<gofer::FdReceiver>(std::move(receiver));
    service_ = std::make_unique<Service>(std::move(tree), std::move(sender));
    for (uint32_t i = 0; i < kTrees; ++i) Attach(i);
  }

  void Run() {
    for (size_t n = 0; n < kMaxRequests && !input_.done(); ++n) {
      Request();
      Expect(tree_->nodes().node_count() <= kLimits.nodes + kTrees, "nodes are bounded");
      Expect(tree_->nodes().descriptor_count() <= kLimits.descriptors, "descriptors are bounded");
    }
  }

 private:
  struct Known {
    uint64_t id;
    uint32_t tree;
  };

  // --- what requests are made of ---
  uint64_t AnyNode() {
    const uint8_t which = input_.Byte();
    if (which >= 0xf8) return input_.Number();
    return known_[which % known_.size()].id;
  }
  // The tree of a node; kTrees if it is none of those handed out.
  uint32_t TreeOf(uint64_t id) const {
    for (const Known& known : known_) {
      if (known.id == id) return known.tree;
    }
    return kTrees;
  }
  std::string AnyName() {
    const uint8_t which = input_.Byte();
    if (which < 0xf0) return kNames[which % std::size(kNames)];
    if (which < 0xf4) return std::string(250 + which % 16, 'n');
    return input_.Bytes(which % 8);
  }
  template <typename Names>
  void AddNames(Names* names) {
    size_t count = input_.Below(8);
    // Rarely more than are allowed.
    if (count == 7) count = input_.Below(3) * 128 + 1;
    for (; count > 0; --count) names->Add(AnyName());
  }
  template <typename Ids>
  void AddClosed(Ids* ids) {
    size_t count = input_.Below(16);
    if (count > 3) return;
    for (; count > 0; --count) ids->Add(AnyNode());
  }
  uint32_t AnyOpenFlags() {
    static constexpr uint32_t kFlags[] = {O_RDONLY, O_RDWR,      O_WRONLY, O_RDWR | O_TRUNC,
                                          O_TRUNC,  O_DIRECTORY, O_PATH,   O_RDWR | O_APPEND};
    const uint8_t which = input_.Byte();
    return which < 0xe0 ? kFlags[which % std::size(kFlags)] : input_.Number32();
  }

  // --- requests ---
  void Request() {
    static constexpr void (HostileSentry::*kRequests[])() = {
        &HostileSentry::Walk,     &HostileSentry::GetAttr,     &HostileSentry::ReadLink,
        &HostileSentry::Open,     &HostileSentry::ReadDir,     &HostileSentry::ReadTree,
        &HostileSentry::StatFs,   &HostileSentry::Close,       &HostileSentry::Make,
        &HostileSentry::Link,     &HostileSentry::Unlink,      &HostileSentry::Rename,
        &HostileSentry::SetAttr,  &HostileSentry::GetXattr,    &HostileSentry::ListXattr,
        &HostileSentry::SetXattr, &HostileSentry::RemoveXattr, &HostileSentry::Sync,
        &HostileSentry::AttachAny};
    const uint8_t kind = input_.Byte();
    // What the bytes of a request may say that none of the fields below does.
    raw_ = kind >= 0xe8;
    (this->*kRequests[kind % std::size(kRequests)])();
  }

  template <typename Request, typename Reply>
  Reply Call(void (Service::*method)(const Request&, Reply*), Request request) {
    Reply reply;
    // Fields that are there twice are those that come last: these bytes change the request. gRPC
    // refuses what cannot be parsed.
    if (raw_ && !request.MergeFromString(input_.Bytes(input_.Below(64)))) {
      reply.set_error(static_cast<int32_t>(Errno::kINVAL));
      return reply;
    }
    (service_.get()->*method)(request, &reply);
    Expect(reply.ByteSizeLong() <= kMaxReplyBytes, "replies are bounded");
    if (reply.error() != 0) ExpectGuestErrno(static_cast<Errno>(reply.error()), "gofer");
    return reply;
  }
  // The same, for a call that may donate a descriptor.
  template <typename Request, typename Reply>
  Reply CallForFd(void (Service::*method)(const Request&, Reply*), Request request, bool wanted) {
    const uint64_t id = donations_->Begin();
    if (wanted) request.set_donation(id);
    const Reply reply = Call(method, std::move(request));
    // Reads all that came, also for numbers that were made up.
    const Result<UniqueFd> fd = donations_->Take(id);
    if (fd.ok()) scratch_->ExpectExported(fd->get());
    if (wanted && !raw_) Expect(fd.ok() == (reply.error() == 0), "a descriptor comes with success");
    return reply;
  }
  template <typename Request>
  Request OfNode() {
    Request request;
    request.set_node(AnyNode());
    return request;
  }

  void Learn(const wire::Node& node, uint32_t tree) {
    Expect(gofer::FromWire(node).ok(), "a client believes the node");
    if (known_.size() < 200) known_.push_back({node.id(), tree});
  }
  static void Check(const wire::Attributes& attr) {
    Expect(gofer::FromWire(attr).ok(), "a client believes the attributes");
  }
  // Nothing below or of what shows the kernel; nothing changed in what may only be read.
  void ExpectRefused(uint64_t node, int32_t error, bool is_change) const {
    const uint32_t tree = TreeOf(node);
    if (raw_ || tree == kTrees) return;
    Expect(tree != kKernelTree || error != 0, "kernel file systems are closed");
    Expect(tree != kReadOnlyTree || !is_change || error != 0, "a read-only tree is not changed");
  }

  void Attach(uint32_t tree) {
    wire::AttachRequest request;
    request.set_tree(tree);
    const wire::AttachReply reply = Call(&Service::Attach, request);
    if (reply.error() == 0) Learn(reply.root(), tree);
  }
  void AttachAny() {
    const uint32_t tree = input_.Number32();
    if (!raw_) Attach(tree);
  }
  void Walk() {
    auto request = OfNode<wire::WalkRequest>();
    AddNames(request.mutable_components());
    const wire::WalkReply reply = Call(&Service::Walk, request);
    for (const wire::Node& node : reply.nodes()) Learn(node, TreeOf(request.node()));
    if (raw_ || reply.error() != 0) return;
    Expect((reply.nodes_size() < request.components_size()) == (reply.stopped() != 0),
           "a walk says why it stopped");
    Expect(TreeOf(request.node()) != kKernelTree || reply.nodes_size() == 0,
           "kernel file systems are not entered");
    if (reply.stopped() != 0) ExpectGuestErrno(static_cast<Errno>(reply.stopped()), "walk");
  }
  void GetAttr() {
    const auto reply = Call(&Service::GetAttr, OfNode<wire::GetAttrRequest>());
    if (reply.error() == 0) Check(reply.attr());
  }
  void ReadLink() {
    const auto reply = Call(&Service::ReadLink, OfNode<wire::ReadLinkRequest>());
    if (reply.error() == 0) Expect(gofer::IsValidTarget(reply.target()), "a client takes the link");
  }
  void Open() {
    auto request = OfNode<wire::OpenRequest>();
    request.set_flags(AnyOpenFlags());
    AddNames(request.mutable_components());
    AddClosed(request.mutable_closed());
    const bool wanted = !input_.OneIn(8);
    const wire::OpenReply reply = CallForFd(&Service::Open, request, wanted);
    if (reply.error() == 0) Check(reply.attr());
    ExpectRefused(request.node(), reply.error(), (request.flags() & (O_ACCMODE | O_TRUNC)) != 0);
  }
  template <typename Entries>
  void LearnEntries(const Entries& entries, uint32_t tree) {
    for (const wire::DirectoryEntry& entry : entries) {
      wire::DirectoryEntry copy = entry;
      Expect(gofer::FromWire(&copy).ok(), "a client believes the entry");
      if (entry.id() != 0 && known_.size() < 200) known_.push_back({entry.id(), tree});
    }
  }
  void ReadDir() {
    auto request = OfNode<wire::ReadDirRequest>();
    request.set_detail(static_cast<wire::EntryDetail>(input_.Below(4)));
    request.set_max_bytes(input_.OneIn(2) ? input_.Number32() : 4096);
    if (input_.OneIn(2)) request.set_cookie(static_cast<int64_t>(input_.Number()));
    const wire::ReadDirReply reply = Call(&Service::ReadDir, request);
    ExpectRefused(request.node(), reply.error(), false);
    LearnEntries(reply.entries(), TreeOf(request.node()));
    if (reply.error() == 0) Expect(reply.end() || reply.entries_size() > 0, "a page has entries");
  }
  void ReadTree() {
    auto request = OfNode<wire::ReadTreeRequest>();
    AddNames(request.mutable_names());
    request.set_max_directories(input_.OneIn(2) ? input_.Number32() : 256);
    request.set_max_bytes(input_.OneIn(2) ? input_.Number32() : 4096);
    const wire::ReadTreeReply reply = Call(&Service::ReadTree, request);
    ExpectRefused(request.node(), reply.error(), false);
    if (!raw_) {
      Expect(static_cast<uint64_t>(reply.directories_size()) <= request.max_directories(),
             "no more directories than were asked for");
    }
    for (const wire::DirectoryListing& directory : reply.directories()) {
      Check(directory.attr());
      LearnEntries(directory.entries(), kTrees);
    }
  }
  void StatFs() {
    auto request = OfNode<wire::StatFsRequest>();
    AddClosed(request.mutable_closed());
    Call(&Service::StatFs, request);
  }
  void Close() {
    wire::CloseRequest request;
    for (size_t n = input_.Below(8); n > 0; --n) request.add_nodes(AnyNode());
    Call(&Service::Close, request);
  }
  void Make() {
    wire::MakeRequest request;
    request.set_directory(AnyNode());
    request.set_name(AnyName());
    const uint32_t permissions = input_.OneIn(4) ? input_.Number32() : 0644;
    request.set_mode(input_.OneOf(kTypes) | permissions);
    request.set_uid(input_.OneIn(8) ? input_.Number32() : geteuid());
    request.set_gid(input_.OneIn(8) ? input_.Number32() : getegid());
    if (input_.OneIn(8)) request.set_rdev(input_.Number());
    if (S_ISLNK(request.mode())) request.set_target(input_.OneOf(kTargets));
    AddClosed(request.mutable_closed());
    request.set_open_flags(AnyOpenFlags());
    const bool wanted = S_ISREG(request.mode()) && input_.OneIn(2);
    const wire::MakeReply reply = CallForFd(&Service::Make, request, wanted);
    ExpectRefused(request.directory(), reply.error(), true);
    if (reply.error() != 0) return;
    Learn(reply.node(), TreeOf(request.directory()));
    Check(reply.directory());
    if (raw_) return;
    Expect(reply.node().attr().mode() == request.mode() || S_ISLNK(request.mode()),
           "what is made has the mode asked for");
    Expect(reply.node().attr().uid() == request.uid(), "what is made has the owner asked for");
    Expect(!S_ISBLK(request.mode()) && reply.node().attr().rdev() == 0, "no devices are made");
  }
  void Link() {
    auto request = OfNode<wire::LinkRequest>();
    request.set_directory(AnyNode());
    request.set_name(AnyName());
    const wire::LinkReply reply = Call(&Service::Link, request);
    ExpectRefused(request.directory(), reply.error(), true);
    ExpectRefused(request.node(), reply.error(), true);
    if (reply.error() == 0) Check(reply.attr());
  }
  void Unlink() {
    wire::UnlinkRequest request;
    request.set_directory(AnyNode());
    request.set_name(AnyName());
    request.set_is_directory(input_.OneIn(2));
    AddClosed(request.mutable_closed());
    const wire::UnlinkReply reply = Call(&Service::Unlink, request);
    ExpectRefused(request.directory(), reply.error(), true);
    if (reply.error() == 0) Check(reply.directory());
  }
  void Rename() {
    wire::RenameRequest request;
    request.set_old_directory(AnyNode());
    request.set_old_name(AnyName());
    request.set_new_directory(AnyNode());
    request.set_new_name(AnyName());
    request.set_flags(input_.OneIn(8) ? input_.Number32() : static_cast<uint32_t>(input_.Below(4)));
    if (input_.OneIn(2)) request.set_moved(AnyNode());
    if (input_.OneIn(2)) request.set_exchanged(AnyNode());
    const wire::RenameReply reply = Call(&Service::Rename, request);
    ExpectRefused(request.old_directory(), reply.error(), true);
    ExpectRefused(request.new_directory(), reply.error(), true);
  }
  void SetAttr() {
    auto request = OfNode<wire::SetAttrRequest>();
    const uint8_t which = input_.Byte();
    if ((which & 1) != 0) request.set_mode(input_.Number32());
    if ((which & 2) != 0) request.set_uid(input_.Number32());
    if ((which & 4) != 0) request.set_gid(input_.Number32());
    if ((which & 8) != 0) request.set_size(input_.Number());
    if ((which & 16) != 0) request.mutable_atime()->set_now(input_.OneIn(2));
    if ((which & 32) != 0) {
      wire::Time* time = request.mutable_mtime()->mutable_time();
      time->set_sec(static_cast<int64_t>(input_.Number()));
      time->set_nsec(input_.Number32());
    }
    const wire::SetAttrReply reply = Call(&Service::SetAttr, request);
    ExpectRefused(request.node(), reply.error(), true);
    if (reply.error() == 0) Check(reply.attr());
  }
  std::string AnyXattr() {
    static const char* const kXattrs[] = {"user.a",
                                          "user.b",
                                          "user.",
                                          "trusted.overlay.opaque",
                                          "security.capability",
                                          "system.posix_acl_access"};
    const uint8_t which = input_.Byte();
    return which < 0xf0 ? kXattrs[which % std::size(kXattrs)] : input_.Bytes(which % 16);
  }
  void GetXattr() {
    auto request = OfNode<wire::GetXattrRequest>();
    request.set_name(AnyXattr());
    const wire::GetXattrReply reply = Call(&Service::GetXattr, request);
    ExpectRefused(request.node(), reply.error(), false);
    Expect(raw_ || reply.error() != 0 || request.name().starts_with("user."),
           "only attributes of the user namespace are read");
  }
  void ListXattr() {
    const auto request = OfNode<wire::ListXattrRequest>();
    const wire::ListXattrReply reply = Call(&Service::ListXattr, request);
    ExpectRefused(request.node(), reply.error(), false);
    for (const std::string& name : reply.names()) {
      Expect(gofer::IsValidXattrName(name) && name.starts_with("user."), "a client takes the name");
    }
  }
  void SetXattr() {
    auto request = OfNode<wire::SetXattrRequest>();
    request.set_name(AnyXattr());
    request.set_value(std::string(input_.OneIn(16) ? 65537 : input_.Byte(), 'v'));
    request.set_flags(input_.Number32());
    const wire::SetXattrReply reply = Call(&Service::SetXattr, request);
    ExpectRefused(request.node(), reply.error(), true);
  }
  void RemoveXattr() {
    auto request = OfNode<wire::RemoveXattrRequest>();
    request.set_name(AnyXattr());
    const wire::RemoveXattrReply reply = Call(&Service::RemoveXattr, request);
    ExpectRefused(request.node(), reply.error(), true);
  }
  void Sync() {
    const auto request = OfNode<wire::SyncRequest>();
    // Waiting for a disk finds nothing: one in a process is enough.
    static bool synced = false;
    if (std::exchange(synced, true)) return;
    ExpectRefused(request.node(), Call(&Service::Sync, request).error(), false);
  }

  Choices input_;
  Scratch* const scratch_;
  std::unique_ptr<gofer::FdReceiver> donations_;
  std::unique_ptr<Service> service_;
  gofer::Tree* tree_;
  std::vector<Known> known_;
  bool raw_ = false;
};

void RunOne(const uint8_t* data, size_t size) {
  Scratch& scratch = TheScratch();
  scratch.Reset();
  const size_t before = CountDescriptors();
  {
    InputBytes bytes = {{data, size}};
    HostileSentry sentry(Choices(&bytes, Choices::End::kFront), &scratch);
    sentry.Run();
    Expect(CountDescriptors() <= before + kMaxDescriptors, "the gofer's descriptors are bounded");
  }
  Expect(CountDescriptors() == before, "the gofer gives all descriptors back");
  scratch.ExpectUntouched();
}

}  // namespace
}  // namespace ringfence::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ringfence::fuzz::RunOne(data, size);
  return 0;
}
