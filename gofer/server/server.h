// Server: a gofer's gRPC server on one connected socket, without listening anywhere.
//
// A fixed number of threads take calls from one completion queue and serve them one after another,
// so a sentry cannot make the gofer start threads; calls beyond that wait in their stream, and the
// number of streams is limited.
#ifndef RINGFENCE_GOFER_SERVER_SERVER_H_
#define RINGFENCE_GOFER_SERVER_SERVER_H_

#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/server/tree.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

class Server {
 public:
  // Serves `tree` on `rpc_socket` (a connected stream socket) and donates descriptors on
  // `fd_socket` (see gofer/wire/fd_channel.h), at once.
  static absl::StatusOr<std::unique_ptr<Server>> Start(std::unique_ptr<Tree> tree,
                                                       UniqueFd rpc_socket, UniqueFd fd_socket);
  // Stops; waits for calls that are being served.
  ~Server();

  // Returns when the peer has closed its end of the side socket, as it does when it dies.
  void WaitForPeerToLeave();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_SERVER_H_
