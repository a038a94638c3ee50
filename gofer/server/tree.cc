#include "gofer/server/tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "gofer/server/alter.h"
#include "gofer/server/tree_reader.h"
#include "gofer/wire/convert.h"

namespace ringfence::gofer {
namespace {

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
Errno WhyNotBelow(uint32_t type, bool on_kernel_fs) {
  if (S_ISLNK(type)) return Errno::kLOOP;
  if (!S_ISDIR(type)) return Errno::kNOTDIR;
  if (on_kernel_fs) return Errno::kACCES;
  return Errno{};
}
Errno WhyNotBelow(const TreeNode& node) {
  return WhyNotBelow(node.identity().type, node.on_kernel_fs());
}

}  // namespace

Result<std::unique_ptr<Tree>> Tree::Make(std::vector<Export> exports, NodeTableLimits limits,
                                         UniqueFd self_fd) {
  std::unique_ptr<Tree> tree(new Tree(TRY(Reopener::Make(std::move(self_fd))), limits));
  for (Export& exported : exports) {
    const Attributes attr = TRY(StatPath(exported.root.get()));
    if (!S_ISDIR(attr.mode) && !S_ISREG(attr.mode)) return Errno::kNOTDIR;
    const bool on_kernel_fs = TRY(IsOnKernelFileSystem(exported.root.get()));
    TreeNodeRef root = tree->nodes_.MakeRoot(static_cast<uint32_t>(tree->roots_.size()),
                                             std::move(exported.root), attr, on_kernel_fs);
    const NodeId id = tree->nodes_.Publish(root);
    tree->roots_.push_back({std::move(root), id, exported.access});
  }
  return tree;
}

Result<std::unique_ptr<Tree>> Tree::Make(UniqueFd root, NodeTableLimits limits, Access access) {
  std::vector<Export> exports;
  exports.push_back({std::move(root), access});
  return Make(std::move(exports), limits);
}

Result<Node> Tree::Attach(uint32_t tree) {
  if (tree >= roots_.size()) return Errno::kINVAL;
  const Root& root = roots_[tree];
  const PathFd fd = TRY(nodes_.Descriptor(root.node));
  return Node{.id = root.id, .attr = TRY(StatPath(fd->get()))};
}

Result<void> Tree::CheckWritable(const TreeNode& node) const {
  return roots_[node.tree()].access == Access::kReadWrite ? Ok() : Result<void>(Errno::kROFS);
}

Result<Node> Tree::Step(TreeNodeRef* node, std::string_view name) {
  std::string component(name);
  const PathFd directory = TRY(nodes_.Descriptor(*node));
  PathStep step = TRY(StepDown(directory->get(), (*node)->identity().dev, component));
  Node found = {.id = 0, .attr = step.attr};
  if (S_ISLNK(step.attr.mode)) found.target = LinkTarget(step.fd.get(), "");
  *node = TRY(
      nodes_.Make(*node, std::move(component), step.attr, step.on_kernel_fs, std::move(step.fd)));
  found.id = nodes_.Publish(*node);
  return found;
}

Result<PathStep> Tree::Find(const TreeNode& node, int fd,
                            std::span<const std::string_view> components) {
  Errno why_not = WhyNotBelow(node);
  uint64_t device = node.identity().dev;
  PathStep step;
  for (const std::string_view name : components) {
    if (!IsValidComponent(name)) return Errno::kINVAL;
    if (why_not != Errno{}) return why_not;
    step = TRY(StepDown(fd, device, std::string(name)));
    why_not = WhyNotBelow(step.attr.mode & S_IFMT, step.on_kernel_fs);
    device = step.attr.dev;
    fd = step.fd.get();
  }
  return step;
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

Result<OpenedFile> Tree::Open(NodeId id, std::span<const std::string_view> components,
                              uint32_t flags) {
  TRY(CheckOpenFlags(flags));
  if (components.size() > kMaxWalkComponents) return Errno::kINVAL;
  const TreeNodeRef node = TRY(nodes_.Find(id));
  if (IsForChange(flags)) TRY(CheckWritable(*node));
  uint32_t type = node->identity().type;
  bool on_kernel_fs = node->on_kernel_fs();
  const PathFd start = TRY(nodes_.Descriptor(node));
  int fd = start->get();
  PathStep found;
  if (!components.empty()) {
    found = TRY(Find(*node, fd, components));
    type = found.attr.mode & S_IFMT;
    on_kernel_fs = found.on_kernel_fs;
    fd = found.fd.get();
  }
  TRY(CheckRegular(type));
  if (on_kernel_fs) return Errno::kACCES;
  UniqueFd opened = TRY(reopener_.Open(fd, static_cast<int>(flags)));
  const Attributes attr = TRY(StatPath(opened.get()));
  TRY(CheckRegular(attr.mode & S_IFMT));
  return OpenedFile{.fd = std::move(opened), .attr = attr};
}

bool Tree::Complete(const TreeNodeRef& directory, int fd, EntryDetail detail,
                    DirectoryEntry* entry) {
  const Result<Attributes> attr = StatEntry(fd, entry->name);
  if (!attr.ok()) return false;
  entry->attr = *attr;
  if (S_ISLNK(attr->mode)) entry->target = LinkTarget(fd, entry->name);
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
      bytes += entry.target.size();
      page.entries.push_back(std::move(entry));
    }
    return true;
  }));
  if (!page.end) open_directories_.Put(id, std::move(fd));
  return page;
}

Result<std::vector<ListedDirectory>> Tree::ReadTree(NodeId id,
                                                    std::span<const std::string_view> names,
                                                    size_t max_directories, uint32_t max_bytes) {
  if (max_directories == 0 || max_directories > kMaxTreeDirectories) return Errno::kINVAL;
  if (names.size() > max_directories || max_bytes > kMaxReadDirBytes) return Errno::kINVAL;
  const TreeNodeRef node = TRY(nodes_.Find(id));
  const Errno why_not = WhyNotBelow(*node);
  if (why_not != Errno{}) return why_not;
  const PathFd fd = TRY(nodes_.Descriptor(node));
  TreeReader reader(max_directories, max_bytes);
  for (const std::string_view name : names) {
    if (!IsValidComponent(name)) return Errno::kINVAL;
    if (!reader.Read(fd->get(), node->identity().dev, std::string(name))) break;
  }
  return std::move(reader).Take();
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
    const bool is_root =
        std::any_of(roots_.begin(), roots_.end(), [id](const Root& root) { return root.id == id; });
    all_known &= !is_root && nodes_.Close(id).ok();
  }
  return all_known ? Ok() : Result<void>(Errno::kINVAL);
}

}  // namespace ringfence::gofer
