#include <sys/stat.h>

#include <utility>

#include "sentry/fs/goferfs/inode.h"

namespace ringfence::sentry {
namespace {

// A single directory with more entries than this is refused (ENOMEM): it is held in memory whole.
constexpr size_t kMaxEntries = 4 * 1024 * 1024;
// How long a directory of a shared tree is believed to be where a path that goes through it found
// it.
constexpr auto kPassFor = std::chrono::seconds(1);

class GoferDirectoryFile : public DirectoryFile {
 public:
  GoferDirectoryFile(std::shared_ptr<GoferDirectory> directory, uint32_t flags)
      : DirectoryFile(flags), directory_(std::move(directory)) {}

  Result<void> Sync(const CallContext& ctx, bool) override { return directory_->Sync(ctx); }

 protected:
  // A listing is a moment of the directory; from its start on it is read anew.
  Result<void> Prepare(const CallContext& ctx) ABSL_NO_THREAD_SAFETY_ANALYSIS override {
    const bool anew = offset_ == 0 && directory_->listing_may_change();
    if (listing_ == nullptr || anew) listing_ = TRY(directory_->GetListing(ctx));
    return Ok();
  }
  Result<void> ReadEntries(const CallContext&, int64_t position, EmitFn emit) override {
    for (auto i = static_cast<uint64_t>(position - kFirstEntry); i < listing_->entries.size();
         ++i) {
      const gofer::DirectoryEntry& entry = listing_->entries[i];
      const auto next = static_cast<int64_t>(i) + kFirstEntry + 1;
      if (!emit(DirEntry{entry.attr.ino, next, DirentType(entry.attr.mode), entry.name})) break;
    }
    return Ok();
  }

