#include "gofer/client/grpc_client.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/stat.h>

#include <atomic>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/client/grpc_client_stub.h"
#include "gofer/wire/convert.h"
#include "gofer/wire/fd_channel.h"
#include "gofer/wire/grpc_start.h"
#include "proto/gofer/gofer.grpc.pb.h"

namespace ringfence::gofer {
namespace {

// A page of kMaxReadDirBytes, with room for what its estimate leaves out.
constexpr int kMaxReplyBytes = 2 * 1024 * 1024;
// Nodes given back are sent once there are so many.
constexpr size_t kCloseBatch = 64;

// The sentry must never hold a directory, an O_PATH descriptor or a device, whoever sent it.
// `wanted`: the access mode it was asked for with.
bool IsPlainFile(int fd, uint32_t wanted) {
  struct stat s;
  const int flags = fcntl(fd, F_GETFL);
  if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) || flags < 0 || (flags & O_PATH) != 0) return false;
  const auto mode = static_cast<uint32_t>(flags) & O_ACCMODE;
  return mode == O_RDWR || mode == (wanted & O_ACCMODE);
}

using RepeatedBytes = google::protobuf::RepeatedPtrField<std::string>;
using RepeatedEntries = google::protobuf::RepeatedPtrField<wire::DirectoryEntry>;

Result<void> AddNames(std::span<const std::string_view> names, RepeatedBytes* out) {
  for (const std::string_view name : names) {
    if (!IsValidComponent(name)) return Errno::kINVAL;
    out->Add(std::string(name));
  }
  return Ok();
}

Result<std::vector<DirectoryEntry>> EntriesFromWire(RepeatedEntries* in) {
  std::vector<DirectoryEntry> entries;
  entries.reserve(static_cast<size_t>(in->size()));
  for (wire::DirectoryEntry& entry : *in) entries.push_back(TRY(FromWire(&entry)));
  return entries;
}

using Stub = wire::Gofer::StubInterface;

class GrpcClient final : public Client {
 public:
  GrpcClient(std::unique_ptr<Stub> stub, UniqueFd fd_socket,
             std::function<void(std::string_view)> log)
      : log_(std::move(log)), stub_(std::move(stub)), donations_(std::move(fd_socket)) {}

  Result<Node> Attach(uint32_t tree) override;
  Result<WalkResult> Walk(NodeId node, std::span<const std::string_view> components) override;
  Result<Attributes> GetAttr(NodeId node) override;
  Result<std::string> ReadLink(NodeId node) override;
  Result<OpenedFile> Open(NodeId node, std::span<const std::string_view> components,
                          uint32_t flags) override;
  Result<DirectoryPage> ReadDir(NodeId node, int64_t cookie, uint32_t max_bytes,
                                EntryDetail detail) override;
  Result<std::vector<ListedDirectory>> ReadTree(NodeId node,
                                                std::span<const std::string_view> names,
                                                size_t max_directories,
                                                uint32_t max_bytes) override;
  Result<FsAttributes> StatFs(NodeId node) override;
  void Close(std::span<const NodeId> nodes) override;
  Result<MadeObject> Make(NodeId directory, std::string_view name, const NewObject& object,
                          AlsoOpen open, uint32_t open_flags) override;
  Result<LinkedFile> Link(NodeId node, NodeId directory, std::string_view name) override;
  Result<Attributes> Unlink(NodeId directory, std::string_view name, Victim victim) override;
  Result<RenamedDirectories> Rename(const RenameArgs& args) override;
  Result<Attributes> SetAttr(NodeId node, const AttributeChange& change) override;
  Result<void> Sync(NodeId node) override;
  Result<std::string> GetXattr(NodeId node, std::string_view name) override;
  Result<std::vector<std::string>> ListXattr(NodeId node) override;
  Result<void> SetXattr(NodeId node, std::string_view name, std::string_view value,
                        uint32_t flags) override;
  Result<void> RemoveXattr(NodeId node, std::string_view name) override;
  uint64_t RoundTrips() const override { return round_trips_.load(std::memory_order_relaxed); }

