#include "sentry/fs/host/fd_pages.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace ringfence::sentry {

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
  while (chunks_.size() >= max_chunks_ && EvictOneLocked()) {
  }
  Result<FrameRun> run = memory_->MapFileChunk(fd, chunk * kHugePageSize, writable);
  while (!run.ok() && run.error() == Errno::kNOMEM && EvictOneLocked()) {
    run = memory_->MapFileChunk(fd, chunk * kHugePageSize, writable);
  }
  return run;
}

Result<FrameRun> ChunkCache::GetFrames(const FdPages* file, int fd, uint64_t page, uint64_t count,
                                       bool writable) {
  const Key key{file, page / kPagesPerHuge};
  absl::MutexLock lock(&mutex_);
  auto it = chunks_.find(key);
  if (it == chunks_.end()) {
    const FrameRun run = TRY(MapLocked(fd, key.second, writable));
    used_.push_front(key);
    it = chunks_.emplace(key, Chunk{run, used_.begin()}).first;
  } else {
    used_.splice(used_.begin(), used_, it->second.position);
  }
  const uint64_t first = page % kPagesPerHuge;
  const FrameRun part{Frame{it->second.run.first.index + first},
                      std::min(count, kPagesPerHuge - first)};
  memory_->Ref(part);
  return part;
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

Result<FrameRun> FdPages::GetFrames(uint64_t page, uint64_t count, Access access) {
  if (access == Access::kWrite && !writable_) return Errno::kACCES;
  std::shared_ptr<const Held> held;
  {
    absl::MutexLock lock(&mutex_);
    held = held_.lock();
  }
  struct stat host;
  if (held == nullptr || fstat(held->fd->get(), &host) != 0) return Errno::kIO;
  const uint64_t pages = (static_cast<uint64_t>(host.st_size) + kPageMask) >> kPageShift;
  if (page >= pages) return Errno::kFAULT;
  return cache_->GetFrames(this, held->fd->get(), page, std::min(count, pages - page), writable_);
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
