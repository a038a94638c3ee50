#include "gofer/server/tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "gofer/wire/convert.h"

namespace ringfence::gofer {
namespace {

// About what an entry costs in a reply beside its name.
constexpr size_t kNameEntryBytes = 32;
constexpr size_t kAttributesEntryBytes = 160;

constexpr uint32_t kOpenFlags = O_NOATIME | O_DIRECT | O_LARGEFILE | O_CLOEXEC;
constexpr uint32_t kWriteFlags = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | O_TMPFILE;

Result<void> CheckOpenFlags(uint32_t flags) {
  if ((flags & kWriteFlags & ~uint32_t{O_DIRECTORY}) != 0) return Errno::kROFS;
  if ((flags & ~kOpenFlags) != 0) return Errno::kINVAL;
  return Ok();
}

Result<void> CheckRegular(uint32_t type) {
  switch (type) {
    case S_IFREG:
      return Ok();
    case S_IFDIR:
      return Errno::kISDIR;
    case S_IFLNK:
      return Errno::kLOOP;
    default:
      return Errno::kNXIO;
  }
}

// May one look below this node? Errno{} if so.
Errno WhyNotBelow(const TreeNode& node) {
  if (S_ISLNK(node.identity().type)) return Errno::kLOOP;
  if (!node.is_directory()) return Errno::kNOTDIR;
  if (node.on_kernel_fs()) return Errno::kACCES;
  return Errno{};
}

}  // namespace

Result<std::unique_ptr<Tree>> Tree::Make(UniqueFd root, NodeTableLimits limits) {
  const Attributes attr = TRY(StatPath(root.get()));
  if (!S_ISDIR(attr.mode)) return Errno::kNOTDIR;
  const bool on_kernel_fs = TRY(IsOnKernelFileSystem(root.get()));
  std::unique_ptr<Tree> tree(new Tree(TRY(Reopener::Make()), limits));
  tree->root_ = tree->nodes_.MakeRoot(std::move(root), attr, on_kernel_fs);
  tree->root_id_ = tree->nodes_.Publish(tree->root_);
  return tree;
}

Result<Node> Tree::Attach() {
  const PathFd fd = TRY(nodes_.Descriptor(root_));
  return Node{.id = root_id_, .attr = TRY(StatPath(fd->get()))};
}

Result<Node> Tree::Step(TreeNodeRef* node, std::string_view name) {
  std::string component(name);
  const PathFd directory = TRY(nodes_.Descriptor(*node));
  UniqueFd child_fd = TRY(OpenPath(directory->get(), component));
  const Attributes attr = TRY(StatPath(child_fd.get()));
  const bool crossed = attr.dev != (*node)->identity().dev;
  const bool on_kernel_fs = crossed && TRY(IsOnKernelFileSystem(child_fd.get()));
  TreeNodeRef child =
      TRY(nodes_.Make(*node, std::move(component), attr, on_kernel_fs, std::move(child_fd)));
  *node = child;
  return Node{.id = nodes_.Publish(std::move(child)), .attr = attr};
}

Result<WalkResult> Tree::Walk(NodeId start, std::span<const std::string_view> components) {
  if (components.empty() || components.size() > kMaxWalkComponents) return Errno::kINVAL;
  for (const std::string_view name : components) {
    if (!IsValidComponent(name)) return Errno::kINVAL;
  }
  TreeNodeRef node = TRY(nodes_.Find(start));
  WalkResult walked;
  for (const std::string_view name : components) {
    walked.stopped = WhyNotBelow(*node);
    if (walked.stopped != Errno{}) break;
    const Result<Node> step = Step(&node, name);
    if (!step.ok()) {
      walked.stopped = step.error();
      break;
    }
    walked.nodes.push_back(*step);
  }
  return walked;
}

Result<Attributes> Tree::GetAttr(NodeId id) {
  const TreeNodeRef node = TRY(nodes_.Find(id));
  const PathFd fd = TRY(nodes_.Descriptor(node));
  return StatPath(fd->get());
}

Result<std::string> Tree::ReadLink(NodeId id) {
  const TreeNodeRef node = TRY(nodes_.Find(id));
  if (!S_ISLNK(node->identity().type)) return Errno::kINVAL;
  const PathFd fd = TRY(nodes_.Descriptor(node));
  return ReadLinkAt(fd->get());
}

Result<OpenedFile> Tree::Open(NodeId id, uint32_t flags) {
  TRY(CheckOpenFlags(flags));
  const TreeNodeRef node = TRY(nodes_.Find(id));
  TRY(CheckRegular(node->identity().type));
  if (node->on_kernel_fs()) return Errno::kACCES;
  const PathFd fd = TRY(nodes_.Descriptor(node));
  UniqueFd opened = TRY(reopener_.Open(fd->get(), static_cast<int>(O_RDONLY | flags)));
  const Attributes attr = TRY(StatPath(opened.get()));
  TRY(CheckRegular(attr.mode & S_IFMT));
  return OpenedFile{.fd = std::move(opened), .attr = attr};
}

bool Tree::Complete(const TreeNodeRef& directory, int fd, EntryDetail detail,
                    DirectoryEntry* entry) {
  const Result<Attributes> attr = StatEntry(fd, entry->name);
  if (!attr.ok()) return false;
  entry->attr = *attr;
  if (detail != EntryDetail::kNodes) return true;
  // A mount point needs a descriptor to be judged: leave it to a walk.
  if (attr->dev != directory->identity().dev) return true;
  Result<TreeNodeRef> node = nodes_.Make(directory, entry->name, *attr, false, UniqueFd());
  if (node.ok()) entry->id = nodes_.Publish(std::move(*node));
  return true;
}

Result<DirectoryPage> Tree::ReadDir(NodeId id, int64_t cookie, uint32_t max_bytes,
                                    EntryDetail detail) {
  if (max_bytes > kMaxReadDirBytes || cookie < 0) return Errno::kINVAL;
  const TreeNodeRef node = TRY(nodes_.Find(id));
  if (!node->is_directory()) return Errno::kNOTDIR;
  if (node->on_kernel_fs()) return Errno::kACCES;
  UniqueFd fd = open_directories_.Take(id);
  // Some file systems keep the entries of the first read: a listing from the start opens anew.
  if (!fd.valid() || cookie == 0) {
    const PathFd path_fd = TRY(nodes_.Descriptor(node));
    fd = TRY(OpenDirectory(path_fd->get()));
  }
  DirectoryPage page;
  size_t bytes = 0;
  const size_t fixed = detail == EntryDetail::kNames ? kNameEntryBytes : kAttributesEntryBytes;
  page.end = TRY(ReadEntries(fd.get(), cookie, [&](const RawEntry& raw) {
    bytes += fixed + raw.name.size();
    if (bytes > max_bytes && !page.entries.empty()) return false;
    DirectoryEntry entry = {.name = std::string(raw.name), .next_cookie = raw.next_cookie};
    entry.attr.ino = raw.ino;
    entry.attr.mode = raw.type;
    if (detail == EntryDetail::kNames || Complete(node, fd.get(), detail, &entry)) {
      page.entries.push_back(std::move(entry));
    }
    return true;
  }));
  if (!page.end) open_directories_.Put(id, std::move(fd));
  return page;
}

Result<FsAttributes> Tree::StatFs(NodeId id) {
  const TreeNodeRef node = TRY(nodes_.Find(id));
  const PathFd fd = TRY(nodes_.Descriptor(node));
  return StatFileSystem(fd->get());
}

Result<void> Tree::Close(std::span<const NodeId> ids) {
  if (ids.size() > kMaxCloseBatch) return Errno::kINVAL;
  bool all_known = true;
  for (const NodeId id : ids) {
    open_directories_.Drop(id);
    all_known &= id != root_id_ && nodes_.Close(id).ok();
  }
  return all_known ? Ok() : Result<void>(Errno::kINVAL);
}

}  // namespace ringfence::gofer
