// The calls of Tree that change files.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "gofer/server/alter.h"
#include "gofer/server/tree.h"
#include "gofer/wire/convert.h"

namespace ringfence::gofer {

Result<Tree::ChangeableDirectory> Tree::FindChangeable(NodeId id) {
  TreeNodeRef node = TRY(nodes_.Find(id));
  TRY(CheckWritable(*node));
  if (!node->is_directory()) return Errno::kNOTDIR;
  if (node->on_kernel_fs()) return Errno::kACCES;
  PathFd fd = TRY(nodes_.Descriptor(node));
  return ChangeableDirectory{.node = std::move(node), .fd = std::move(fd)};
}

Result<Node> Tree::Publish(const ChangeableDirectory& directory, std::string name, PathStep step) {
  TreeNodeRef node =
      TRY(nodes_.Make(directory.node, std::move(name), step.attr, false, std::move(step.fd)));
  return Node{.id = nodes_.Publish(std::move(node)), .attr = step.attr};
}

Result<MadeObject> Tree::Make(NodeId directory_id, std::string_view name, const NewObject& object,
                              Client::AlsoOpen open, uint32_t open_flags) {
  const bool regular = S_ISREG(object.mode);
  if (name.empty() ? !regular : !IsValidComponent(name)) return Errno::kINVAL;
  TRY(CheckNewObject(object));
  TRY(CheckOpenFlags(open_flags));
  const ChangeableDirectory directory = TRY(FindChangeable(directory_id));
  std::string entry(name);
  MadeObject made;
  PathStep step;
  if (regular) {
    // O_TMPFILE wants write access.
    if (open == Client::AlsoOpen::kNo) open_flags = O_WRONLY;
    NewFile file = TRY(MakeFile(reopener_, directory.fd->get(), entry, object, open_flags));
    if (open == Client::AlsoOpen::kYes) made.fd = std::move(file.fd);
    step = std::move(file.step);
  } else {
    if (open == Client::AlsoOpen::kYes) return Errno::kINVAL;
    step = TRY(MakeOther(reopener_, directory.fd->get(), entry, object));
  }
  made.node = TRY(Publish(directory, std::move(entry), std::move(step)));
  made.directory = TRY(StatPath(directory.fd->get()));
  return made;
}

Result<LinkedFile> Tree::Link(NodeId id, NodeId directory_id, std::string_view name) {
  if (!IsValidComponent(name)) return Errno::kINVAL;
  const TreeNodeRef node = TRY(nodes_.Find(id));
  const ChangeableDirectory directory = TRY(FindChangeable(directory_id));
  if (node->tree() != directory.node->tree()) return Errno::kXDEV;
  if (node->on_kernel_fs()) return Errno::kACCES;
  if (node->is_directory()) return Errno::kPERM;
  const PathFd fd = TRY(nodes_.Descriptor(node));
  std::string entry(name);
  TRY(reopener_.Link(fd->get(), directory.fd->get(), entry));
  // It may have had no name, or may lose the one it was found by.
  nodes_.Relink(node, directory.node, std::move(entry));
  return LinkedFile{.attr = TRY(StatPath(fd->get())),
                    .directory = TRY(StatPath(directory.fd->get()))};
}

Result<Attributes> Tree::Unlink(NodeId directory_id, std::string_view name, Client::Victim victim) {
  if (!IsValidComponent(name)) return Errno::kINVAL;
  const ChangeableDirectory directory = TRY(FindChangeable(directory_id));
  TRY(RemoveName(directory.fd->get(), std::string(name), victim));
  return StatPath(directory.fd->get());
}

// A node that was renamed is looked for under its new name from now on, if it really is there.
void Tree::Follow(const ChangeableDirectory& to, std::string_view name, NodeId moved) {
  if (moved == 0) return;
  const Result<TreeNodeRef> node = nodes_.Find(moved);
  if (!node.ok() || (*node)->tree() != to.node->tree()) return;
  std::string entry(name);
  const Result<Attributes> there = StatEntry(to.fd->get(), entry);
  if (!there.ok() || !(Identity::Of(*there) == (*node)->identity())) return;
  nodes_.Relink(*node, to.node, std::move(entry));
}

Result<RenamedDirectories> Tree::Rename(const Client::RenameArgs& args) {
  if (!IsValidComponent(args.old_name) || !IsValidComponent(args.new_name)) return Errno::kINVAL;
  const ChangeableDirectory from = TRY(FindChangeable(args.old_directory));
  const ChangeableDirectory to = TRY(FindChangeable(args.new_directory));
  if (from.node->tree() != to.node->tree()) return Errno::kXDEV;
  TRY(MoveName(from.fd->get(), std::string(args.old_name), to.fd->get(), std::string(args.new_name),
               args.flags));
  Follow(to, args.new_name, args.moved);
  if ((args.flags & RENAME_EXCHANGE) != 0) Follow(from, args.old_name, args.exchanged);
  return RenamedDirectories{.old_directory = TRY(StatPath(from.fd->get())),
                            .new_directory = TRY(StatPath(to.fd->get()))};
}

Result<Attributes> Tree::SetAttr(NodeId id, const AttributeChange& change) {
  const TreeNodeRef node = TRY(nodes_.Find(id));
  TRY(CheckWritable(*node));
  if (node->on_kernel_fs()) return Errno::kACCES;
  const PathFd fd = TRY(nodes_.Descriptor(node));
  TRY(ChangeAttributes(reopener_, fd->get(), node->identity().type, change));
  return StatPath(fd->get());
}

Result<void> Tree::Sync(NodeId id) {
  const TreeNodeRef node = TRY(nodes_.Find(id));
  if (node->on_kernel_fs()) return Errno::kACCES;
  if (!node->is_directory() && !S_ISREG(node->identity().type)) return Errno::kINVAL;
  const PathFd fd = TRY(nodes_.Descriptor(node));
  const UniqueFd opened =
      TRY(node->is_directory() ? OpenDirectory(fd->get()) : reopener_.Open(fd->get(), O_RDONLY));
  if (fsync(opened.get()) != 0) return LastHostErrno();
  return Ok();
}

}  // namespace ringfence::gofer
