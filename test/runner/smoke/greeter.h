// The hello service of the build's own smoke test: proves that Abseil, protobuf and gRPC
// link statically and work together.
#ifndef RINGFENCE_TEST_RUNNER_SMOKE_GREETER_H_
#define RINGFENCE_TEST_RUNNER_SMOKE_GREETER_H_

#include <string>

#include "absl/status/statusor.h"
#include "test/runner/smoke/hello.grpc.pb.h"

namespace ringfence::smoke {

// The text a greeting has; an error if `name` is empty.
absl::StatusOr<std::string> GreetingFor(const std::string& name);

class GreeterService final : public Greeter::Service {
 public:
  grpc::Status Hello(grpc::ServerContext* context, const HelloRequest* request,
                     HelloReply* reply) override;
};

}  // namespace ringfence::smoke

#endif  // RINGFENCE_TEST_RUNNER_SMOKE_GREETER_H_
