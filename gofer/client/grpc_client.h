// The Client that speaks gRPC to a gofer process over an inherited socket.
#ifndef RINGFENCE_GOFER_CLIENT_GRPC_CLIENT_H_
#define RINGFENCE_GOFER_CLIENT_GRPC_CLIENT_H_

#include <functional>
#include <memory>
#include <string_view>

#include "gofer/client/client.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

// `rpc_socket`: a connected stream socket. `fd_socket`: the receiver's end of an fd channel
// (gofer/wire/fd_channel.h). `log` gets one line when the gofer is lost; called from any thread.
std::unique_ptr<Client> NewGrpcClient(UniqueFd rpc_socket, UniqueFd fd_socket,
                                      std::function<void(std::string_view)> log);

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_CLIENT_GRPC_CLIENT_H_
