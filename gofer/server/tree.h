// Tree: the calls of proto/gofer on directories and files of the host, with the semantics and
// errors written in gofer/client/client.h. Free of gRPC; every argument is hostile and checked
// here.
//
// What is served is a list of exports, each with its own access. Nothing leads from one to another:
// a call with nodes of two is EXDEV. In one that is read-only each change is EROFS and each donated
// descriptor O_RDONLY.
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

enum class Access { kReadOnly, kReadWrite };

struct Export {
  UniqueFd root;  // any descriptor of a directory or regular file
  Access access = Access::kReadOnly;
};

class Tree {
 public:
  // `self_fd`: see Reopener. ENOTDIR for a root that is something else, or the errno of
  // /proc/self/fd.
  static Result<std::unique_ptr<Tree>> Make(std::vector<Export> exports, NodeTableLimits limits,
                                            UniqueFd self_fd = UniqueFd());
  // With one tree.
  static Result<std::unique_ptr<Tree>> Make(UniqueFd root, NodeTableLimits limits,
                                            Access access = Access::kReadOnly);

  Result<Node> Attach(uint32_t tree);
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
  // EINVAL if one of them was unknown or a root; the others are closed.
  Result<void> Close(std::span<const NodeId> nodes);

  // tree_change.cc
  Result<MadeObject> Make(NodeId directory, std::string_view name, const NewObject& object,
                          Client::AlsoOpen open, uint32_t open_flags);
  Result<LinkedFile> Link(NodeId node, NodeId directory, std::string_view name);
  Result<Attributes> Unlink(NodeId directory, std::string_view name, Client::Victim victim);
  Result<RenamedDirectories> Rename(const Client::RenameArgs& args);
  Result<Attributes> SetAttr(NodeId node, const AttributeChange& change);
  Result<void> Sync(NodeId node);

  // tree_xattr.cc
  Result<std::string> GetXattr(NodeId node, std::string_view name);
  Result<std::vector<std::string>> ListXattr(NodeId node);
  Result<void> SetXattr(NodeId node, std::string_view name, std::string_view value, uint32_t flags);
  Result<void> RemoveXattr(NodeId node, std::string_view name);

  NodeTable& nodes() { return nodes_; }

 private:
  Tree(Reopener reopener, NodeTableLimits limits)
      : reopener_(std::move(reopener)), nodes_(limits) {}

  // One step from the directory `*node`, which becomes the child.
  Result<Node> Step(TreeNodeRef* node, std::string_view name);
  // Where a walk from `node` leads, without making nodes. Errors of the descriptor and the walk.
  Result<PathStep> Find(const TreeNode& node, int fd, std::span<const std::string_view> components);
  // EROFS in a tree that is served read-only.
  Result<void> CheckWritable(const TreeNode& node) const;
  // A directory whose names the sentry may change, with its descriptor.
  struct ChangeableDirectory {
    TreeNodeRef node;
    PathFd fd;
  };
  Result<ChangeableDirectory> FindChangeable(NodeId directory);
  // What was made in `directory` becomes a node.
  Result<Node> Publish(const ChangeableDirectory& directory, std::string name, PathStep step);
  Result<UniqueFd> OpenForXattr(NodeId node, TreeNodeRef* found);
  void Follow(const ChangeableDirectory& to, std::string_view name, NodeId moved);

  // The rest of an entry; false when it is gone meanwhile.
  bool Complete(const TreeNodeRef& directory, int fd, EntryDetail detail, DirectoryEntry* entry);

  const Reopener reopener_;
  NodeTable nodes_;
  OpenDirectories open_directories_;
  struct Root {
    TreeNodeRef node;
    NodeId id;
    Access access;
  };
  std::vector<Root> roots_;  // constant once made; by tree number
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_TREE_H_
