#include "sentry/mm/shared_pages.h"

#include <algorithm>
#include <set>

#include "platform/mem/safe_copy.h"

namespace ringfence::sentry {
namespace {

std::atomic<uint64_t> total_pages{0};

constexpr uint64_t kPageLimit = (AnonymousPages::kMaxSize >> kPageShift) + 1;

uint64_t PagesFor(uint64_t bytes) { return (bytes >> kPageShift) + ((bytes & kPageMask) != 0); }

// Keeps one reference on each frame of a run while a copy runs without the lock.
class HeldRun {
 public:
  HeldRun(platform::GuestMemory* memory, FrameRun run) : memory_(memory), run_(run) {}
  ~HeldRun() {
    if (run_.count != 0) memory_->Unref(run_);
  }
  HeldRun(const HeldRun&) = delete;
  HeldRun& operator=(const HeldRun&) = delete;
  std::byte* bytes() const { return memory_->HostAddress(run_.first); }
  uint64_t size() const { return run_.count * kPageSize; }

 private:
  platform::GuestMemory* const memory_;
  const FrameRun run_;
};

}  // namespace

bool PageQuota::Charge(uint64_t pages) {
  uint64_t used = used_.load(std::memory_order_relaxed);
  do {
    const uint64_t limit = this->limit();
    if (used > limit || pages > limit - used) return false;
  } while (!used_.compare_exchange_weak(used, used + pages, std::memory_order_relaxed));
  return true;
}

AnonymousPages::AnonymousPages(platform::GuestMemory* memory, Options options)
    : memory_(memory), options_(std::move(options)), name_(options_.name), size_(options_.size) {}

AnonymousPages::~AnonymousPages() {
  absl::MutexLock lock(&mutex_);
  DropPages(0, kPageLimit);
}

uint64_t AnonymousPages::size() const {
  absl::MutexLock lock(&mutex_);
  return size_;
}

uint64_t AnonymousPages::TotalBytes() {
  return total_pages.load(std::memory_order_relaxed) * kPageSize;
}

uint64_t AnonymousPages::allocated_pages() const {
  absl::MutexLock lock(&mutex_);
  return pages_;
}

void AnonymousPages::SetName(std::string name) {
  absl::MutexLock lock(&mutex_);
  name_ = std::move(name);
}

std::string AnonymousPages::MappedName() const {
  absl::MutexLock lock(&mutex_);
  return name_;
}

uint64_t AnonymousPages::FrameAt(uint64_t page) const {
  auto it = chunks_.find(page / kPagesPerHuge);
  return it == chunks_.end() ? kNoFrame : it->second.frames[page % kPagesPerHuge];
}

Result<uint64_t> AnonymousPages::MakePages(uint64_t page, uint64_t count) {
  const uint64_t slot = page % kPagesPerHuge;
  Chunk& chunk = chunks_[page / kPagesPerHuge];
  uint64_t run_length = 0;
  while (run_length < count && slot + run_length < kPagesPerHuge &&
         chunk.frames[slot + run_length] == kNoFrame) {
    ++run_length;
  }
  Errno error = Errno::kNOMEM;
  // A smaller run when there is no room for the large one.
  for (uint64_t n = run_length; n != 0; n = n == 1 ? 0 : 1) {
    if (options_.quota != nullptr && !options_.quota->Charge(n)) {
      error = Errno::kNOSPC;
      continue;
    }
    auto frames = memory_->Allocate(n);
    if (frames.ok()) {
      for (uint64_t i = 0; i < n; ++i) chunk.frames[slot + i] = frames->first.index + i;
      chunk.used += n;
      pages_ += n;
      total_pages.fetch_add(n, std::memory_order_relaxed);
      return n;
    }
    if (options_.quota != nullptr) options_.quota->Uncharge(n);
    error = frames.error();
  }
  if (chunk.used == 0) chunks_.erase(page / kPagesPerHuge);
  return error;
}

FrameRun AnonymousPages::ReferenceRun(uint64_t page, uint64_t count) {
  const uint64_t first = FrameAt(page);
  if (first == kNoFrame) return {};
  FrameRun run{Frame{first}, 1};
  while (run.count < count && FrameAt(page + run.count) == first + run.count) ++run.count;
  memory_->Ref(run);
  return run;
}

void AnonymousPages::DropPages(uint64_t first, uint64_t end) {
  auto it = chunks_.lower_bound(first / kPagesPerHuge);
  while (it != chunks_.end() && it->first * kPagesPerHuge < end) {
    Chunk& chunk = it->second;
    const uint64_t base = it->first * kPagesPerHuge;
    const uint64_t from = std::max(first, base) - base;
    const uint64_t to = std::min(end - base, kPagesPerHuge);
    FrameRun run;
    uint64_t dropped = 0;
    for (uint64_t i = from; i < to; ++i) {
      const uint64_t frame = chunk.frames[i];
      if (frame == kNoFrame) continue;
      chunk.frames[i] = kNoFrame;
      ++dropped;
      if (run.count != 0 && run.end().index == frame) {
        ++run.count;
        continue;
      }
      if (run.count != 0) memory_->Unref(run);
      run = {Frame{frame}, 1};
    }
    if (run.count != 0) memory_->Unref(run);
    chunk.used -= dropped;
    pages_ -= dropped;
    total_pages.fetch_sub(dropped, std::memory_order_relaxed);
    if (options_.quota != nullptr) options_.quota->Uncharge(dropped);
    it = chunk.used == 0 ? chunks_.erase(it) : std::next(it);
  }
}

// Zeroes bytes [offset, end) inside one page, if it exists.
void AnonymousPages::ZeroPart(uint64_t offset, uint64_t end) {
  const uint64_t frame = FrameAt(offset >> kPageShift);
  if (frame == kNoFrame || offset >= end) return;
  platform::SafeZero(memory_->HostAddress(Frame{frame}) + (offset & kPageMask), end - offset);
}

void AnonymousPages::Zap(uint64_t first, uint64_t end, bool even_cow) {
  std::set<std::shared_ptr<MemoryManager>> owners;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [start, mapping] : mappings_) {
      // One that is being destroyed drops its leaves itself.
      if (auto owner = mapping.owner.lock()) owners.insert(std::move(owner));
    }
  }
  for (const auto& owner : owners) owner->ZapMappable(this, first, end, even_cow);
}

