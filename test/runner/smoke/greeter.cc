#include "test/runner/smoke/greeter.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ringfence::smoke {

absl::StatusOr<std::string> GreetingFor(const std::string& name) {
  if (name.empty()) return absl::InvalidArgumentError("a greeting needs a name");
  return absl::StrCat("hello, ", name);
}

grpc::Status GreeterService::Hello(grpc::ServerContext*, const HelloRequest* request,
                                   HelloReply* reply) {
  auto text = GreetingFor(request->name());
  if (!text.ok()) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, std::string(text.status().message()));
  }
  reply->set_text(*text);
  return grpc::Status::OK;
}

}  // namespace ringfence::smoke
