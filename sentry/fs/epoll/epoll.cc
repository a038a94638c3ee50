#include "sentry/fs/epoll/epoll.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <optional>

namespace ringfence::sentry {
namespace {

// Held while one epoll file is added to another, so that no cycle can come about.
ABSL_CONST_INIT absl::Mutex graph_mutex(absl::kConstInit);

constexpr EventMask kNormalRead = 0x40, kNormalWrite = 0x100;
constexpr uint32_t kModeBits = kEpollExclusive | kEpollWakeup | kEpollOneShot | kEpollEdge;

}  // namespace

// One watched file. What changes is guarded by the EpollFile's mutex_ (the event), or by its
// ready_mutex_ (the place on the ready list).
class EpollFile::Item final : public WaitEntry {
 public:
  Item(EpollFile* epoll, Key key, const FileRef& file, const Event& event)
      : key(key), epoll_(epoll), file_(file) {
    Set(event);
  }
  void Wake(EventMask events) override {
    if ((events & wanted_.load(std::memory_order_relaxed)) != 0) epoll_->MarkReady(this);
  }
  FileRef file() const { return file_.lock(); }
  void Set(const Event& e) {
    event = e;
    disabled = false;
    wanted_.store((e.events & ~kModeBits) | kEventErr | kEventHup, std::memory_order_relaxed);
  }
  EventMask wanted() const { return wanted_.load(std::memory_order_relaxed); }

  const Key key;
  Event event{};
  bool disabled = false;  // one-shot and reported
  bool on_list = false;
  std::list<Item*>::iterator position;

 private:
  EpollFile* const epoll_;
  const std::weak_ptr<File> file_;
  std::atomic<EventMask> wanted_{0};
};

EpollFile::EpollFile() : File(O_RDWR) {}

EpollFile::~EpollFile() {
  absl::MutexLock lock(&mutex_);
  while (!items_.empty()) DropLocked(items_.begin());
}

EventMask EpollFile::ReadyEvents(const Item& item, File& file) {
  if (item.disabled) return 0;
  EventMask events = file.Poll();
  if ((events & kEventIn) != 0) events |= kNormalRead;
  if ((events & kEventOut) != 0) events |= kNormalWrite;
  return events & item.wanted();
}

void EpollFile::MarkReady(Item* item) {
  {
    absl::MutexLock lock(&ready_mutex_);
    if (!item->on_list) {
      item->position = ready_.insert(ready_.end(), item);
      item->on_list = true;
    }
  }
  queue_.Notify(kEventIn);
}

void EpollFile::Unready(Item* item) {
  absl::MutexLock lock(&ready_mutex_);
  if (!item->on_list) return;
  ready_.erase(item->position);
  item->on_list = false;
}

void EpollFile::SweepLocked() {
  if (items_.size() < next_sweep_) return;
  for (auto it = items_.begin(); it != items_.end();) {
    const auto next = std::next(it);
    if (it->second->file() == nullptr) DropLocked(it);
    it = next;
  }
  next_sweep_ = std::max<size_t>(64, items_.size() * 2);
}

void EpollFile::DropLocked(Items::iterator it) {
  // After Detach nobody wakes the item any more.
  WaitQueue::Detach(it->second.get());
  Unready(it->second.get());
  items_.erase(it);
}

Result<void> EpollFile::CheckNesting(const EpollFile* target, int level) {
  if (this == target || level > kMaxDepth) return Errno::kLOOP;
  std::vector<FileRef> nested;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [key, item] : items_) {
      FileRef file = item->file();
      if (file != nullptr && file->AsEpoll() != nullptr) nested.push_back(std::move(file));
    }
  }
  for (const FileRef& file : nested) TRY(file->AsEpoll()->CheckNesting(target, level + 1));
  return Ok();
}

