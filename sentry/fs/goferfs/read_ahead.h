// ReadAhead: listings that came before anybody asked for them, and how many more to ask for.
//
// A program that walks through a whole tree lists each directory once, soon after the directory
// above it. A round trip to the gofer for each costs far more than reading it does, so such a walk
// gets the next directories along with the one it asks for. How many is learned: twice as many when
// at least half of the latest ones were used, half as many otherwise, so a program that lists a
// directory here and there costs the gofer at most about twice the work.
//
// Threads: any. `mutex_` is a leaf.
#ifndef RINGFENCE_SENTRY_FS_GOFERFS_READ_AHEAD_H_
#define RINGFENCE_SENTRY_FS_GOFERFS_READ_AHEAD_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/client/client.h"

namespace ringfence::sentry {

// All entries of a directory, in the order of the host.
struct Listing {
  explicit Listing(std::vector<gofer::DirectoryEntry> all);
  // The names of subdirectories from `first` on, at most `max`, as a walk through the tree visits
  // them after `previous` ("": `first` is the first one): sorted when the step from `previous` to
  // `first` is one in sorted order only, else in the order of the host.
  std::vector<std::string_view> SubdirectoriesFrom(std::string_view first,
                                                   std::string_view previous, size_t max) const;

  const std::vector<gofer::DirectoryEntry> entries;
  std::unordered_map<std::string_view, size_t> by_name;
};
using ListingRef = std::shared_ptr<const Listing>;

class ReadAhead {
 public:
  // A directory of the host, (dev, ino).
  using Id = std::pair<uint64_t, uint64_t>;

  // `max_entries`: of all listings kept here; the oldest go first.
  explicit ReadAhead(size_t max_entries) : max_entries_(max_entries) {}

  // How many directories to ask for, now that the walk needs one that is not here.
  size_t NextWindow();
  void Keep(Id id, ListingRef listing);
  // Null: not here. What is taken is gone.
  ListingRef Take(Id id);

 private:
  struct Kept {
    ListingRef listing;
    std::list<Id>::iterator position;
  };
  // Returns what is to be dropped after the lock.
  ListingRef RemoveLocked(std::map<Id, Kept>::iterator it) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_entries_;
  absl::Mutex mutex_;
  std::map<Id, Kept> kept_ ABSL_GUARDED_BY(mutex_);
  std::list<Id> order_ ABSL_GUARDED_BY(mutex_);  // front: oldest
  size_t entries_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t window_ ABSL_GUARDED_BY(mutex_) = 1;
  size_t fetched_ ABSL_GUARDED_BY(mutex_) = 0, used_
                                               ABSL_GUARDED_BY(mutex_) = 0;  // since NextWindow
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_GOFERFS_READ_AHEAD_H_
