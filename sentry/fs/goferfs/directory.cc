#include <sys/stat.h>

#include <utility>

#include "sentry/fs/goferfs/inode.h"

namespace ringfence::sentry {
namespace {

// A single directory with more entries than this is refused (ENOMEM): it is held in memory whole.
constexpr size_t kMaxEntries = 4 * 1024 * 1024;

class GoferDirectoryFile : public DirectoryFile {
 public:
  GoferDirectoryFile(std::shared_ptr<GoferDirectory> directory, uint32_t flags)
      : DirectoryFile(flags), directory_(std::move(directory)) {}

 protected:
  Result<void> Prepare(const CallContext& ctx) override {
    if (listing_ == nullptr) listing_ = TRY(directory_->GetListing(ctx));
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

Result<gofer::FsAttributes> GoferDirectory::StatFs(const CallContext& ctx) {
  NodeHandleRef node = TRY(EnsureNode(ctx));
  return state_->client().StatFs(node->id());
}

Result<InodeRef> GoferDirectory::Lookup(const CallContext& ctx, std::string_view name) {
  if (ListingRef listing = KnownListing()) {
    auto it = listing->by_name.find(name);
    if (it == listing->by_name.end()) return Errno::kNOENT;
    const gofer::DirectoryEntry& entry = listing->entries[it->second];
    if (entry.attr.mode != 0) {
      auto self = std::static_pointer_cast<GoferDirectory>(shared_from_this());
      return GoferInode::Make({fs(), state_, entry.attr, entry.target, nullptr,
                               Place{std::move(self), std::string(name)}});
    }
  }
  TRY(ctx.RequireBlocking());
  NodeHandleRef here = TRY(EnsureNode(ctx));
  gofer::WalkResult walked =
      TRY(state_->client().Walk(here->id(), std::span<const std::string_view>(&name, 1)));
  if (walked.nodes.empty()) return walked.stopped == Errno{} ? Errno::kIO : walked.stopped;
  gofer::Node& node = walked.nodes.front();
  return GoferInode::Make({fs(), state_, node.attr, std::move(node.target),
                           std::make_shared<NodeHandle>(state_->options.client, node.id, true),
                           std::nullopt});
}

ListingRef GoferDirectory::KnownListing() {
  absl::MutexLock lock(&state_->mutex);
  if (listing_ != nullptr) {
    state_->with_listing.splice(state_->with_listing.begin(), state_->with_listing, position_);
  }
  return listing_;
}

Result<ListingRef> GoferDirectory::GetListing(const CallContext& ctx) {
  if (ListingRef listing = KnownListing()) return listing;
  ListingRef listing = TRY(FetchAhead(ctx));
  if (listing == nullptr) listing = TRY(Fetch(ctx));
  Keep(listing);
  return listing;
}

std::string GoferDirectory::NoteListed(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  return std::exchange(listed_child_, name);
}

Result<ListingRef> GoferDirectory::FetchAhead(const CallContext& ctx) {
  if (place() == nullptr) return ListingRef();
  GoferDirectory& parent = *place()->directory;
  ReadAhead& ahead = state_->read_ahead;
  if (ListingRef listing = ahead.Take({attr_.dev, attr_.ino})) {
    parent.NoteListed(place()->name);
    return listing;
  }
  TRY(ctx.RequireBlocking());
  const std::string previous = parent.NoteListed(place()->name);
  const ListingRef siblings = parent.KnownListing();
  if (siblings == nullptr) return ListingRef();
  const size_t window = ahead.NextWindow();
  const auto names = siblings->SubdirectoriesFrom(place()->name, previous, window);
  if (names.empty()) return ListingRef();
  NodeHandleRef node = TRY(parent.EnsureNode(ctx));
  Result<std::vector<gofer::ListedDirectory>> listed =
      state_->client().ReadTree(node->id(), names, window, gofer::kMaxReadDirBytes);
  if (!listed.ok()) return ListingRef();
  ListingRef mine;
  for (gofer::ListedDirectory& directory : *listed) {
    auto listing = std::make_shared<const Listing>(std::move(directory.entries));
    if (mine == nullptr && IsSame(directory.attr)) {
      mine = std::move(listing);
    } else {
      ahead.Keep({directory.attr.dev, directory.attr.ino}, std::move(listing));
    }
  }
  return mine;
}

Result<ListingRef> GoferDirectory::Fetch(const CallContext& ctx) {
  TRY(ctx.RequireBlocking());
  NodeHandleRef node = TRY(EnsureNode(ctx));
  std::vector<gofer::DirectoryEntry> entries;
  int64_t cookie = 0;
  for (bool end = false; !end;) {
    gofer::DirectoryPage page = TRY(state_->client().ReadDir(
        node->id(), cookie, gofer::kMaxReadDirBytes, gofer::EntryDetail::kAttributes));
    if (page.entries.empty() && !page.end) return Errno::kIO;
    if (!page.entries.empty()) cookie = page.entries.back().next_cookie;
    for (gofer::DirectoryEntry& entry : page.entries) entries.push_back(std::move(entry));
    if (entries.size() > kMaxEntries) return Errno::kNOMEM;
    end = page.end;
  }
  return ListingRef(std::make_shared<const Listing>(std::move(entries)));
}

// Keeps a listing as long as there is room for all; the least recently used ones go first.
void GoferDirectory::Keep(const ListingRef& listing) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const size_t entries = listing->entries.size();
  const size_t limit = state_->options.max_listed_entries;
  if (entries > limit / 4) return;
  std::vector<ListingRef> dropped;  // after the lock
  absl::MutexLock lock(&state_->mutex);
  if (listing_ != nullptr) return;
  while (state_->listed_entries + entries > limit && !state_->with_listing.empty()) {
    GoferDirectory* oldest = state_->with_listing.back();
    state_->with_listing.pop_back();
    state_->listed_entries -= oldest->listing_->entries.size();
    dropped.push_back(std::move(oldest->listing_));
  }
  listing_ = listing;
  state_->listed_entries += entries;
  position_ = state_->with_listing.insert(state_->with_listing.begin(), this);
}

}  // namespace ringfence::sentry