Result<void> EpollFile::Add(Fd fd, const FileRef& file, const Event& event) {
  if (file.get() == this) return Errno::kINVAL;
  if (file->wait_queue() == nullptr) return Errno::kPERM;
  EpollFile* const nested = file->AsEpoll();
  if (nested != nullptr && (event.events & kEpollExclusive) != 0) return Errno::kINVAL;
  std::optional<absl::MutexLock> graph;
  if (nested != nullptr) {
    graph.emplace(&graph_mutex);
    TRY(nested->CheckNesting(this, 1));
  }
  absl::MutexLock lock(&mutex_);
  const Key key{ToInt(fd), file.get()};
  const auto found = items_.find(key);
  if (found != items_.end()) {
    // The same address may be a new file, when the one before ended without EPOLL_CTL_DEL.
    if (found->second->file() == file) return Errno::kEXIST;
    DropLocked(found);
  }
  SweepLocked();
  if (items_.size() >= kMaxItems) return Errno::kNOSPC;
  Item* const item =
      items_.emplace(key, std::make_unique<Item>(this, key, file, event)).first->second.get();
  file->wait_queue()->Add(item, ~EventMask{0});
  if (ReadyEvents(*item, *file) != 0) MarkReady(item);
  return Ok();
}

Result<void> EpollFile::Modify(Fd fd, const FileRef& file, const Event& event) {
  if (file.get() == this) return Errno::kINVAL;
  absl::MutexLock lock(&mutex_);
  const auto found = items_.find(Key{ToInt(fd), file.get()});
  if (found == items_.end() || found->second->file() != file) return Errno::kNOENT;
  Item* const item = found->second.get();
  if (((item->event.events | event.events) & kEpollExclusive) != 0) return Errno::kINVAL;
  item->Set(event);
  if (ReadyEvents(*item, *file) != 0) MarkReady(item);
  return Ok();
}

Result<void> EpollFile::Remove(Fd fd, const FileRef& file) {
  if (file.get() == this) return Errno::kINVAL;
  absl::MutexLock lock(&mutex_);
  const auto found = items_.find(Key{ToInt(fd), file.get()});
  if (found == items_.end() || found->second->file() != file) return Errno::kNOENT;
  DropLocked(found);
  return Ok();
}

std::vector<EpollFile::Event> EpollFile::TakeLocked(size_t max, std::list<Item*>* candidates,
                                                    std::list<Item*>* keep,
                                                    std::vector<FileRef>* used) {
  std::vector<Event> events;
  while (!candidates->empty() && events.size() < max) {
    Item* const item = candidates->front();
    {
      // From here on a notification puts the item back on the list by itself.
      absl::MutexLock ready_lock(&ready_mutex_);
      item->on_list = false;
      candidates->pop_front();
    }
    FileRef file = item->file();
    if (file == nullptr) {
      DropLocked(items_.find(item->key));
      continue;
    }
    const EventMask ready = ReadyEvents(*item, *file);
    used->push_back(std::move(file));
    if (ready == 0) continue;
    events.push_back({ready, item->event.data});
    if ((item->event.events & kEpollOneShot) != 0) {
      item->disabled = true;
    } else if ((item->event.events & kEpollEdge) == 0) {
      keep->push_back(item);
    }
  }
  return events;
}

std::vector<EpollFile::Event> EpollFile::Collect(size_t max) {
  std::vector<FileRef> used;  // may be the last references: dropped without a lock
  absl::MutexLock lock(&mutex_);
  std::list<Item*> candidates, keep;
  {
    absl::MutexLock ready_lock(&ready_mutex_);
    candidates.swap(ready_);
  }
  std::vector<Event> events = TakeLocked(max, &candidates, &keep, &used);
  absl::MutexLock ready_lock(&ready_mutex_);
  ready_.splice(ready_.begin(), candidates);
  for (Item* item : keep) {
    if (item->on_list) continue;
    item->position = ready_.insert(ready_.end(), item);
    item->on_list = true;
  }
  return events;
}

EventMask EpollFile::Poll() {
  std::vector<FileRef> used;
  absl::MutexLock lock(&mutex_);
  std::vector<Item*> candidates;
  {
    absl::MutexLock ready_lock(&ready_mutex_);
    candidates.assign(ready_.begin(), ready_.end());
  }
  for (Item* item : candidates) {
    const FileRef file = used.emplace_back(item->file());
    if (file != nullptr && ReadyEvents(*item, *file) != 0) return kEventIn;
  }
  return 0;
}

Result<size_t> EpollFile::Read(const CallContext&, UserIo&, const int64_t*) {
  return Errno::kINVAL;
}
Result<size_t> EpollFile::Write(const CallContext&, UserIo&, const int64_t*) {
  return Errno::kINVAL;
}

}  // namespace ringfence::sentry
