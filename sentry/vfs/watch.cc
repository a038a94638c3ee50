#include "sentry/vfs/watch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "sentry/vfs/mount.h"

namespace ringfence::sentry {
namespace {

uint32_t DirectoryBit(const Inode& inode) {
  return inode.type() == S_IFDIR ? kWatchIsDirectory : 0;
}

uint32_t NextCookie() {
  static std::atomic<uint32_t> next{1};
  uint32_t cookie = next.fetch_add(1, std::memory_order_relaxed);
  while (cookie == 0) cookie = next.fetch_add(1, std::memory_order_relaxed);
  return cookie;
}

bool LostLastName(const CallContext& ctx, const NodeRef& node) {
  const Result<Attributes> attributes = node->inode()->GetAttr(ctx);
  return node->is_directory() || (attributes.ok() && attributes->nlink == 0);
}

}  // namespace

void Watches::TellFile(const File& file, uint32_t mask) {
  if (file.dentry() != nullptr && (file.flags() & O_PATH) == 0) {
    TellNode(file.dentry()->node(), mask);
  }
}

void Watches::TellNode(const NodeRef& node, uint32_t mask) {
  if (node->inode() == nullptr) return;
  const Superblock& superblock = *node->superblock();
  const NodeRef parent = superblock.ParentOf(*node);
  const std::string name = parent == nullptr ? std::string() : superblock.NameOf(*node);
  Tell({.mask = mask | DirectoryBit(*node->inode()),
        .self = node->inode().get(),
        .directory = parent == nullptr ? nullptr : parent->inode().get(),
        .name = name,
        .unlinked = superblock.IsUnlinked(*node)});
}

void Watches::TellSelf(const NodeRef& node, uint32_t mask) {
  Tell({.mask = mask | DirectoryBit(*node->inode()), .self = node->inode().get(), .name = {}});
}

// fsnotify_change() of Linux.
void Watches::TellSetAttr(const NodeRef& node, const SetAttrRequest& request) {
  const bool atime = request.atime || request.atime_now, mtime = request.mtime || request.mtime_now;
  uint32_t mask = 0;
  if (request.mode || request.uid || request.gid) mask |= kWatchAttrib;
  if (request.size) mask |= kWatchModify;
  if (atime && mtime) {
    mask |= kWatchAttrib;
  } else if (atime) {
    mask |= kWatchAccess;
  } else if (mtime) {
    mask |= kWatchModify;
  }
  if (mask != 0) TellNode(node, mask);
}

void Watches::TellCreate(const NodeRef& directory, std::string_view name, const InodeRef& made) {
  Tell({.mask = kWatchCreate | DirectoryBit(*made),
        .directory = directory->inode().get(),
        .name = name});
}

void Watches::TellRemove(const CallContext& ctx, const NodeRef& directory, std::string_view name,
                         const NodeRef& victim, int64_t held) {
  if (!victim->is_directory()) TellSelf(victim, kWatchAttrib);
  if (LostLastName(ctx, victim)) {
    if (WatchSink* const sink = sink_.load(std::memory_order_acquire)) sink->Unlinked(victim, held);
  }
  Tell({.mask = kWatchDelete | DirectoryBit(*victim->inode()),
        .directory = directory->inode().get(),
        .name = name});
}

void Watches::TellMove(const CallContext& ctx, const Move& move, int64_t held) {
  const uint32_t directory = DirectoryBit(*move.moved->inode());
  const uint32_t cookie = NextCookie();
  Tell({.mask = kWatchMovedFrom | directory,
        .cookie = cookie,
        .directory = move.old_directory->inode().get(),
        .name = move.old_name});
  Tell({.mask = kWatchMovedTo | directory,
        .cookie = cookie,
        .directory = move.new_directory->inode().get(),
        .name = move.new_name});
  if (move.replaced != nullptr && !move.replaced->is_directory()) {
    TellSelf(move.replaced, kWatchAttrib);
  }
  TellSelf(move.moved, kWatchMoveSelf);
  if (move.replaced == nullptr || !LostLastName(ctx, move.replaced)) return;
  if (WatchSink* const sink = sink_.load(std::memory_order_acquire)) {
    sink->Unlinked(move.replaced, held);
  }
}

void Watches::TellClose(const File& file) {
  TellFile(file, file.writable() ? kWatchCloseWrite : kWatchCloseNoWrite);
  if (file.dentry() == nullptr) return;
  if (WatchSink* const sink = sink_.load(std::memory_order_acquire)) sink->Closed(file);
}

}  // namespace ringfence::sentry
