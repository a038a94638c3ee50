// OCI bundles (config.json and a root file system), for runtimes that have no short way to run a
// command. Source: the OCI runtime specification 1.0.2.
#ifndef RINGFENCE_BENCH_RUN_OCI_H_
#define RINGFENCE_BENCH_RUN_OCI_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ringfence::bench {

struct BundleSpec {
  std::string directory;               // of the bundle; made if it is not there
  std::string root;                    // the container's root
  std::vector<std::string> arguments;  // of its process
  std::vector<std::string> binds;      // of the host, writable, at the same path
};

// The text of config.json: an own pid, mount, ipc, uts and network namespace, /proc, /dev and /tmp,
// root without capabilities, no seccomp filter (which only makes a runtime slower).
std::string BundleConfig(const BundleSpec& spec);

absl::Status WriteBundle(const BundleSpec& spec);

// A root of which programs of the host can be run when HostBinds() are bound into it: links such as
// bin -> usr/bin as the host has them, empty directories for mounts.
absl::Status MakeHostRoot(const std::string& root);
std::vector<std::string> HostBinds();

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_OCI_H_
