#include "runtime/cli/mount_flags.h"

#include <string_view>

namespace ringfence::runtime {

std::string ParseVolume(const std::string& text, Volume* out) {
  const size_t first = text.find(':');
  if (first == text.npos) return "wants SRC:DST[:ro], not " + text;
  const size_t second = text.find(':', first + 1);
  out->source = text.substr(0, first);
  out->destination = text.substr(first + 1, second == text.npos ? text.npos : second - first - 1);
  const std::string mode = second == text.npos ? "rw" : text.substr(second + 1);
  if (mode != "ro" && mode != "rw") return "wants SRC:DST[:ro], not " + text;
  out->read_only = mode == "ro";
  if (out->source.empty()) return "names no SRC: " + text;
  if (!out->destination.starts_with('/')) return "wants an absolute DST: " + text;
  return "";
}

std::string ParseOverlay(const std::string& text, OverlayFlag* out) {
  constexpr std::string_view kDirectory = "dir=";
  if (text == "memory") {
    out->kind = OverlayFlag::Kind::kMemory;
  } else if (text == "none") {
    out->kind = OverlayFlag::Kind::kNone;
  } else if (text.starts_with(kDirectory) && text.size() > kDirectory.size()) {
    out->kind = OverlayFlag::Kind::kDirectory;
    out->directory = text.substr(kDirectory.size());
  } else {
    return "is memory, none or dir=DIR, not " + text;
  }
  return "";
}

}  // namespace ringfence::runtime
