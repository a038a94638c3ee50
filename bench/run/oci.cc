#include "bench/run/oci.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace ringfence::bench {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json Mount(const char* destination, const char* type, const std::string& source,
           const std::vector<std::string>& options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", options}};
}

}  // namespace

std::string BundleConfig(const BundleSpec& spec) {
  json mounts = {
      Mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "mode=755"}),
      Mount("/tmp", "tmpfs", "tmpfs", {"nosuid", "nodev", "mode=1777"}),
  };
  for (const std::string& bind : spec.binds) {
    mounts.push_back(Mount(bind.c_str(), "bind", bind, {"rbind", "rw"}));
  }
  json namespaces = json::array();
  for (const char* type : {"pid", "mount", "ipc", "uts", "network"}) {
    namespaces.push_back({{"type", type}});
  }
  const json config = {
      {"ociVersion", "1.0.2"},
      {"process",
       {{"terminal", false},
        {"user", {{"uid", 0}, {"gid", 0}}},
        {"args", spec.arguments},
        {"env", {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"}},
        {"cwd", "/"},
        {"noNewPrivileges", true}}},
      {"root", {{"path", spec.root}, {"readonly", false}}},
      {"hostname", "bench"},
      {"mounts", mounts},
      {"linux", {{"namespaces", namespaces}}},
  };
  return config.dump(2);
}

absl::Status WriteBundle(const BundleSpec& spec) {
  std::error_code error;
  fs::create_directories(spec.directory, error);
  std::ofstream file(fs::path(spec.directory) / "config.json");
  file << BundleConfig(spec);
  file.close();
  return file.good() ? absl::OkStatus()
                     : absl::InternalError(absl::StrCat("cannot write to ", spec.directory));
}

absl::Status MakeHostRoot(const std::string& root) {
  std::error_code error;
  const fs::path top(root);
  for (const char* name : {"proc", "dev", "tmp", "sys", "usr", "etc"}) {
    fs::create_directories(top / name, error);
    if (error) return absl::InternalError(absl::StrCat(root, ": ", error.message()));
  }
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64"}) {
    const fs::path of_host = fs::path("/") / name;
    if (!fs::is_symlink(of_host) || fs::exists(fs::symlink_status(top / name))) continue;
    fs::create_symlink(fs::read_symlink(of_host).relative_path(), top / name, error);
  }
  return absl::OkStatus();
}

std::vector<std::string> HostBinds() { return {"/usr", "/etc"}; }

}  // namespace ringfence::bench
