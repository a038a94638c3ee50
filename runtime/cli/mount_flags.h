// The flags of `ringfence do` about files: --rw, --volume and --overlay. Pure.
#ifndef RINGFENCE_RUNTIME_CLI_MOUNT_FLAGS_H_
#define RINGFENCE_RUNTIME_CLI_MOUNT_FLAGS_H_

#include <string>
#include <vector>

namespace ringfence::runtime {

// A directory or file of the host that the sandbox has at a place of its own.
struct Volume {
  std::string source;       // may be relative
  std::string destination;  // "": where the source is
  bool read_only = false;
};

// What is written to the root goes where?
struct OverlayFlag {
  enum class Kind {
    kMemory,     // an upper layer in memory, gone with the sandbox
    kNone,       // the host's own files
    kDirectory,  // an upper layer in `directory`
  };
  Kind kind = Kind::kMemory;
  std::string directory;
};

// "SRC:DST", "SRC:DST:ro", "SRC:DST:rw". "" or what is wrong with it.
std::string ParseVolume(const std::string& text, Volume* out);
// "memory", "none", "dir=DIR". "" or what is wrong with it.
std::string ParseOverlay(const std::string& text, OverlayFlag* out);

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CLI_MOUNT_FLAGS_H_
