#include "bench/run/oci.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ringfence::bench {
namespace {

TEST_CASE("a bundle's configuration is what the runtime specification asks for") {
  const auto config = nlohmann::json::parse(
      BundleConfig({"/b", "/b/root", {"/bin/guest", "a \"b\""}, {"/usr", "/etc"}}));
  CHECK(config["ociVersion"] == "1.0.2");
  CHECK(config["root"]["path"] == "/b/root");
  CHECK(config["process"]["args"][1] == "a \"b\"");
  CHECK(config["process"]["terminal"] == false);
  CHECK(config["mounts"].size() == 5);
  CHECK(config["mounts"][3]["destination"] == "/usr");
  CHECK(config["linux"]["namespaces"][0]["type"] == "pid");
}

TEST_CASE("where a bundle cannot be written it says so") {
  CHECK(WriteBundle({"/proc/nowhere", "/", {}, {}}).message().find("/proc/nowhere") !=
        std::string_view::npos);
}

}  // namespace
}  // namespace ringfence::bench
