#include "sentry/fs/goferfs/inode.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "sentry/fs/pipe/pipe.h"

namespace ringfence::sentry {
namespace {

using Clock = std::chrono::steady_clock;

// How long attributes of a shared tree are believed where no lookup has just asked for them. Calls
// that take a path have: this is for what a call does after its lookup, and for fstat(2) of
// directories.
constexpr auto kFreshFile = std::chrono::milliseconds(2);
constexpr auto kFreshDirectory = std::chrono::seconds(1);

Timespec FromGofer(const gofer::Time& t) { return Timespec{t.sec, int64_t{t.nsec}}; }

gofer::Time ToGofer(const timespec& t) {
  return {.sec = t.tv_sec, .nsec = static_cast<uint32_t>(t.tv_nsec)};
}

std::optional<gofer::AttributeChange::When> When(const std::optional<Timespec>& time, bool now) {
  if (now) return gofer::AttributeChange::When{.now = true};
  if (!time) return std::nullopt;
  return gofer::AttributeChange::When{
      .now = false, .time = {.sec = time->sec, .nsec = static_cast<uint32_t>(time->nsec)}};
}

}  // namespace

GoferInode::GoferInode(Init init)
    : Inode(init.fs),
      state_(std::move(init.state)),
      type_(init.attr.mode & S_IFMT),
      key_(init.attr),
      device_(state_->DeviceFor(init.attr.dev)),
      attr_(init.attr),
      attr_counts_(init.attr_counts),
      learned_(Clock::now()),
      node_(std::move(init.node)),
      place_(std::move(init.place)) {}

GoferInode::~GoferInode() {
  // A tree can be very deep: give the directories above back one by one, not by recursion.
  std::shared_ptr<GoferDirectory> above;
  {
    absl::MutexLock lock(&mutex_);
    if (place_) above = std::move(place_->directory);
  }
  while (above != nullptr && above.use_count() == 1) {
    std::shared_ptr<GoferDirectory> next;
    {
      absl::MutexLock lock(&above->mutex_);
      if (above->place_) next = std::move(above->place_->directory);
    }
    above = std::move(next);
  }
  if (!state_->changes()) return;
  absl::MutexLock lock(&state_->mutex);
  auto known = state_->inodes.find(key_);
  // Not one that was made for the object after this one's last reference went.
  if (known != state_->inodes.end() && known->second.expired()) state_->inodes.erase(known);
}

namespace {

std::shared_ptr<GoferInode> MakeNew(GoferInode::Init init) {
  switch (init.attr.mode & S_IFMT) {
    case S_IFDIR:
      return std::make_shared<GoferDirectory>(std::move(init));
    case S_IFREG:
      return std::make_shared<GoferRegular>(std::move(init));
    case S_IFLNK:
      return std::make_shared<GoferSymlink>(std::move(init));
    case S_IFIFO:
      if (init.state->writable()) return std::make_shared<GoferFifo>(std::move(init));
      [[fallthrough]];
    default:
      return std::make_shared<GoferInode>(std::move(init));
  }
}

}  // namespace

InodeRef GoferInode::Make(Init init) {
  GoferState& state = *init.state;
  if (!state.changes()) return MakeNew(std::move(init));
  const ObjectKey key(init.attr);
  std::shared_ptr<GoferInode> known;
  {
    absl::MutexLock lock(&state.mutex);
    auto found = state.inodes.find(key);
    if (found != state.inodes.end()) known = found->second.lock();
  }
  const gofer::Attributes attr = init.attr;
  const bool counts = init.attr_counts;
  NodeHandleRef node = init.node;
  if (known == nullptr) {
    std::shared_ptr<GoferInode> fresh = MakeNew(std::move(init));
    absl::MutexLock lock(&state.mutex);
    std::weak_ptr<GoferInode>& entry = state.inodes[key];
    known = entry.lock();
    if (known == nullptr) {
      entry = fresh;
      return fresh;
    }
  }
  known->Learn(attr, counts);
  if (node != nullptr) known->SetNode(std::move(node));
  return known;
}

gofer::Attributes GoferInode::KnownAttributes() const {
  absl::MutexLock lock(&mutex_);
  return attr_;
}

void GoferInode::Learn(const gofer::Attributes& attr, bool counts) {
  if (!IsSame(attr)) return;
  absl::MutexLock lock(&mutex_);
  attr_ = attr;
  attr_counts_ = counts;
  learned_ = Clock::now();
}

void GoferInode::ForgetAttributes() {
  absl::MutexLock lock(&mutex_);
  attr_counts_ = false;
}

void GoferInode::LearnFrom(int fd) {
  struct stat s;
  if (fstat(fd, &s) != 0) return;
  absl::MutexLock lock(&mutex_);
  attr_.mode = type_ | (s.st_mode & 07777);
  attr_.nlink = s.st_nlink;
  attr_.size = static_cast<uint64_t>(s.st_size);
  attr_.blocks = static_cast<uint64_t>(s.st_blocks);
  attr_.atime = ToGofer(s.st_atim);
  attr_.mtime = ToGofer(s.st_mtim);
  attr_.ctime = ToGofer(s.st_ctim);
}

bool GoferInode::IsFreshLocked() const {
  if (!state_->changes() || removed_) return true;
  if (!attr_counts_) return false;
  if (!state_->shared()) return true;
  const Clock::duration limit =
      type_ == S_IFDIR ? Clock::duration(kFreshDirectory) : Clock::duration(kFreshFile);
  return Clock::now() - learned_ <= limit;
}

bool GoferInode::WasSeenWithin(Clock::duration time) const {
  absl::MutexLock lock(&mutex_);
  return Clock::now() - learned_ <= time;
}

Result<gofer::Attributes> GoferInode::CurrentAttributes(const CallContext& ctx) {
  if (const auto fd = DescriptorForAttributes(); fd != nullptr) {
    LearnFrom(fd->get());
    return KnownAttributes();
  }
  {
    absl::MutexLock lock(&mutex_);
    if (IsFreshLocked()) return attr_;
  }
  TRY(ctx.RequireBlocking());
  const NodeHandleRef node = TRY(EnsureNode(ctx));
  const GoferState::Ticket ticket = state_->BeginRead();
  const gofer::Attributes attr = TRY(state_->client().GetAttr(node->id()));
  if (!IsSame(attr)) return Errno::kIO;
  Learn(attr, state_->EndRead(ticket));
  return attr;
}

Result<Attributes> GoferInode::GetAttr(const CallContext& ctx) {
  const gofer::Attributes attr = TRY(CurrentAttributes(ctx));
  Attributes attributes;
  attributes.dev = device_;
  attributes.ino = attr.ino;
  attributes.mode = attr.mode;
  attributes.nlink = attr.nlink;
  attributes.uid = attr.uid;
  attributes.gid = attr.gid;
  attributes.rdev = attr.rdev;
  attributes.size = attr.size;
  attributes.blocks = attr.blocks;
  attributes.blksize = attr.blksize;
  attributes.atime = FromGofer(attr.atime);
  attributes.mtime = FromGofer(attr.mtime);
  attributes.ctime = FromGofer(attr.ctime);
  attributes.btime = FromGofer(attr.btime);
  return attributes;
}

Result<void> GoferInode::SetAttr(const CallContext& ctx, const SetAttrRequest& request) {
  if (!state_->writable()) return Errno::kROFS;
  TRY(ctx.RequireBlocking());
  const NodeHandleRef node = TRY(EnsureNode(ctx));
  const gofer::AttributeChange change = {.mode = request.mode,
                                         .uid = request.uid,
                                         .gid = request.gid,
                                         .size = request.size,
                                         .atime = When(request.atime, request.atime_now),
                                         .mtime = When(request.mtime, request.mtime_now)};
  state_->MarkDirty(KnownAttributes());
  const GoferState::Ticket ticket = state_->BeginChange();
  const Result<gofer::Attributes> attr = state_->client().SetAttr(node->id(), change);
  const bool counts = state_->EndChange(ticket);
  if (attr.ok() && IsSame(*attr)) {
    Learn(*attr, counts);
    return Ok();
  }
  ForgetAttributes();  // a part may have been done
  return attr.ok() ? Errno::kIO : attr.error();
}

NodeHandleRef GoferInode::KnownNode() const {
  absl::MutexLock lock(&mutex_);
  return node_;
}

NodeHandleRef GoferInode::SetNode(NodeHandleRef node) {
  NodeHandleRef old;  // dropped after the lock
  absl::MutexLock lock(&mutex_);
  if (node_ == nullptr || state_->shared()) old = std::exchange(node_, std::move(node));
  return node_;
}

std::optional<GoferInode::Place> GoferInode::place() const {
  absl::MutexLock lock(&mutex_);
  return place_;
}

void GoferInode::MoveTo(std::shared_ptr<GoferDirectory> directory, std::string_view name) {
  ForgetAttributes();        // ctime
  std::optional<Place> old;  // dropped after the lock
  absl::MutexLock lock(&mutex_);
  if (place_) old = std::exchange(place_, Place{std::move(directory), std::string(name)});
}

void GoferInode::LostName() {
  state_->MarkDirty(KnownAttributes());
  bool removed = false;
  {
    absl::MutexLock lock(&mutex_);
    attr_.nlink = type_ == S_IFDIR || attr_.nlink == 0 ? 0 : attr_.nlink - 1;
    removed = removed_ = attr_.nlink == 0;
    attr_counts_ = false;
  }
  if (!removed) return;
  // Its number may be another's soon.
  absl::MutexLock lock(&state_->mutex);
  state_->inodes.erase(key_);
}

Result<NodeHandleRef> GoferInode::EnsureNode(const CallContext& ctx) {
  struct Missing {
    std::shared_ptr<GoferInode> inode;
    std::string name;
  };
  std::vector<Missing> missing;  // from here up; without a node there is a place
  NodeHandleRef node;
  for (auto at = std::static_pointer_cast<GoferInode>(shared_from_this());
       (node = at->KnownNode()) == nullptr;) {
    const std::optional<Place> where = at->place();
    if (!where) return Errno::kSTALE;
    missing.push_back({at, where->name});
    at = where->directory;
  }
  if (missing.empty()) return node;
  TRY(ctx.RequireBlocking());
  while (!missing.empty()) {
    std::vector<std::string_view> names;
    const size_t count = std::min(missing.size(), gofer::kMaxWalkComponents);
    for (size_t i = 0; i < count; ++i) names.push_back(missing[missing.size() - 1 - i].name);
    const gofer::WalkResult walked = TRY(state_->client().Walk(node->id(), names));
    std::vector<NodeHandleRef> found;  // owns them all, also those left over by an error
    for (const gofer::Node& n : walked.nodes) {
      found.push_back(std::make_shared<NodeHandle>(state_->options.client, n.id, true));
    }
    for (size_t i = 0; i < found.size(); ++i) {
      if (!missing.back().inode->IsSame(walked.nodes[i].attr)) return Errno::kSTALE;
      node = missing.back().inode->SetNode(std::move(found[i]));
      missing.pop_back();
    }
    if (found.size() < count) return walked.stopped == Errno{} ? Errno::kIO : walked.stopped;
  }
  return node;
}

GoferSymlink::GoferSymlink(Init init) : GoferInode(init), target_(std::move(init.target)) {}

Result<std::string> GoferSymlink::ReadLink(const CallContext& ctx) {
  {
    absl::MutexLock lock(&mutex_);
    if (!target_.empty()) return target_;
  }
  TRY(ctx.RequireBlocking());
  NodeHandleRef node = TRY(EnsureNode(ctx));
  std::string target = TRY(state_->client().ReadLink(node->id()));
  absl::MutexLock lock(&mutex_);
  target_ = target;
  return target;
}

Result<FileRef> GoferFifo::Open(const CallContext& ctx, uint32_t flags) {
  // An end that is opened, and given up because the open has to wait, is seen by the other side.
  const bool may_wait = (flags & O_NONBLOCK) == 0 && (flags & O_ACCMODE) != O_RDWR;
  if (may_wait) TRY(ctx.RequireBlocking());
  absl::MutexLock lock(&mutex_);
  if (pipe_ == nullptr) pipe_ = std::make_shared<Pipe>();
  return OpenFifo(pipe_, flags);
}

}  // namespace ringfence::sentry
