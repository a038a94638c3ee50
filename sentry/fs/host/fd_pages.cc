#include "sentry/fs/host/fd_pages.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>

namespace ringfence::sentry {
namespace {

using Stamp = ChunkCache::FileState::Stamp;

constexpr int64_t kNanoseconds = 1000000000;

Stamp StampOf(const struct stat& host) {
  return {host.st_size, host.st_mtim.tv_sec, host.st_mtim.tv_nsec, host.st_ctim.tv_sec,
          host.st_ctim.tv_nsec};
}

uint64_t PagesOf(const struct stat& host) {
  return (static_cast<uint64_t>(host.st_size) + kPageMask) >> kPageShift;
}

// ctime, since anybody can set mtime. A time to come says nothing.
bool ChangedWithin(const struct stat& host, int64_t ns) {
  struct timespec now {};
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return true;
  const int64_t seconds = now.tv_sec - host.st_ctim.tv_sec;
  if (seconds < 0 || seconds > ns / kNanoseconds + 1) return seconds < 0;
  return seconds * kNanoseconds + now.tv_nsec - host.st_ctim.tv_nsec < ns;
}

}  // namespace

ChunkCache::~ChunkCache() {
  absl::MutexLock lock(&mutex_);
  for (auto& [key, chunk] : chunks_) memory_->Unref(chunk.run);
}

bool ChunkCache::EvictOneLocked() {
  // From the least recently used on: the first whose frames only the cache refers to.
  for (auto it = used_.rbegin(); it != used_.rend(); ++it) {
    auto found = chunks_.find(*it);
    const FrameRun run = found->second.run;
    bool idle = true;
    for (uint64_t i = 0; i < run.count && idle; ++i) {
      idle = memory_->RefCount(Frame{run.first.index + i}) == 1;
    }
    if (!idle) continue;
    memory_->Unref(run);
    used_.erase(found->second.position);
    chunks_.erase(found);
    return true;
  }
  return false;
}

Result<FrameRun> ChunkCache::MapLocked(int fd, uint64_t chunk, bool writable) {
  while (chunks_.size() >= options_.max_chunks && EvictOneLocked()) {
  }
  Result<FrameRun> run = memory_->MapFileChunk(fd, chunk * kHugePageSize, writable);
  while (!run.ok() && run.error() == Errno::kNOMEM && EvictOneLocked()) {
    run = memory_->MapFileChunk(fd, chunk * kHugePageSize, writable);
  }
  return run;
}

Result<ChunkCache::Chunk*> ChunkCache::FindLocked(const Key& key, int fd, bool writable) {
  auto it = chunks_.find(key);
  if (it == chunks_.end()) {
    const FrameRun run = TRY(MapLocked(fd, key.second, writable));
    used_.push_front(key);
    it = chunks_.emplace(key, Chunk{run, used_.begin()}).first;
  } else {
    used_.splice(used_.begin(), used_, it->second.position);
  }
  return &it->second;
}

FrameRun ChunkCache::PartLocked(const Chunk& chunk, uint64_t page, uint64_t count) {
  const uint64_t first = page % kPagesPerHuge;
  const FrameRun part{Frame{chunk.run.first.index + first}, std::min(count, kPagesPerHuge - first)};
  memory_->Ref(part);
  return part;
}

Result<FrameRun> ChunkCache::GetFrames(FdPages* file, int fd, uint64_t page, uint64_t count,
                                       bool writable) {
  absl::MutexLock lock(&mutex_);
  KeepLiveLocked(file);
  return PartLocked(*TRY(FindLocked(Key{file, page / kPagesPerHuge}, fd, writable)), page, count);
}

Result<FrameRun> ChunkCache::GetPrivateFrames(FdPages* file, int fd, const struct stat& host,
                                              uint64_t page, uint64_t count, bool exec) {
  const Key key{file, page / kPagesPerHuge};
  absl::MutexLock lock(&mutex_);
  Chunk* const chunk = TRY(FindLocked(key, fd, false));
  if (options_.copies && !file->copies_.live) {
    ConsiderCopyLocked(file, key.second, *chunk, fd, host, exec);
  }
  return PartLocked(*chunk, page, count);
}

// A copy is made under the lock: 0.4 to 0.7 ms, once for a chunk.
void ChunkCache::ConsiderCopyLocked(FdPages* file, uint64_t number, Chunk& chunk, int fd,
                                    const struct stat& host, bool exec) {
  FileState& state = file->copies_;
  const Stamp stamp = StampOf(host);
  if (state.copied.has_value() && *state.copied != stamp) DropCopiesLocked(file);
  if (exec && ++chunk.asked_exec >= options_.hot) state.hot = true;
  if (memory_->HasCopies(chunk.run.first)) return;
  if (++chunk.asked < options_.hot || !state.hot) return;
  chunk.asked = 0;  // if it cannot be now, after as many again
  if (ChangedWithin(host, options_.settled_ns)) return;
  const uint64_t first = number * kPagesPerHuge;
  const uint64_t pages = std::min(PagesOf(host) - first, kPagesPerHuge);
  if (!memory_->CopyFileChunk(chunk.run.first, fd, first * kPageSize, pages).ok()) return;
  struct stat after;
  if (fstat(fd, &after) != 0 || StampOf(after) != stamp) {
    memory_->DropCopies(chunk.run.first);
    return;
  }
  state.copied = stamp;
}

void ChunkCache::DropCopiesLocked(FdPages* file) {
  for (auto it = chunks_.lower_bound(Key{file, 0}); it != chunks_.end() && it->first.first == file;
       ++it) {
    memory_->DropCopies(it->second.run.first);
    it->second.asked = 0;
  }
  file->copies_.copied.reset();
}

void ChunkCache::KeepLiveLocked(FdPages* file) {
  if (file->copies_.copied.has_value()) DropCopiesLocked(file);
  file->copies_.live = true;
}

void ChunkCache::KeepLive(FdPages* file) {
  absl::MutexLock lock(&mutex_);
  KeepLiveLocked(file);
}

void ChunkCache::DropAll(const FdPages* file) {
  absl::MutexLock lock(&mutex_);
  auto it = chunks_.lower_bound(Key{file, 0});
  while (it != chunks_.end() && it->first.first == file) {
    memory_->Unref(it->second.run);
    used_.erase(it->second.position);
    it = chunks_.erase(it);
  }
}

size_t ChunkCache::size() const {
  absl::MutexLock lock(&mutex_);
  return chunks_.size();
}

MappableRef FdPages::Use(std::shared_ptr<const UniqueFd> fd, std::string name) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<const Held> held = held_.lock();
  if (held == nullptr) {
    held = std::make_shared<const Held>(Held{shared_from_this(), std::move(fd)});
    held_ = held;
  }
  name_ = std::move(name);
  return MappableRef(std::move(held), this);
}