 private:
  template <typename Request, typename Reply>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Reply*);

  // One round trip; the reply's own error becomes the result's.
  template <typename Request, typename Reply>
  Result<Reply> Call(Method<Request, Reply> method, const Request& request);
  template <typename Request, typename Reply>
  Result<Reply> RoundTrip(Method<Request, Reply> method, const Request& request);
  // The same for a call that donates a descriptor for its request's `donation`.
  template <typename Request, typename Reply>
  Result<Reply> CallForFd(Method<Request, Reply> method, Request* request, uint32_t open_flags,
                          UniqueFd* fd);
  void SendClosed();
  using Ids = google::protobuf::RepeatedField<uint64_t>;
  // Moves at most `max` of those waiting.
  void TakeClosed(size_t max, Ids* out);
  void ReportLoss(const std::string& reason);

  const std::function<void(std::string_view)> log_;
  std::atomic<bool> loss_reported_ = false;
  std::atomic<uint64_t> round_trips_ = 0;
  const std::unique_ptr<Stub> stub_;
  FdReceiver donations_;
  absl::Mutex mutex_;
  std::vector<NodeId> closed_ ABSL_GUARDED_BY(mutex_);
};

void GrpcClient::ReportLoss(const std::string& reason) {
  if (loss_reported_.exchange(true)) return;
  log_("gofer lost (" + reason + "): files of this mount fail with EIO");
}

template <typename Request, typename Reply>
Result<Reply> GrpcClient::RoundTrip(Method<Request, Reply> method, const Request& request) {
  round_trips_.fetch_add(1, std::memory_order_relaxed);
  grpc::ClientContext context;
  Reply reply;
  const grpc::Status status = (stub_.get()->*method)(&context, request, &reply);
  if (!status.ok()) {
    ReportLoss(status.error_message());
    return Errno::kIO;
  }
  const Errno error = ErrnoFromWire(reply.error());
  if (error != Errno{}) return error;
  return reply;
}

template <typename Request, typename Reply>
Result<Reply> GrpcClient::Call(Method<Request, Reply> method, const Request& request) {
  SendClosed();
  return RoundTrip(method, request);
}

template <typename Request, typename Reply>
Result<Reply> GrpcClient::CallForFd(Method<Request, Reply> method, Request* request,
                                    uint32_t open_flags, UniqueFd* fd) {
  request->set_donation(donations_.Begin());
  Result<Reply> reply = Call(method, *request);
  if (!reply.ok()) {
    donations_.Abandon(request->donation());
    return reply.error();
  }
  *fd = TRY(donations_.Take(request->donation()));
  if (!IsPlainFile(fd->get(), open_flags)) return Errno::kIO;
  return reply;
}

void GrpcClient::SendClosed() {
  wire::CloseRequest request;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_.size() < kCloseBatch) return;
  }
  TakeClosed(kMaxCloseBatch, request.mutable_nodes());
  // A gofer that does not know them or is gone has none of them open: nothing is lost.
  (void)RoundTrip(&Stub::Close, request);
}

void GrpcClient::TakeClosed(size_t max, Ids* out) {
  absl::MutexLock lock(&mutex_);
  const size_t count = std::min(closed_.size(), max);
  out->Add(closed_.end() - static_cast<ptrdiff_t>(count), closed_.end());
  closed_.resize(closed_.size() - count);
}

Result<Node> GrpcClient::Attach(uint32_t tree) {
  wire::AttachRequest request;
  request.set_tree(tree);
  return FromWire(TRY(Call(&Stub::Attach, request)).root());
}

Result<WalkResult> GrpcClient::Walk(NodeId node, std::span<const std::string_view> components) {
  if (components.empty() || components.size() > kMaxWalkComponents) return Errno::kINVAL;
  wire::WalkRequest request;
  request.set_node(node);
  TRY(AddNames(components, request.mutable_components()));
  const wire::WalkReply reply = TRY(Call(&Stub::Walk, request));
  const auto walked = static_cast<size_t>(reply.nodes_size());
  WalkResult result = {.nodes = {}, .stopped = ErrnoFromWire(reply.stopped())};
  if (walked > components.size()) return Errno::kIO;
  if ((walked < components.size()) != (result.stopped != Errno{})) return Errno::kIO;
  result.nodes.reserve(walked);
  for (const wire::Node& n : reply.nodes()) result.nodes.push_back(TRY(FromWire(n)));
  return result;
}

Result<Attributes> GrpcClient::GetAttr(NodeId node) {
  wire::GetAttrRequest request;
  request.set_node(node);
  return FromWire(TRY(Call(&Stub::GetAttr, request)).attr());
}

Result<std::string> GrpcClient::ReadLink(NodeId node) {
  wire::ReadLinkRequest request;
  request.set_node(node);
  wire::ReadLinkReply reply = TRY(Call(&Stub::ReadLink, request));
  if (!IsValidTarget(reply.target())) return Errno::kIO;
  return std::move(*reply.mutable_target());
}

