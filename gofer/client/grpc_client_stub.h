// The same client as NewGrpcClient on any implementation of the calls, for tests that are the gofer
// themselves: what the client checks is checked, without a channel or a thread.
#ifndef RINGFENCE_GOFER_CLIENT_GRPC_CLIENT_STUB_H_
#define RINGFENCE_GOFER_CLIENT_GRPC_CLIENT_STUB_H_

#include <functional>
#include <memory>
#include <string_view>

#include "gofer/client/client.h"
#include "platform/base/unique_fd.h"
#include "proto/gofer/gofer.grpc.pb.h"

namespace ringfence::gofer {

std::unique_ptr<Client> NewClientOnStub(std::unique_ptr<wire::Gofer::StubInterface> stub,
                                        UniqueFd fd_socket,
                                        std::function<void(std::string_view)> log);

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_CLIENT_GRPC_CLIENT_STUB_H_
