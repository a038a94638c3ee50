#include "gofer/server/tree_reader.h"

#include <sys/stat.h>

#include "gofer/server/beneath.h"
#include "gofer/server/dir_reader.h"

namespace ringfence::gofer {
namespace {

// Each level holds two descriptors open.
constexpr int kMaxDepth = 16;

}  // namespace

std::optional<std::vector<DirectoryEntry>> TreeReader::ReadAll(int fd, bool* full) {
  std::vector<DirectoryEntry> entries;
  size_t bytes = bytes_;
  const Result<bool> read = ReadEntries(fd, 0, [&](const RawEntry& raw) {
    DirectoryEntry entry = {.name = std::string(raw.name)};
    const Result<Attributes> attr = StatEntry(fd, entry.name);
    if (!attr.ok()) return true;  // gone meanwhile
    entry.attr = *attr;
    if (S_ISLNK(attr->mode)) entry.target = LinkTarget(fd, entry.name);
    bytes += kAttributesEntryBytes + entry.name.size() + entry.target.size();
    *full = bytes > max_bytes_;
    if (*full) return false;
    entries.push_back(std::move(entry));
    return true;
  });
  if (!read.ok() || *full) return std::nullopt;
  bytes_ = bytes;
  return entries;
}

bool TreeReader::Read(int parent, uint64_t device, const std::string& name, int depth) {
  if (listed_.size() >= max_directories_) return false;
  const Result<PathStep> step = StepDown(parent, device, name);
  if (!step.ok() || !S_ISDIR(step->attr.mode) || step->on_kernel_fs) return true;
  const Result<UniqueFd> fd = OpenDirectory(step->fd.get());
  if (!fd.ok()) return true;
  bool full = false;
  std::optional<std::vector<DirectoryEntry>> entries = ReadAll(fd->get(), &full);
  if (full) return false;
  if (!entries) return true;
  std::vector<std::string> below;
  for (const DirectoryEntry& entry : *entries) {
    if (S_ISDIR(entry.attr.mode)) below.push_back(entry.name);
  }
  listed_.push_back({step->attr, std::move(*entries)});
  if (depth == kMaxDepth) return true;
  for (const std::string& child : below) {
    if (!Read(fd->get(), step->attr.dev, child, depth + 1)) return false;
  }
  return true;
}

}  // namespace ringfence::gofer
