#include "sentry/fs/goferfs/read_ahead.h"

#include <sys/stat.h>

#include <algorithm>

namespace ringfence::sentry {
namespace {

using Names = std::vector<std::string_view>;

// Larger directories are not looked through for a sorted order: once for each listing below them,
// that would cost more than it saves.
constexpr size_t kMaxSorted = 16 * 1024;

bool IsDirectory(const gofer::DirectoryEntry& entry) { return S_ISDIR(entry.attr.mode); }

// At most `max` subdirectories from index `begin` on.
Names InHostOrder(const Listing& listing, size_t begin, size_t max) {
  Names names;
  for (size_t i = begin; i < listing.entries.size() && names.size() < max; ++i) {
    if (IsDirectory(listing.entries[i])) names.push_back(listing.entries[i].name);
  }
  return names;
}

// At most `max` subdirectories after `previous` by name.
Names Sorted(const Listing& listing, std::string_view previous, size_t max) {
  Names names;
  for (const gofer::DirectoryEntry& entry : listing.entries) {
    if (IsDirectory(entry) && entry.name > previous) names.push_back(entry.name);
  }
  const size_t count = std::min(max, names.size());
  std::partial_sort(names.begin(), names.begin() + static_cast<ptrdiff_t>(count), names.end());
  names.resize(count);
  return names;
}

}  // namespace

Listing::Listing(std::vector<gofer::DirectoryEntry> all) : entries(std::move(all)) {
  by_name.reserve(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) by_name.emplace(entries[i].name, i);
}

std::vector<std::string_view> Listing::SubdirectoriesFrom(std::string_view first,
                                                          std::string_view previous,
                                                          size_t max) const {
  const auto here = by_name.find(first);
  if (here == by_name.end()) return {};
  const auto before = by_name.find(previous);
  const Names next = InHostOrder(*this, before == by_name.end() ? 0 : before->second + 1, 1);
  if (entries.size() <= kMaxSorted && (next.empty() || next.front() != first)) {
    Names sorted = Sorted(*this, previous, max);
    if (!sorted.empty() && sorted.front() == first) return sorted;
  }
  return InHostOrder(*this, here->second, max);
}

size_t ReadAhead::NextWindow() {
  absl::MutexLock lock(&mutex_);
  const bool paid = 2 * used_ >= fetched_;
  window_ =
      paid ? std::min(2 * window_, gofer::kMaxTreeDirectories) : std::max(window_ / 2, size_t{1});
  fetched_ = used_ = 0;
  return window_;
}

void ReadAhead::Keep(Id id, ListingRef listing) {
  std::vector<ListingRef> dropped;  // after the lock
  absl::MutexLock lock(&mutex_);
  ++fetched_;
  const size_t entries = listing->entries.size();
  if (entries > max_entries_) return;
  if (const auto known = kept_.find(id); known != kept_.end()) {
    dropped.push_back(RemoveLocked(known));
  }
  // An empty one counts as well: it takes memory.
  entries_ += entries + 1;
  kept_.emplace(id, Kept{std::move(listing), order_.insert(order_.end(), id)});
  while (entries_ > max_entries_) dropped.push_back(RemoveLocked(kept_.find(order_.front())));
}

ListingRef ReadAhead::Take(Id id) {
  absl::MutexLock lock(&mutex_);
  const auto found = kept_.find(id);
  if (found == kept_.end()) return nullptr;
  ++used_;
  return RemoveLocked(found);
}

ListingRef ReadAhead::RemoveLocked(std::map<Id, Kept>::iterator it) {
  ListingRef listing = std::move(it->second.listing);
  entries_ -= listing->entries.size() + 1;
  order_.erase(it->second.position);
  kept_.erase(it);
  return listing;
}

}  // namespace ringfence::sentry
