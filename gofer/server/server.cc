#include "gofer/server/server.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <grpcpp/support/async_unary_call.h>
#include <poll.h>

#include <chrono>
#include <utility>

#include "gofer/server/service.h"
#include "gofer/wire/grpc_start.h"
#include "proto/gofer/gofer.grpc.pb.h"

namespace ringfence::gofer {
namespace {

constexpr int kThreads = 2;
// More than any sentry has calls under way; more than that wait on the sentry's side.
constexpr int kMaxConcurrentCalls = 256;
constexpr int kMaxRequestBytes = 128 * 1024;

using AsyncService = wire::Gofer::AsyncService;

// What a tag of the completion queue points to.
class Event {
 public:
  virtual ~Event() = default;
  // `ok` false: the server is stopping, or the peer is gone.
  virtual void Happened(bool ok) = 0;
};

struct Listener {
  AsyncService* async;
  Service* service;
  grpc::ServerCompletionQueue* queue;
};

// One call of one method: waits for it, serves it, then waits for the reply to be written.
template <typename Request, typename Reply>
class Call final : public Event {
 public:
  using Method = void (AsyncService::*)(grpc::ServerContext*, Request*,
                                        grpc::ServerAsyncResponseWriter<Reply>*,
                                        grpc::CompletionQueue*, grpc::ServerCompletionQueue*,
                                        void*);
  using Handler = void (Service::*)(const Request&, Reply*);

  // Deletes itself when it is over.
  static void Await(const Listener& listener, Method method, Handler handler) {
    auto* call = new Call(listener, method, handler);
    (listener.async->*method)(&call->context_, &call->request_, &call->writer_, listener.queue,
                              listener.queue, call);
  }

  void Happened(bool ok) override {
    if (!ok || replied_) {
      delete this;
      return;
    }
    Await(listener_, method_, handler_);
    (listener_.service->*handler_)(request_, &reply_);
    replied_ = true;
    writer_.Finish(reply_, grpc::Status::OK, this);
  }

 private:
  Call(const Listener& listener, Method method, Handler handler)
      : listener_(listener), method_(method), handler_(handler), writer_(&context_) {}

  const Listener listener_;
  const Method method_;
  const Handler handler_;
  bool replied_ = false;
  grpc::ServerContext context_;
  Request request_;
  Reply reply_;
  grpc::ServerAsyncResponseWriter<Reply> writer_;
};

template <typename Request, typename Reply>
void Listen(const Listener& listener, typename Call<Request, Reply>::Method method,
            typename Call<Request, Reply>::Handler handler) {
  Call<Request, Reply>::Await(listener, method, handler);
}

void ListenToChanges(const Listener& listener) {
  using A = AsyncService;
  Listen<wire::MakeRequest, wire::MakeReply>(listener, &A::RequestMake, &Service::Make);
  Listen<wire::LinkRequest, wire::LinkReply>(listener, &A::RequestLink, &Service::Link);
  Listen<wire::UnlinkRequest, wire::UnlinkReply>(listener, &A::RequestUnlink, &Service::Unlink);
  Listen<wire::RenameRequest, wire::RenameReply>(listener, &A::RequestRename, &Service::Rename);
  Listen<wire::SetAttrRequest, wire::SetAttrReply>(listener, &A::RequestSetAttr, &Service::SetAttr);
  Listen<wire::GetXattrRequest, wire::GetXattrReply>(listener, &A::RequestGetXattr,
                                                     &Service::GetXattr);
  Listen<wire::ListXattrRequest, wire::ListXattrReply>(listener, &A::RequestListXattr,
                                                       &Service::ListXattr);
  Listen<wire::SetXattrRequest, wire::SetXattrReply>(listener, &A::RequestSetXattr,
                                                     &Service::SetXattr);
  Listen<wire::RemoveXattrRequest, wire::RemoveXattrReply>(listener, &A::RequestRemoveXattr,
                                                           &Service::RemoveXattr);
  Listen<wire::SyncRequest, wire::SyncReply>(listener, &A::RequestSync, &Service::Sync);
}

void ListenToAll(const Listener& listener) {
  using A = AsyncService;
  Listen<wire::AttachRequest, wire::AttachReply>(listener, &A::RequestAttach, &Service::Attach);
  Listen<wire::WalkRequest, wire::WalkReply>(listener, &A::RequestWalk, &Service::Walk);
  Listen<wire::GetAttrRequest, wire::GetAttrReply>(listener, &A::RequestGetAttr, &Service::GetAttr);
  Listen<wire::ReadLinkRequest, wire::ReadLinkReply>(listener, &A::RequestReadLink,
                                                     &Service::ReadLink);
  Listen<wire::OpenRequest, wire::OpenReply>(listener, &A::RequestOpen, &Service::Open);
  Listen<wire::ReadDirRequest, wire::ReadDirReply>(listener, &A::RequestReadDir, &Service::ReadDir);
  Listen<wire::ReadTreeRequest, wire::ReadTreeReply>(listener, &A::RequestReadTree,
                                                     &Service::ReadTree);
  Listen<wire::StatFsRequest, wire::StatFsReply>(listener, &A::RequestStatFs, &Service::StatFs);
  Listen<wire::CloseRequest, wire::CloseReply>(listener, &A::RequestClose, &Service::Close);
  ListenToChanges(listener);
}

}  // namespace

class Server::Impl {
 public:
  Impl(std::unique_ptr<Tree> tree, UniqueFd fd_socket)
      : service_(std::move(tree), std::move(fd_socket)) {}

  absl::Status Start(UniqueFd rpc_socket) {
    StartGrpc();
    grpc::ServerBuilder builder;
    builder.RegisterService(&async_);
    builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentCalls);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::InternalError("gofer: gRPC server does not start");
    // gRPC wants a non-blocking socket and owns it from here.
    fcntl(rpc_socket.get(), F_SETFL, fcntl(rpc_socket.get(), F_GETFL) | O_NONBLOCK);
    grpc::AddInsecureChannelFromFd(server_.get(), rpc_socket.Release());
    ListenToAll({.async = &async_, .service = &service_, .queue = queue_.get()});
    for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { ServeCalls(); });
    return absl::OkStatus();
  }

  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    queue_->Shutdown();
    for (std::thread& thread : threads_) thread.join();
  }

  int fd_socket() const { return service_.fd_socket(); }

 private:
  void ServeCalls() {
    void* tag;
    bool ok;
    while (queue_->Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
  }

  Service service_;
  AsyncService async_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::thread> threads_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { impl_->Stop(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(std::unique_ptr<Tree> tree,
                                                      UniqueFd rpc_socket, UniqueFd fd_socket) {
  auto impl = std::make_unique<Impl>(std::move(tree), std::move(fd_socket));
  const absl::Status started = impl->Start(std::move(rpc_socket));
  if (!started.ok()) return started;
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::WaitForPeerToLeave() {
  pollfd peer = {.fd = impl_->fd_socket(), .events = POLLRDHUP, .revents = 0};
  while (poll(&peer, 1, -1) < 0 && errno == EINTR) {
  }
}

}  // namespace ringfence::gofer
