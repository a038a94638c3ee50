// What of the host a sandbox sees where, besides the gofer's tree 0, which is the root's lowest
// layer.
#ifndef RINGFENCE_SENTRY_BOOT_LAYERS_H_
#define RINGFENCE_SENTRY_BOOT_LAYERS_H_

#include <cstdint>
#include <memory>
#include <string>

namespace ringfence::sentry {

class FileSystem;

// What becomes of changes of the root.
struct RootLayers {
  enum class Upper {
    kNone,    // the root is read-only
    kDirect,  // they are made in the gofer's tree, which the host may change as well
    kMemory,  // in the sandbox's memory, half of it at most; gone with the sandbox
    kGofer,   // in the gofer's tree number `tree`, as overlayfs does, and owned by the sandbox
    kGiven,   // `upper`
  };
  Upper kind = Upper::kMemory;
  uint32_t tree = 0;
  std::shared_ptr<FileSystem> upper{};
  // Nothing was ever written to `upper`: its root is to look like the gofer's.
  bool upper_is_new = false;
};

// A tree of the gofer at a place of its own. The host may change it meanwhile.
struct Volume {
  uint32_t tree = 0;
  std::string source;       // for messages and /proc/mounts
  std::string destination;  // absolute
  bool read_only = false;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BOOT_LAYERS_H_