Result<OpenedFile> GrpcClient::Open(NodeId node, std::span<const std::string_view> components,
                                    uint32_t flags) {
  if (components.size() > kMaxWalkComponents) return Errno::kINVAL;
  wire::OpenRequest request;
  request.set_node(node);
  TRY(AddNames(components, request.mutable_components()));
  request.set_flags(flags);
  TakeClosed(kCloseBatch, request.mutable_closed());
  UniqueFd fd;
  const wire::OpenReply reply = TRY(CallForFd(&Stub::Open, &request, flags, &fd));
  const Attributes attr = TRY(FromWire(reply.attr()));
  return OpenedFile{.fd = std::move(fd), .attr = attr};
}

Result<DirectoryPage> GrpcClient::ReadDir(NodeId node, int64_t cookie, uint32_t max_bytes,
                                          EntryDetail detail) {
  wire::ReadDirRequest request;
  request.set_node(node);
  request.set_cookie(cookie);
  request.set_max_bytes(max_bytes);
  request.set_detail(static_cast<wire::EntryDetail>(detail));
  wire::ReadDirReply reply = TRY(Call(&Stub::ReadDir, request));
  if (reply.entries().empty() && !reply.end()) return Errno::kIO;
  return DirectoryPage{.entries = TRY(EntriesFromWire(reply.mutable_entries())),
                       .end = reply.end()};
}

Result<std::vector<ListedDirectory>> GrpcClient::ReadTree(NodeId node,
                                                          std::span<const std::string_view> names,
                                                          size_t max_directories,
                                                          uint32_t max_bytes) {
  if (names.empty() || names.size() > max_directories) return Errno::kINVAL;
  if (max_directories > kMaxTreeDirectories || max_bytes > kMaxReadDirBytes) return Errno::kINVAL;
  wire::ReadTreeRequest request;
  request.set_node(node);
  TRY(AddNames(names, request.mutable_names()));
  request.set_max_directories(static_cast<uint32_t>(max_directories));
  request.set_max_bytes(max_bytes);
  wire::ReadTreeReply reply = TRY(Call(&Stub::ReadTree, request));
  if (static_cast<size_t>(reply.directories_size()) > max_directories) return Errno::kIO;
  std::vector<ListedDirectory> listed;
  listed.reserve(static_cast<size_t>(reply.directories_size()));
  for (wire::DirectoryListing& directory : *reply.mutable_directories()) {
    const Attributes attr = TRY(FromWire(directory.attr()));
    auto entries = TRY(EntriesFromWire(directory.mutable_entries()));
    listed.push_back({attr, std::move(entries)});
  }
  return listed;
}

Result<FsAttributes> GrpcClient::StatFs(NodeId node) {
  wire::StatFsRequest request;
  request.set_node(node);
  TakeClosed(kCloseBatch, request.mutable_closed());
  return FromWire(TRY(Call(&Stub::StatFs, request)));
}

Result<MadeObject> GrpcClient::Make(NodeId directory, std::string_view name,
                                    const NewObject& object, AlsoOpen open, uint32_t open_flags) {
  if (!name.empty() && !IsValidComponent(name)) return Errno::kINVAL;
  wire::MakeRequest request;
  request.set_directory(directory);
  request.set_name(std::string(name));
  request.set_mode(object.mode);
  request.set_uid(object.uid);
  request.set_gid(object.gid);
  request.set_rdev(object.rdev);
  request.set_target(std::string(object.target));
  TakeClosed(kCloseBatch, request.mutable_closed());
  MadeObject made;
  wire::MakeReply reply;
  if (open == AlsoOpen::kYes) {
    request.set_open_flags(open_flags);
    reply = TRY(CallForFd(&Stub::Make, &request, open_flags, &made.fd));
  } else {
    reply = TRY(Call(&Stub::Make, request));
  }
  made.node = TRY(FromWire(reply.node()));
  if ((made.node.attr.mode & S_IFMT) != (object.mode & S_IFMT)) return Errno::kIO;
  made.directory = TRY(FromWire(reply.directory()));
  return made;
}

Result<LinkedFile> GrpcClient::Link(NodeId node, NodeId directory, std::string_view name) {
  if (!IsValidComponent(name)) return Errno::kINVAL;
  wire::LinkRequest request;
  request.set_node(node);
  request.set_directory(directory);
  request.set_name(std::string(name));
  const wire::LinkReply reply = TRY(Call(&Stub::Link, request));
  const Attributes attr = TRY(FromWire(reply.attr()));
  return LinkedFile{.attr = attr, .directory = TRY(FromWire(reply.directory()))};
}