 private:
  const std::shared_ptr<GoferDirectory> directory_;
  ListingRef listing_;  // guarded by offset_mutex_, which ReadDir holds
};

}  // namespace

GoferDirectory::~GoferDirectory() {
  absl::MutexLock lock(&state_->mutex);
  if (listing_ == nullptr) return;
  state_->listed_entries -= listing_->entries.size();
  state_->with_listing.erase(position_);
}

Result<FileRef> GoferDirectory::Open(const CallContext&, uint32_t flags) {
  return FileRef(std::make_shared<GoferDirectoryFile>(
      std::static_pointer_cast<GoferDirectory>(shared_from_this()), flags));
}

Result<void> GoferDirectory::Sync(const CallContext& ctx) {
  if (!state_->writable()) return Ok();
  TRY(ctx.RequireBlocking());
  const NodeHandleRef node = TRY(EnsureNode(ctx));
  return state_->client().Sync(node->id());
}

bool GoferDirectory::LookupHolds(const Inode* child, LookupUse use) const {
  if (!state_->shared()) return true;
  switch (use) {
    case LookupUse::kCreate:
      return child == nullptr;
    case LookupUse::kRemove:
      return child != nullptr;
    case LookupUse::kPass:
      return child != nullptr && child->type() == S_IFDIR &&
             static_cast<const GoferDirectory*>(child)->WasSeenWithin(kPassFor);
    case LookupUse::kReach:
      break;
  }
  return false;
}

Result<InodeRef> GoferDirectory::FromListing(std::string_view name) {
  ListingRef listing;
  {
    absl::MutexLock lock(&state_->mutex);
    if (listing_ == nullptr || changed_.contains(name)) return InodeRef();
    listing = listing_;
    state_->with_listing.splice(state_->with_listing.begin(), state_->with_listing, position_);
  }
  auto it = listing->by_name.find(name);
  if (it == listing->by_name.end()) return Errno::kNOENT;
  const gofer::DirectoryEntry& entry = listing->entries[it->second];
  if ((entry.attr.mode & S_IFMT) == 0) return InodeRef();
  if (state_->writable()) {
    // A file's other names may have seen changes that this one's listing has not.
    const bool has_others = entry.attr.nlink > 1 && !S_ISDIR(entry.attr.mode);
    if (has_others || state_->IsDirty(entry.attr)) return InodeRef();
  }
  auto self = std::static_pointer_cast<GoferDirectory>(shared_from_this());
  return GoferInode::Make({.fs = fs(),
                           .state = state_,
                           .attr = entry.attr,
                           .target = entry.target,
                           .place = Place{std::move(self), std::string(name)}});
}

Result<InodeRef> GoferDirectory::Lookup(const CallContext& ctx, std::string_view name) {
  if (InodeRef listed = TRY(FromListing(name))) return listed;
  TRY(ctx.RequireBlocking());
  NodeHandleRef here = TRY(EnsureNode(ctx));
  const GoferState::Ticket ticket = state_->BeginRead();
  gofer::WalkResult walked =
      TRY(state_->client().Walk(here->id(), std::span<const std::string_view>(&name, 1)));
  const bool counts = state_->EndRead(ticket);
  if (walked.nodes.empty()) return walked.stopped == Errno{} ? Errno::kIO : walked.stopped;
  return MakeInodeFor(std::move(walked.nodes.front()), counts);
}

Result<InodeRef> GoferDirectory::MakeInodeFor(gofer::Node node, bool counts) {
  auto handle = std::make_shared<NodeHandle>(state_->options.client, node.id, true);
  return GoferInode::Make({.fs = fs(),
                           .state = state_,
                           .attr = node.attr,
                           .target = std::move(node.target),
                           .node = std::move(handle),
                           .attr_counts = counts});
}

ListingRef GoferDirectory::KnownListing() {
  absl::MutexLock lock(&state_->mutex);
  if (listing_ == nullptr || !changed_.empty()) return nullptr;
  state_->with_listing.splice(state_->with_listing.begin(), state_->with_listing, position_);
  return listing_;
}

Result<ListingRef> GoferDirectory::GetListing(const CallContext& ctx) {
  if (state_->shared()) return Fetch(ctx);
  if (ListingRef listing = KnownListing()) return listing;
  uint64_t generation;
  {
    absl::MutexLock lock(&state_->mutex);
    generation = generation_;
  }
  const GoferState::Ticket ticket = state_->BeginRead();
  ListingRef listing = TRY(FetchAhead(ctx));
  if (listing == nullptr) listing = TRY(Fetch(ctx));
  // Attributes may have been overtaken, too.
  if (state_->EndRead(ticket)) Keep(listing, generation);
  return listing;
}

void GoferDirectory::NoteChanged(std::string_view name) {
  if (state_->shared()) return;
  ListingRef ahead = state_->read_ahead.Take({key().dev, key().ino});
  absl::MutexLock lock(&state_->mutex);
  ++generation_;
  if (listing_ != nullptr) changed_.emplace(name);
}

std::string GoferDirectory::NoteListed(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  return std::exchange(listed_child_, name);
}

Result<ListingRef> GoferDirectory::FetchAhead(const CallContext& ctx) {
  const std::optional<Place> where = place();
  if (!where) return ListingRef();
  GoferDirectory& parent = *where->directory;
  ReadAhead& ahead = state_->read_ahead;
  if (ListingRef listing = ahead.Take({key().dev, key().ino})) {
    parent.NoteListed(where->name);
    return listing;
  }
  TRY(ctx.RequireBlocking());
  const std::string previous = parent.NoteListed(where->name);
  const ListingRef siblings = parent.KnownListing();
  if (siblings == nullptr) return ListingRef();
  const size_t window = ahead.NextWindow();
  const auto names = siblings->SubdirectoriesFrom(where->name, previous, window);
  if (names.empty()) return ListingRef();
  NodeHandleRef node = TRY(parent.EnsureNode(ctx));
  const GoferState::Ticket ticket = state_->BeginRead();
  Result<std::vector<gofer::ListedDirectory>> listed =
      state_->client().ReadTree(node->id(), names, window, gofer::kMaxReadDirBytes);
  if (!listed.ok()) return ListingRef();
  const bool counts = state_->EndRead(ticket);
  ListingRef mine;
  for (gofer::ListedDirectory& directory : *listed) {
    auto listing = std::make_shared<const Listing>(std::move(directory.entries));
    if (mine == nullptr && IsSame(directory.attr)) {
      mine = std::move(listing);
    } else if (counts) {
      ahead.Keep({directory.attr.dev, directory.attr.ino}, std::move(listing));
    }
  }
  return mine;
}

Result<ListingRef> GoferDirectory::Fetch(const CallContext& ctx) {
  TRY(ctx.RequireBlocking());
  NodeHandleRef node = TRY(EnsureNode(ctx));
  // Attributes of a shared tree are asked for when somebody wants them.
  const auto detail =
      state_->shared() ? gofer::EntryDetail::kNames : gofer::EntryDetail::kAttributes;
  std::vector<gofer::DirectoryEntry> entries;
  int64_t cookie = 0;
  for (bool end = false; !end;) {
    gofer::DirectoryPage page =
        TRY(state_->client().ReadDir(node->id(), cookie, gofer::kMaxReadDirBytes, detail));
    if (page.entries.empty() && !page.end) return Errno::kIO;
    if (!page.entries.empty()) cookie = page.entries.back().next_cookie;
    for (gofer::DirectoryEntry& entry : page.entries) entries.push_back(std::move(entry));
    if (entries.size() > kMaxEntries) return Errno::kNOMEM;
    end = page.end;
  }
  return ListingRef(std::make_shared<const Listing>(std::move(entries)));
}

// Keeps a listing as long as there is room for all; the least recently used ones go first.
void GoferDirectory::Keep(const ListingRef& listing,
                          uint64_t generation) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const size_t entries = listing->entries.size();
  const size_t limit = state_->options.max_listed_entries;
  if (entries > limit / 4) return;
  std::vector<ListingRef> dropped;  // after the lock
  absl::MutexLock lock(&state_->mutex);
  if (generation_ != generation || (listing_ != nullptr && changed_.empty())) return;
  if (listing_ != nullptr) {
    state_->listed_entries -= listing_->entries.size();
    state_->with_listing.erase(position_);
    dropped.push_back(std::move(listing_));
  }
  changed_.clear();
  while (state_->listed_entries + entries > limit && !state_->with_listing.empty()) {
    GoferDirectory* oldest = state_->with_listing.back();
    state_->with_listing.pop_back();
    state_->listed_entries -= oldest->listing_->entries.size();
    dropped.push_back(std::move(oldest->listing_));
    oldest->changed_.clear();
  }
  listing_ = listing;
  state_->listed_entries += entries;
  position_ = state_->with_listing.insert(state_->with_listing.begin(), this);
}

}  // namespace ringfence::sentry
