// rename(2) and renameat2(2).
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "sentry/vfs/change.h"
#include "sentry/vfs/permission.h"
#include "sentry/vfs/walker.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kKnownFlags = RENAME_NOREPLACE | RENAME_EXCHANGE;

// Both parents and names, with the parents locked.
struct Sides {
  const Path& old_parent;
  const std::string& old_name;
  bool old_slash;
  const Path& new_parent;
  const std::string& new_name;
  bool new_slash;
};

// Takes the change mutexes of both parents: ancestors first, else by address.
Result<void> LockParents(const CallContext& ctx, const Sides& sides, DirectoryLock* lock) {
  NodeRef first = sides.old_parent.node, second = sides.new_parent.node;
  if (first == second) return lock->Acquire(ctx, first);
  const Superblock& superblock = sides.old_parent.mount->superblock();
  if (superblock.IsAncestor(second.get(), first.get()) ||
      (!superblock.IsAncestor(first.get(), second.get()) && second < first)) {
    std::swap(first, second);
  }
  TRY(lock->Acquire(ctx, first));
  return lock->Acquire(ctx, second);
}

VictimKind KindOf(const NodeRef& node) {
  return node->is_directory() ? VictimKind::kDirectory : VictimKind::kOther;
}

Result<void> CheckSlashes(const Sides& sides, const NodeRef& source, const NodeRef& target,
                          bool exchange) {
  if (exchange && sides.new_slash && !target->is_directory()) return Errno::kNOTDIR;
  if (source->is_directory()) return Ok();
  if (sides.old_slash || (!exchange && sides.new_slash)) return Errno::kNOTDIR;
  return Ok();
}

Result<void> CheckMoves(const CallContext& ctx, const Sides& sides, const NodeRef& source,
                        const NodeRef& target, bool exchange) {
  const VictimKind kind = KindOf(source);
  TRY(CheckMayDelete(ctx, sides.old_parent, source, kind));
  if (target == nullptr) {
    TRY(CheckMayCreate(ctx, sides.new_parent));
  } else {
    TRY(CheckMayDelete(ctx, sides.new_parent, target, exchange ? KindOf(target) : kind));
  }
  if (sides.old_parent.node == sides.new_parent.node) return Ok();
  // ".." of a directory that moves is written.
  if (source->is_directory()) {
    TRY(CheckPermission(ctx, Path{sides.old_parent.mount, source}, kMayWrite));
  }
  if (exchange && target->is_directory()) {
    TRY(CheckPermission(ctx, Path{sides.new_parent.mount, target}, kMayWrite));
  }
  return Ok();
}

void TellOfMove(const CallContext& ctx, const Sides& sides, const NodeRef& source,
                const NodeRef& target, bool exchange) {
  constexpr int64_t kHeld = 2;  // `target` and `dropped` of RenameLocked
  const NodeRef none;
  Watches::OnMove(ctx,
                  {sides.old_parent.node, sides.old_name, sides.new_parent.node, sides.new_name,
                   source, exchange ? none : target},
                  kHeld);
  if (!exchange) return;
  Watches::OnMove(
      ctx,
      {sides.new_parent.node, sides.new_name, sides.old_parent.node, sides.old_name, target, none},
      kHeld);
}

Result<void> RenameLocked(const CallContext& ctx, const Sides& sides, uint32_t flags,
                          DirectoryLock* lock, std::vector<NodeRef>* dropped) {
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  Superblock& superblock = sides.old_parent.mount->superblock();
  NodeRef source =
      TRY(superblock.Lookup(ctx, sides.old_parent.node, sides.old_name, LookupUse::kRemove));
  NodeRef target = TRY(LookupOrNull(ctx, sides.new_parent, sides.new_name, LookupUse::kReach));
  dropped->assign({source, target});
  if (target != nullptr && (flags & RENAME_NOREPLACE) != 0) return Errno::kEXIST;
  if (target == nullptr && exchange) return Errno::kNOENT;
  TRY(CheckSlashes(sides, source, target, exchange));
  if (superblock.IsAncestor(source.get(), sides.new_parent.node.get())) return Errno::kINVAL;
  if (target != nullptr && superblock.IsAncestor(target.get(), sides.old_parent.node.get())) {
    return exchange ? Errno::kINVAL : Errno::kNOTEMPTY;
  }
  if (target != nullptr && target->inode() == source->inode()) return Ok();
  TRY(CheckMoves(ctx, sides, source, target, exchange));
  TRY(CheckNotMountPoint(source));
  if (target != nullptr) TRY(CheckNotMountPoint(target));
  if (target != nullptr && target->is_directory() && !exchange) TRY(lock->Acquire(ctx, target));
  TRY(sides.old_parent.node->inode()->Rename(
      ctx, sides.old_name, *source->inode(), *sides.new_parent.node->inode(), sides.new_name,
      target == nullptr ? nullptr : target->inode().get(), flags));
  if (exchange) {
    superblock.Exchanged(source, target);
  } else {
    superblock.Moved(source, target, sides.new_parent.node, sides.new_name);
  }
  TellOfMove(ctx, sides, source, target, exchange);
  return Ok();
}

// The rename mutex of the file system: held while a rename has two parents, so that who is above
// whom does not change under it.
class RenameGuard {
 public:
  RenameGuard() = default;
  ~RenameGuard() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (mutex_ != nullptr) mutex_->Unlock();
  }
  Result<void> Acquire(const CallContext& ctx, absl::Mutex& mutex) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (!mutex.TryLock()) {
      TRY(ctx.RequireBlocking());
      mutex.Lock();
    }
    mutex_ = &mutex;
    return Ok();
  }

 private:
  absl::Mutex* mutex_ = nullptr;
};

}  // namespace

Result<void> Vfs::Rename(const CallContext& ctx, const PathBase& from, std::string_view old_path,
                         const PathBase& to, std::string_view new_path, uint32_t flags) {
  if ((flags & ~kKnownFlags) != 0 || flags == kKnownFlags) return Errno::kINVAL;
  Walker source(ctx, from, 0), target(ctx, to, 0);
  TRY(source.Start(old_path));
  TRY(source.ToParent());
  TRY(target.Start(new_path));
  TRY(target.ToParent());
  if (source.parent().mount != target.parent().mount) return Errno::kXDEV;
  if (source.kind() != Walker::LastKind::kName) return Errno::kBUSY;
  if (target.kind() != Walker::LastKind::kName) {
    return (flags & RENAME_NOREPLACE) != 0 ? Errno::kEXIST : Errno::kBUSY;
  }
  if (source.parent().mount->read_only()) return Errno::kROFS;
  const Sides sides{source.parent(), source.name(), source.trailing_slash(),
                    target.parent(), target.name(), target.trailing_slash()};
  std::vector<NodeRef> dropped;  // after the locks
  RenameGuard guard;
  if (sides.old_parent.node != sides.new_parent.node) {
    TRY(guard.Acquire(ctx, source.parent().mount->superblock().rename_mutex()));
  }
  DirectoryLock lock;
  TRY(LockParents(ctx, sides, &lock));
  return RenameLocked(ctx, sides, flags, &lock, &dropped);
}

}  // namespace ringfence::sentry
