#include "platform/base/errno.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

namespace ringfence {
namespace {

TEST_CASE("every errno a guest may see has the host's number and name") {
#define RINGFENCE_ERRNO_CHECK(name, value)            \
  CHECK(static_cast<int>(Errno::k##name) == E##name); \
  CHECK(std::string(ErrnoName(Errno::k##name)) == strerrorname_np(value));
  RINGFENCE_GUEST_ERRNOS(RINGFENCE_ERRNO_CHECK)
#undef RINGFENCE_ERRNO_CHECK
}

TEST_CASE("internal and unknown errnos") {
  CHECK(ErrnoName(Errno::kRESTARTSYS) == "ERESTARTSYS");
  CHECK(ErrnoName(FromHostErrno(4095)) == "EUNKNOWN");
  errno = ENOTEMPTY;
  CHECK(LastHostErrno() == Errno::kNOTEMPTY);
}

}  // namespace
}  // namespace ringfence