Result<size_t> AnonymousPages::Read(uint64_t offset, UserIo& io, uint64_t n) {
  size_t done = 0;
  while (done < n) {
    const uint64_t at = offset + done;
    FrameRun run;
    uint64_t part = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (at >= size_) break;
      part = std::min(n - done, size_ - at);
      run = ReferenceRun(at >> kPageShift, std::min(PagesFor(part) + 1, kPagesPerHuge));
    }
    const HeldRun held(memory_, run);
    const uint64_t in_page = at & kPageMask;
    const uint64_t span = run.count == 0 ? kPageSize : held.size();
    part = std::min(part, span - in_page);
    const auto moved =
        run.count == 0 ? io.WriteZeros(part) : io.Write(held.bytes() + in_page, part);
    if (!moved.ok()) return done == 0 ? moved : Result<size_t>(done);
    done += *moved;
    if (*moved < part) break;
  }
  return done;
}

Result<FrameRun> AnonymousPages::RunForWrite(uint64_t page, uint64_t count) {
  absl::MutexLock lock(&mutex_);
  if (FrameAt(page) == kNoFrame) TRY(MakePages(page, count));
  return ReferenceRun(page, count);
}

Result<size_t> AnonymousPages::Write(uint64_t offset, UserIo& io, uint64_t n) {
  if (n == 0) return size_t{0};
  if (offset >= kMaxSize) return Errno::kFBIG;
  n = std::min({n, kMaxSize - offset, io.remaining()});
  size_t done = 0;
  while (done < n) {
    const uint64_t at = offset + done;
    const uint64_t in_page = at & kPageMask;
    const uint64_t pages = std::min(PagesFor(in_page + (n - done)), kPagesPerHuge);
    auto run = RunForWrite(at >> kPageShift, pages);
    if (!run.ok()) {
      if (done == 0) return run.error();
      break;
    }
    const HeldRun held(memory_, *run);
    const uint64_t part = std::min<uint64_t>(n - done, held.size() - in_page);
    const auto moved = io.Read(held.bytes() + in_page, part);
    if (!moved.ok()) {
      if (done == 0) return moved.error();
      break;
    }
    done += *moved;
    {
      absl::MutexLock lock(&mutex_);
      size_ = std::max(size_, at + *moved);
    }
    if (*moved < part) break;
  }
  return done;
}

Result<void> AnonymousPages::Truncate(uint64_t size) {
  if (size > kMaxSize) return Errno::kFBIG;
  {
    absl::MutexLock lock(&mutex_);
    // A growing file may have pages past its old end (fallocate with KEEP_SIZE): they stay.
    const bool grows = size >= size_;
    size_ = size;
    if (grows) return Ok();
    if ((size & kPageMask) != 0) ZeroPart(size, (size | kPageMask) + 1);
    DropPages(PagesFor(size), kPageLimit);
  }
  // No fault can bring the old pages back from here on; leaves still hold them.
  Zap(PagesFor(size), kPageLimit, true);
  return Ok();
}