Result<std::shared_ptr<const FdPages::Held>> FdPages::Look(uint64_t page, struct stat* host) const {
  std::shared_ptr<const Held> held;
  {
    absl::MutexLock lock(&mutex_);
    held = held_.lock();
  }
  if (held == nullptr || fstat(held->fd->get(), host) != 0) return Errno::kIO;
  if (page >= PagesOf(*host)) return Errno::kFAULT;
  return held;
}

Result<FrameRun> FdPages::GetFrames(uint64_t page, uint64_t count, Access access) {
  if (access == Access::kWrite && !writable_) return Errno::kACCES;
  struct stat host;
  const std::shared_ptr<const Held> held = TRY(Look(page, &host));
  return cache_->GetFrames(this, held->fd->get(), page, std::min(count, PagesOf(host) - page),
                           writable_);
}

Result<FrameRun> FdPages::GetPrivateFrames(uint64_t page, uint64_t count, bool exec) {
  if (writable_) return GetFrames(page, count, Access::kRead);
  struct stat host;
  const std::shared_ptr<const Held> held = TRY(Look(page, &host));
  return cache_->GetPrivateFrames(this, held->fd->get(), host, page,
                                  std::min(count, PagesOf(host) - page), exec);
}

Result<void> FdPages::SyncPages(uint64_t, uint64_t) {
  if (!writable_) return Ok();
  std::shared_ptr<const Held> held;
  {
    absl::MutexLock lock(&mutex_);
    held = held_.lock();
  }
  if (held != nullptr && fdatasync(held->fd->get()) != 0) return LastHostErrno();
  return Ok();
}

std::string FdPages::MappedName() const {
  absl::MutexLock lock(&mutex_);
  return name_;
}

}  // namespace ringfence::sentry