Result<Attributes> GrpcClient::Unlink(NodeId directory, std::string_view name, Victim victim) {
  if (!IsValidComponent(name)) return Errno::kINVAL;
  wire::UnlinkRequest request;
  request.set_directory(directory);
  request.set_name(std::string(name));
  request.set_is_directory(victim == Victim::kDirectory);
  TakeClosed(kCloseBatch, request.mutable_closed());
  return FromWire(TRY(Call(&Stub::Unlink, request)).directory());
}

Result<RenamedDirectories> GrpcClient::Rename(const RenameArgs& args) {
  if (!IsValidComponent(args.old_name) || !IsValidComponent(args.new_name)) return Errno::kINVAL;
  wire::RenameRequest request;
  request.set_old_directory(args.old_directory);
  request.set_old_name(std::string(args.old_name));
  request.set_new_directory(args.new_directory);
  request.set_new_name(std::string(args.new_name));
  request.set_flags(args.flags);
  request.set_moved(args.moved);
  request.set_exchanged(args.exchanged);
  const wire::RenameReply reply = TRY(Call(&Stub::Rename, request));
  const Attributes old_directory = TRY(FromWire(reply.old_directory()));
  return RenamedDirectories{.old_directory = old_directory,
                            .new_directory = TRY(FromWire(reply.new_directory()))};
}

Result<Attributes> GrpcClient::SetAttr(NodeId node, const AttributeChange& change) {
  wire::SetAttrRequest request;
  ToWire(change, &request);
  request.set_node(node);
  return FromWire(TRY(Call(&Stub::SetAttr, request)).attr());
}

Result<void> GrpcClient::Sync(NodeId node) {
  wire::SyncRequest request;
  request.set_node(node);
  TRY(Call(&Stub::Sync, request));
  return Ok();
}

Result<std::string> GrpcClient::GetXattr(NodeId node, std::string_view name) {
  wire::GetXattrRequest request;
  request.set_node(node);
  request.set_name(std::string(name));
  wire::GetXattrReply reply = TRY(Call(&Stub::GetXattr, request));
  if (reply.value().size() > kMaxXattrValue) return Errno::kIO;
  return std::move(*reply.mutable_value());
}

Result<std::vector<std::string>> GrpcClient::ListXattr(NodeId node) {
  wire::ListXattrRequest request;
  request.set_node(node);
  const wire::ListXattrReply reply = TRY(Call(&Stub::ListXattr, request));
  if (static_cast<size_t>(reply.names_size()) > kMaxXattrNames) return Errno::kIO;
  for (const std::string& name : reply.names()) {
    if (!IsValidXattrName(name)) return Errno::kIO;
  }
  return std::vector<std::string>(reply.names().begin(), reply.names().end());
}

Result<void> GrpcClient::SetXattr(NodeId node, std::string_view name, std::string_view value,
                                  uint32_t flags) {
  if (!IsValidXattrName(name)) return Errno::kRANGE;
  if (value.size() > kMaxXattrValue) return Errno::k2BIG;
  wire::SetXattrRequest request;
  request.set_node(node);
  request.set_name(std::string(name));
  request.set_value(std::string(value));
  request.set_flags(flags);
  TRY(Call(&Stub::SetXattr, request));
  return Ok();
}

Result<void> GrpcClient::RemoveXattr(NodeId node, std::string_view name) {
  if (!IsValidXattrName(name)) return Errno::kRANGE;
  wire::RemoveXattrRequest request;
  request.set_node(node);
  request.set_name(std::string(name));
  TRY(Call(&Stub::RemoveXattr, request));
  return Ok();
}

void GrpcClient::Close(std::span<const NodeId> nodes) {
  absl::MutexLock lock(&mutex_);
  closed_.insert(closed_.end(), nodes.begin(), nodes.end());
}

}  // namespace

std::unique_ptr<Client> NewClientOnStub(std::unique_ptr<Stub> stub, UniqueFd fd_socket,
                                        std::function<void(std::string_view)> log) {
  StartGrpc();
  return std::make_unique<GrpcClient>(std::move(stub), std::move(fd_socket), std::move(log));
}

std::unique_ptr<Client> NewGrpcClient(UniqueFd rpc_socket, UniqueFd fd_socket,
                                      std::function<void(std::string_view)> log) {
  StartGrpc();
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMaxReplyBytes);
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // gRPC wants a non-blocking socket and owns it from here.
  fcntl(rpc_socket.get(), F_SETFL, fcntl(rpc_socket.get(), F_GETFL) | O_NONBLOCK);
  auto channel = grpc::CreateCustomInsecureChannelFromFd("gofer", rpc_socket.Release(), args);
  return NewClientOnStub(wire::Gofer::NewStub(channel), std::move(fd_socket), std::move(log));
}

}  // namespace ringfence::gofer
