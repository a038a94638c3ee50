#include "sentry/fs/inotify/inotify.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <sys/inotify.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <unordered_map>
#include <vector>

#include "sentry/mm/guest_ptr.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/watch.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kOptions = IN_ONESHOT | IN_EXCL_UNLINK;

std::atomic<size_t> instances{0};

}  // namespace

// The watches of all instances.
class WatchTable final : public WatchSink {
 public:
  static WatchTable& Get() {
    static WatchTable* const table = new WatchTable;
    return *table;
  }

  Result<int32_t> Add(InotifyFile* owner, const DentryRef& place, uint32_t mask) {
    absl::MutexLock lock(&mutex_);
    const InodeRef& inode = place->inode();
    Entry& entry = entries_[inode.get()];
    for (Watch& watch : entry.watches) {
      if (watch.owner != owner) continue;
      if ((mask & IN_MASK_CREATE) != 0) return Errno::kEXIST;
      const uint32_t kept = (mask & IN_MASK_ADD) != 0 ? watch.mask : 0;
      watch.mask = kept | (mask & (IN_ALL_EVENTS | kOptions));
      return watch.number;
    }
    const bool full = count_ >= InotifyFile::kMaxWatches ||
                      owner->last_number_ == std::numeric_limits<int32_t>::max();
    if (full) {
      if (entry.watches.empty()) entries_.erase(inode.get());
      return Errno::kNOSPC;
    }
    if (entry.place == nullptr) entry.place = place;
    const int32_t number = ++owner->last_number_;
    entry.watches.push_back({owner, number, mask & (IN_ALL_EVENTS | kOptions)});
    owner->watched_[number] = inode.get();
    if (count_++ == 0) Watches::SetSink(this);
    return number;
  }

  Result<void> Remove(InotifyFile* owner, int32_t number) {
    DentryRef dropped;  // after the lock
    absl::MutexLock lock(&mutex_);
    const auto found = owner->watched_.find(number);
    if (found == owner->watched_.end()) return Errno::kINVAL;
    const auto entry = entries_.find(found->second);
    auto& watches = entry->second.watches;
    const auto watch = std::find_if(watches.begin(), watches.end(),
                                    [&](const Watch& w) { return w.owner == owner; });
    DropLocked(*watch);
    watches.erase(watch);
    if (watches.empty()) dropped = ForgetLocked(entry);
    return Ok();
  }

  void RemoveAll(InotifyFile* owner) {
    std::vector<DentryRef> dropped;
    absl::MutexLock lock(&mutex_);
    for (const auto& [number, inode] : owner->watched_) {
      const auto entry = entries_.find(inode);
      std::erase_if(entry->second.watches, [&](const Watch& w) { return w.owner == owner; });
      if (--count_ == 0) Watches::SetSink(nullptr);
      if (entry->second.watches.empty()) dropped.push_back(ForgetLocked(entry));
    }
    owner->watched_.clear();
  }

  void Event(const WatchEvent& event) override {
    std::vector<DentryRef> dropped;
    absl::MutexLock lock(&mutex_);
    if (event.directory != nullptr) TellLocked(event.directory, event, event.name, &dropped);
    if (event.self != nullptr) TellLocked(event.self, event, {}, &dropped);
  }

  void Unlinked(const NodeRef& node, int64_t held) override {
    DentryRef dropped;
    absl::MutexLock lock(&mutex_);
    const auto entry = entries_.find(node->inode().get());
    if (entry == entries_.end()) return;
    // Besides the caller's: the node is held by our dentry, and by those of open files.
    if (node->is_directory() || node.use_count() <= held + 1) {
      dropped = EndLocked(entry);
    } else {
      entry->second.unlinked = true;
    }
  }

  void Closed(const File& file) override {
    DentryRef dropped;
    absl::MutexLock lock(&mutex_);
    const NodeRef& node = file.dentry()->node();
    const auto entry = entries_.find(node->inode().get());
    if (entry == entries_.end() || !entry->second.unlinked) return;
    const bool last = file.dentry() == entry->second.place
                          ? file.dentry().use_count() <= 2 && node.use_count() <= 1
                          : file.dentry().use_count() <= 1 && node.use_count() <= 2;
    if (last) dropped = EndLocked(entry);
  }

 private:
  struct Watch {
    InotifyFile* owner;
    int32_t number;
    uint32_t mask;
  };
  struct Entry {
    DentryRef place;
    std::vector<Watch> watches;
    bool unlinked = false;  // ends with its last open file
  };
  using Entries = std::unordered_map<const Inode*, Entry>;

