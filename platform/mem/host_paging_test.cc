#include "platform/mem/host_paging.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace ringfence::platform {
namespace {

class Fixture {
 public:
  Fixture() {
    const char* base = std::getenv("TEST_TMPDIR");
    std::string name = std::string(base == nullptr ? "/tmp" : base) + "/sys.XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    sys = name;
  }
  ~Fixture() { std::filesystem::remove_all(sys); }
  void Set(const char* module, const char* parameter, const char* value) {
    const std::filesystem::path folder =
        std::filesystem::path(sys) / "module" / module / "parameters";
    std::filesystem::create_directories(folder);
    std::ofstream(folder / parameter) << value;
  }

  std::string sys;
};

TEST_CASE_METHOD(Fixture, "nested paging of Intel and AMD is told from the modules' parameters") {
  const auto nested = [this] { return GetHostPaging(sys.c_str()) == HostPaging::kNested; };
  CHECK_FALSE(nested());  // no module says anything
  Set("kvm_intel", "ept", "N\n");
  CHECK_FALSE(nested());
  Set("kvm_intel", "ept", "Y\n");
  CHECK(nested());
  Set("kvm_intel", "ept", "0\n");
  Set("kvm_amd", "npt", "1\n");
  CHECK(nested());
  Set("kvm_amd", "npt", "N\n");
  CHECK_FALSE(nested());
}

TEST_CASE("kernels with the stale-table bug are told from their release") {
  const auto loses = [](const char* t) { return ShadowPagingLosesSplits(ParseKernelRelease(t)); };
  CHECK(loses("6.18.37-cloud"));
  CHECK_FALSE(loses("6.18.38"));
  CHECK_FALSE(loses("6.18.44-fc-v669"));
  CHECK_FALSE(loses("6.19.1"));
  CHECK_FALSE(loses("7.0.0-rc1"));
  CHECK(loses("6.17.12"));
  CHECK(loses("6.12.94"));
  CHECK_FALSE(loses("6.12.95"));
  CHECK(loses("6.6.143"));
  CHECK_FALSE(loses("6.6.144"));
  CHECK(loses("6.1.0-29-amd64"));
  CHECK_FALSE(loses("6.1.192"));
  CHECK(loses("5.10.200"));
  CHECK(loses("garbage"));
}

}  // namespace
}  // namespace ringfence::platform
