// What a person is told when KVM cannot be used; no /dev/kvm.
#include <fcntl.h>
#include <linux/kvm.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>

#include "platform/kvm/kvm_ioctl_unsafe.h"

namespace ringfence::kvm {
namespace {

bool Says(const absl::Status& status, const char* text) {
  INFO(status.ToString());
  return std::string(status.message()).find(text) != std::string::npos;
}

// Everything there, apart from *arg.
int AllBut(int number, void* arg) {
  if (number == *static_cast<int*>(arg)) return 0;
  return number == KVM_CAP_SYNC_REGS ? 7 : 1;
}

TEST_CASE("no device, no permission, no memory") {
  CHECK(absl::IsNotFound(DescribeOpenError(ENOENT)));
  CHECK(Says(DescribeOpenError(ENOENT), "/dev/kvm does not exist"));
  CHECK(absl::IsPermissionDenied(DescribeOpenError(EACCES)));
  CHECK(Says(DescribeOpenError(EACCES), "group"));
  CHECK(absl::IsResourceExhausted(DescribeOpenError(ENOMEM)));
  CHECK(absl::IsFailedPrecondition(DescribeOpenError(EBUSY)));
}

TEST_CASE("a KVM that is too old is told what it lacks") {
  int none = -1;
  CHECK(CheckCapabilities(12, AllBut, &none).ok());
  CHECK(Says(CheckCapabilities(11, AllBut, &none), "API version 11"));
  struct {
    int number;
    const char* name;
  } const caps[] = {{KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS"},
                    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
                    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
                    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"}};
  for (auto cap : caps) {
    const absl::Status status = CheckCapabilities(12, AllBut, &cap.number);
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(Says(status, cap.name));
  }
}

TEST_CASE("a descriptor of something else is refused") {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto device = KvmDevice::Open(null.get());
  REQUIRE_FALSE(device.ok());
  CHECK(Says(device.status(), "not a KVM device"));
  CHECK_FALSE(KvmDevice::Open(9999).ok());
}

}  // namespace
}  // namespace ringfence::kvm
