// Service: the gRPC methods of proto/gofer on a Tree. Only translates; Tree checks and acts.
//
// Threads: any.
#ifndef RINGFENCE_GOFER_SERVER_SERVICE_H_
#define RINGFENCE_GOFER_SERVER_SERVICE_H_

#include <memory>
#include <utility>

#include "gofer/server/tree.h"
#include "gofer/wire/fd_channel.h"
#include "proto/gofer/gofer.pb.h"

namespace ringfence::gofer {

class Service {
 public:
  Service(std::unique_ptr<Tree> tree, UniqueFd fd_socket)
      : tree_(std::move(tree)), donations_(std::move(fd_socket)) {}

  void Attach(const wire::AttachRequest& request, wire::AttachReply* reply);
  void Walk(const wire::WalkRequest& request, wire::WalkReply* reply);
  void GetAttr(const wire::GetAttrRequest& request, wire::GetAttrReply* reply);
  void ReadLink(const wire::ReadLinkRequest& request, wire::ReadLinkReply* reply);
  // Donates the descriptor before it returns.
  void Open(const wire::OpenRequest& request, wire::OpenReply* reply);
  void ReadDir(const wire::ReadDirRequest& request, wire::ReadDirReply* reply);
  void ReadTree(const wire::ReadTreeRequest& request, wire::ReadTreeReply* reply);
  void StatFs(const wire::StatFsRequest& request, wire::StatFsReply* reply);
  void Close(const wire::CloseRequest& request, wire::CloseReply* reply);

  // Donates the descriptor, if one is asked for, before it returns.
  void Make(const wire::MakeRequest& request, wire::MakeReply* reply);
  void Link(const wire::LinkRequest& request, wire::LinkReply* reply);
  void Unlink(const wire::UnlinkRequest& request, wire::UnlinkReply* reply);
  void Rename(const wire::RenameRequest& request, wire::RenameReply* reply);
  void SetAttr(const wire::SetAttrRequest& request, wire::SetAttrReply* reply);
  void GetXattr(const wire::GetXattrRequest& request, wire::GetXattrReply* reply);
  void ListXattr(const wire::ListXattrRequest& request, wire::ListXattrReply* reply);
  void SetXattr(const wire::SetXattrRequest& request, wire::SetXattrReply* reply);
  void RemoveXattr(const wire::RemoveXattrRequest& request, wire::RemoveXattrReply* reply);
  void Sync(const wire::SyncRequest& request, wire::SyncReply* reply);

  // The side socket: it hangs up when the sentry is gone.
  int fd_socket() const { return donations_.socket(); }

 private:
  // Those that came along with another call.
  void CloseFirst(const google::protobuf::RepeatedField<uint64_t>& nodes);

  const std::unique_ptr<Tree> tree_;
  FdSender donations_;
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_SERVICE_H_
