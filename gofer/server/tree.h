// Tree: the calls of proto/gofer on a directory of the host, with the semantics and errors written
// in gofer/client/client.h. Free of gRPC; every argument is hostile and checked here.
//
// Threads: any.
#ifndef RINGFENCE_GOFER_SERVER_TREE_H_
#define RINGFENCE_GOFER_SERVER_TREE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gofer/client/client.h"
#include "gofer/server/beneath.h"
#include "gofer/server/dir_reader.h"
#include "gofer/server/node_table.h"
#include "platform/base/result.h"
#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

class Tree {
 public:
  // `root`: any descriptor of a directory; `self_fd`: see Reopener. ENOTDIR, or the errno of
  // /proc/self/fd.
  static Result<std::unique_ptr<Tree>> Make(UniqueFd root, NodeTableLimits limits,
                                            UniqueFd self_fd = UniqueFd());

  Result<Node> Attach();
  Result<WalkResult> Walk(NodeId node, std::span<const std::string_view> components);
  Result<Attributes> GetAttr(NodeId node);
  Result<std::string> ReadLink(NodeId node);
  Result<OpenedFile> Open(NodeId node, std::span<const std::string_view> components,
                          uint32_t flags);
  Result<DirectoryPage> ReadDir(NodeId node, int64_t cookie, uint32_t max_bytes,
                                EntryDetail detail);
  Result<std::vector<ListedDirectory>> ReadTree(NodeId node,
                                                std::span<const std::string_view> names,
                                                size_t max_directories, uint32_t max_bytes);
  Result<FsAttributes> StatFs(NodeId node);
  // EINVAL if one of them was unknown or the root; the others are closed.
  Result<void> Close(std::span<const NodeId> nodes);

  NodeTable& nodes() { return nodes_; }

 private:
  Tree(Reopener reopener, NodeTableLimits limits)
      : reopener_(std::move(reopener)), nodes_(limits) {}

  // One step from the directory `*node`, which becomes the child.
  Result<Node> Step(TreeNodeRef* node, std::string_view name);
  // Where a walk from `node` leads, without making nodes. Errors of the descriptor and the walk.
  Result<PathStep> Find(const TreeNode& node, int fd, std::span<const std::string_view> components);
  // The rest of an entry; false when it is gone meanwhile.
  bool Complete(const TreeNodeRef& directory, int fd, EntryDetail detail, DirectoryEntry* entry);

  const Reopener reopener_;
  NodeTable nodes_;
  OpenDirectories open_directories_;
  TreeNodeRef root_;
  NodeId root_id_ = 0;
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_TREE_H_