Result<void> AnonymousPages::PunchHole(uint64_t offset, uint64_t length) {
  if (length == 0) return Ok();
  const uint64_t end = length > kMaxSize - std::min(offset, kMaxSize) ? kMaxSize : offset + length;
  if (offset >= end) return Ok();
  const uint64_t first = PagesFor(offset);
  const uint64_t last = end == kMaxSize ? kPageLimit : end >> kPageShift;
  {
    absl::MutexLock lock(&mutex_);
    if (first > last) {  // inside one page
      ZeroPart(offset, end);
      return Ok();
    }
    if ((offset & kPageMask) != 0) ZeroPart(offset, (offset | kPageMask) + 1);
    if ((end & kPageMask) != 0 && end != kMaxSize) ZeroPart(PageDown(end), end);
    if (first == last) return Ok();
    // Dropped first: a fault after the zap then finds new, zeroed pages.
    DropPages(first, last);
  }
  Zap(first, last, false);
  return Ok();
}

Result<void> AnonymousPages::Allocate(uint64_t offset, uint64_t length, KeepSize keep_size) {
  if (offset > kMaxSize || length > kMaxSize - offset) return Errno::kFBIG;
  const uint64_t first = offset >> kPageShift;
  const uint64_t end = PagesFor(offset + length);
  std::vector<std::pair<uint64_t, uint64_t>> made;
  absl::MutexLock lock(&mutex_);
  for (uint64_t page = first; page < end;) {
    if (FrameAt(page) != kNoFrame) {
      ++page;
      continue;
    }
    auto n = MakePages(page, std::min(end - page, kPagesPerHuge));
    if (!n.ok()) {
      for (const auto& [from, to] : made) DropPages(from, to);
      return n.error();
    }
    if (!made.empty() && made.back().second == page) {
      made.back().second = page + *n;
    } else {
      made.emplace_back(page, page + *n);
    }
    page += *n;
  }
  if (keep_size == KeepSize::kNo) size_ = std::max(size_, offset + length);
  return Ok();
}

Result<uint64_t> AnonymousPages::NextData(uint64_t offset) const {
  absl::MutexLock lock(&mutex_);
  if (offset >= size_) return Errno::kNXIO;
  const uint64_t page = offset >> kPageShift;
  for (auto it = chunks_.lower_bound(page / kPagesPerHuge); it != chunks_.end(); ++it) {
    const uint64_t base = it->first * kPagesPerHuge;
    for (uint64_t i = page > base ? page - base : 0; i < kPagesPerHuge; ++i) {
      if (it->second.frames[i] == kNoFrame) continue;
      const uint64_t at = std::max(offset, (base + i) << kPageShift);
      return at < size_ ? Result<uint64_t>(at) : Errno::kNXIO;
    }
  }
  return Errno::kNXIO;
}

Result<uint64_t> AnonymousPages::NextHole(uint64_t offset) const {
  absl::MutexLock lock(&mutex_);
  if (offset >= size_) return Errno::kNXIO;
  uint64_t page = offset >> kPageShift;
  while (page << kPageShift < size_ && FrameAt(page) != kNoFrame) ++page;
  return std::min(std::max(offset, page << kPageShift), size_);
}

Result<FrameRun> AnonymousPages::GetFrames(uint64_t page, uint64_t count, Access access) {
  (void)access;  // the store's pages may always be written; the VMA says whether they are
  absl::MutexLock lock(&mutex_);
  const uint64_t end = PagesFor(size_);
  if (page >= end) return Errno::kFAULT;
  count = std::min(count, end - page);
  if (FrameAt(page) == kNoFrame) {
    auto made = MakePages(page, count);
    if (!made.ok()) return made.error() == Errno::kNOSPC ? Errno::kFAULT : made.error();
  }
  return ReferenceRun(page, count);
}

void AnonymousPages::AddMapping(MemoryManager* mm, VirtRange range, uint64_t page) {
  absl::MutexLock lock(&mutex_);
  mappings_.emplace(std::pair(mm, range.start), Mapping{mm->weak_from_this(), range.end, page});
}

void AnonymousPages::RemoveMapping(MemoryManager* mm, VirtRange range, uint64_t page) {
  absl::MutexLock lock(&mutex_);
  const auto [first, last] = mappings_.equal_range(std::pair(mm, range.start));
  const auto it = std::find_if(first, last, [&](const auto& entry) {
    return entry.second.end == range.end && entry.second.page == page;
  });
  if (it != last) mappings_.erase(it);
}

bool AnonymousPages::HasMappings() const {
  absl::MutexLock lock(&mutex_);
  return !mappings_.empty();
}

Result<void> AnonymousPages::RemovePages(uint64_t page, uint64_t count) {
  if (page >= kPageLimit) return Ok();
  return PunchHole(page << kPageShift, std::min(count, kPageLimit - page) << kPageShift);
}

}  // namespace ringfence::sentry
