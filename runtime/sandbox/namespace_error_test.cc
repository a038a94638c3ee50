#include "runtime/sandbox/namespace_error.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace ringfence::runtime {
namespace {

// A directory in place of /proc/sys.
class Sysctls {
 public:
  Sysctls() { REQUIRE(mkdtemp(path_) != nullptr); }
  ~Sysctls() { std::filesystem::remove_all(path_); }
  void Set(const std::string& name, const std::string& value) const {
    const std::filesystem::path file = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << value << "\n";
  }
  std::string Explain(int error) const {
    return std::string(NamespaceError(error, path_).message());
  }

 private:
  char path_[32] = "/tmp/ringfence-sysctl-XXXXXX";
};

TEST_CASE("the setting that forbids namespaces is named") {
  const Sysctls sysctls;
  sysctls.Set("user/max_user_namespaces", "96365");
  CHECK_THAT(sysctls.Explain(EPERM), Catch::Contains("no new namespaces"));
  sysctls.Set("kernel/unprivileged_userns_clone", "0");
  CHECK_THAT(sysctls.Explain(EPERM), Catch::Contains("sysctl kernel.unprivileged_userns_clone=1"));
  sysctls.Set("user/max_user_namespaces", "0");
  CHECK_THAT(sysctls.Explain(ENOSPC), Catch::Contains("user.max_user_namespaces is 0"));
}

TEST_CASE("other reasons") {
  const Sysctls nothing;
  CHECK_THAT(nothing.Explain(ENOSPC), Catch::Contains("too many namespaces"));
  CHECK_THAT(nothing.Explain(EINVAL), Catch::Contains("this kernel lacks"));
}

}  // namespace
}  // namespace ringfence::runtime