  void TellLocked(const Inode* inode, const WatchEvent& event, std::string_view name,
                  std::vector<DentryRef>* dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto entry = entries_.find(inode);
    if (entry == entries_.end()) return;
    uint32_t mask = event.mask;
    // Not for the directory itself (as inotify always was).
    if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) mask &= ~uint32_t{IN_ISDIR};
    auto& watches = entry->second.watches;
    for (size_t i = 0; i < watches.size();) {
      const Watch& watch = watches[i];
      const bool wanted = (watch.mask & mask & IN_ALL_EVENTS) != 0 &&
                          !(event.unlinked && !name.empty() && (watch.mask & IN_EXCL_UNLINK) != 0);
      if (wanted) {
        watch.owner->Enqueue({watch.number, mask, event.cookie, std::string(name)});
      }
      if (wanted && (watch.mask & IN_ONESHOT) != 0) {
        DropLocked(watch);
        watches.erase(watches.begin() + static_cast<ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
    if (watches.empty()) dropped->push_back(ForgetLocked(entry));
  }

  // The inode is no more: tells everybody, and forgets.
  DentryRef EndLocked(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const Watch& watch : entry->second.watches) {
      if ((watch.mask & IN_DELETE_SELF) != 0) {
        watch.owner->Enqueue({watch.number, IN_DELETE_SELF, 0, {}});
      }
      DropLocked(watch);
    }
    return ForgetLocked(entry);
  }

  // One watch ends; the caller takes it out of its entry.
  void DropLocked(const Watch& watch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    watch.owner->Enqueue({watch.number, IN_IGNORED, 0, {}});
    watch.owner->watched_.erase(watch.number);
    if (--count_ == 0) Watches::SetSink(nullptr);
  }

  // The dentry is to be dropped without the lock.
  DentryRef ForgetLocked(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    DentryRef place = std::move(entry->second.place);
    entries_.erase(entry);
    return place;
  }

  absl::Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

size_t InotifyFile::Queued::size() const {
  const size_t padded = name.empty() ? 0 : (name.size() + 16) / 16 * 16;  // with its NUL
  return sizeof(inotify_event) + padded;
}

Result<std::shared_ptr<InotifyFile>> InotifyFile::Make(uint32_t flags) {
  auto file = std::make_shared<InotifyFile>(flags);
  if (instances.load(std::memory_order_relaxed) > kMaxInstances) return Errno::kMFILE;
  return file;
}

InotifyFile::InotifyFile(uint32_t flags) : File(O_RDONLY | flags) { instances.fetch_add(1); }

InotifyFile::~InotifyFile() {
  WatchTable::Get().RemoveAll(this);
  instances.fetch_sub(1);
}

Result<int32_t> InotifyFile::AddWatch(const DentryRef& place, uint32_t mask) {
  return WatchTable::Get().Add(this, place, mask);
}

Result<void> InotifyFile::RemoveWatch(int32_t number) {
  return WatchTable::Get().Remove(this, number);
}

// One that is the same as the last is not told again; one too many says so, once.
void InotifyFile::Enqueue(Queued event) {
  {
    absl::MutexLock lock(&mutex_);
    if (!events_.empty() && events_.back() == event) return;
    if (events_.size() > kMaxEvents) return;
    if (events_.size() == kMaxEvents) event = {-1, IN_Q_OVERFLOW, 0, {}};
    bytes_ += event.size();
    events_.push_back(std::move(event));
  }
  queue_.Notify(kEventIn);
}

Result<size_t> InotifyFile::Read(const CallContext&, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  size_t done = 0;
  absl::MutexLock lock(&mutex_);
  while (!events_.empty()) {
    const Queued& event = events_.front();
    const size_t size = event.size();
    if (size > io.remaining()) {
      if (done == 0) return Errno::kINVAL;
      break;
    }
    std::string bytes(size, '\0');
    const inotify_event header{event.watch, event.mask, event.cookie,
                               static_cast<uint32_t>(size - sizeof(inotify_event))};
    std::memcpy(bytes.data(), &header, sizeof(header));
    bytes.replace(sizeof(header), event.name.size(), event.name);
    const size_t put = io.Write(bytes.data(), size).value_or(0);
    bytes_ -= size;
    events_.pop_front();
    if (put < size) return done != 0 ? Result<size_t>(done) : Errno::kFAULT;
    done += size;
  }
  return done != 0 ? Result<size_t>(done) : Errno::kAGAIN;
}

Result<int64_t> InotifyFile::Ioctl(const CallContext&, MemoryManager& mm, uint32_t command,
                                   uint64_t arg) {
  if (command != FIONREAD) return Errno::kNOTTY;
  int32_t bytes;
  {
    absl::MutexLock lock(&mutex_);
    bytes = static_cast<int32_t>(bytes_);
  }
  TRY(GuestOut<int32_t>(arg).Store(mm, bytes));
  return int64_t{0};
}

EventMask InotifyFile::Poll() {
  absl::MutexLock lock(&mutex_);
  return events_.empty() ? 0 : kEventIn;
}

}  // namespace ringfence::sentry
