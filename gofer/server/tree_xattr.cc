// The calls of Tree about extended attributes. There is no such call for an O_PATH descriptor, and
// none that takes a directory: the file is opened for reading, which is why there are none for
// anything but regular files and directories (and "user." exists for these only, xattr(7)).
#include <fcntl.h>
#include <linux/xattr.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <string>
#include <utility>

#include "gofer/server/tree.h"
#include "gofer/wire/convert.h"

namespace ringfence::gofer {
namespace {

constexpr std::string_view kNamespace = "user.";
constexpr uint32_t kSetFlags = XATTR_CREATE | XATTR_REPLACE;

bool IsVisible(std::string_view name) {
  return name.starts_with(kNamespace) && name.size() > kNamespace.size();
}

Result<void> CheckName(std::string_view name) {
  return IsValidXattrName(name) ? Ok() : Result<void>(Errno::kRANGE);
}

std::vector<std::string> SplitNames(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    const size_t end = list.find('\0');
    const std::string_view name = list.substr(0, end);
    if (IsVisible(name)) names.emplace_back(name);
    if (end == list.npos) break;
    list.remove_prefix(end + 1);
  }
  return names;
}

}  // namespace

Result<UniqueFd> Tree::OpenForXattr(NodeId id, TreeNodeRef* found) {
  *found = TRY(nodes_.Find(id));
  if ((*found)->on_kernel_fs()) return Errno::kACCES;
  const uint32_t type = (*found)->identity().type;
  if (!S_ISREG(type) && !S_ISDIR(type)) return Errno::kOPNOTSUPP;
  const PathFd fd = TRY(nodes_.Descriptor(*found));
  return S_ISDIR(type) ? OpenDirectory(fd->get()) : reopener_.Open(fd->get(), O_RDONLY);
}

Result<std::string> Tree::GetXattr(NodeId id, std::string_view name) {
  TRY(CheckName(name));
  if (!IsVisible(name)) return Errno::kNODATA;
  TreeNodeRef node;
  const UniqueFd fd = TRY(OpenForXattr(id, &node));
  std::string value(kMaxXattrValue, '\0');
  const ssize_t size = fgetxattr(fd.get(), std::string(name).c_str(), value.data(), value.size());
  if (size < 0) return LastHostErrno();
  value.resize(static_cast<size_t>(size));
  return value;
}

Result<std::vector<std::string>> Tree::ListXattr(NodeId id) {
  TreeNodeRef node;
  const UniqueFd fd = TRY(OpenForXattr(id, &node));
  std::string list(XATTR_LIST_MAX, '\0');
  const ssize_t size = flistxattr(fd.get(), list.data(), list.size());
  if (size < 0) return LastHostErrno();
  return SplitNames(std::string_view(list).substr(0, static_cast<size_t>(size)));
}

Result<void> Tree::SetXattr(NodeId id, std::string_view name, std::string_view value,
                            uint32_t flags) {
  TRY(CheckName(name));
  if (value.size() > kMaxXattrValue) return Errno::k2BIG;
  if ((flags & ~kSetFlags) != 0) return Errno::kINVAL;
  TreeNodeRef node = TRY(nodes_.Find(id));
  TRY(CheckWritable(*node));
  if (!IsVisible(name)) return Errno::kOPNOTSUPP;
  const UniqueFd fd = TRY(OpenForXattr(id, &node));
  if (fsetxattr(fd.get(), std::string(name).c_str(), value.data(), value.size(),
                static_cast<int>(flags)) != 0) {
    return LastHostErrno();
  }
  return Ok();
}

Result<void> Tree::RemoveXattr(NodeId id, std::string_view name) {
  TRY(CheckName(name));
  TreeNodeRef node = TRY(nodes_.Find(id));
  TRY(CheckWritable(*node));
  if (!IsVisible(name)) return Errno::kOPNOTSUPP;
  const UniqueFd fd = TRY(OpenForXattr(id, &node));
  if (fremovexattr(fd.get(), std::string(name).c_str()) != 0) return LastHostErrno();
  return Ok();
}

}  // namespace ringfence::gofer
