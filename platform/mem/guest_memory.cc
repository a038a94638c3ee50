#include "platform/mem/guest_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "platform/base/check.h"
#include "platform/base/log.h"

namespace ringfence::platform {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kSmallSlot = 256 * kMiB;
constexpr uint64_t kLargeSlot = 1024 * kMiB;
constexpr uint64_t kMaxAnonymousBytes = uint64_t{1} << 42;

uint64_t RoundUp(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

// Small slots for the first GiB, then large ones; `have` and the limit are multiples of 2 MiB.
uint64_t NextSlotBytes(uint64_t have, uint64_t limit) {
  return std::min(limit - have, have < kLargeSlot ? kSmallSlot : kLargeSlot);
}

// Splits [first, first + count) at multiples of 512 and calls fn(first, count) for each part.
template <typename Fn>
void ForEachBlock(uint64_t first, uint64_t count, Fn fn) {
  while (count > 0) {
    const uint64_t n = std::min(count, kPagesPerHuge - first % kPagesPerHuge);
    fn(first, n);
    first += n;
    count -= n;
  }
}

void AppendFreed(std::vector<FrameRun>* runs, FrameRun run) {
  if (!runs->empty() && runs->back().end() == run.first) {
    runs->back().count += run.count;
  } else {
    runs->push_back(run);
  }
}

}  // namespace

GuestMemory::GuestMemory(const Options& options, SlotSink* sink)
    : options_(options), sink_(sink), paging_(sink->Paging()) {}
GuestMemory::~GuestMemory() = default;

absl::StatusOr<std::unique_ptr<GuestMemory>> GuestMemory::Create(const Options& options,
                                                                 SlotSink* sink) {
  if (options.max_anonymous_bytes < kHugePageSize ||
      options.max_anonymous_bytes > kMaxAnonymousBytes) {
    return absl::InvalidArgumentError(absl::StrCat("guest memory of ", options.max_anonymous_bytes,
                                                   " bytes: must be 2 MiB to 4 TiB"));
  }
  std::unique_ptr<GuestMemory> memory(new GuestMemory(options, sink));
  absl::Status status = memory->Init();
  if (!status.ok()) return status;
  return memory;
}

absl::Status GuestMemory::Init() {
  const uint64_t anonymous_bytes = RoundUp(options_.max_anonymous_bytes, kHugePageSize);
  anonymous_frames_ = anonymous_bytes / kPageSize;
  max_retired_huge_ = std::clamp<uint64_t>(anonymous_bytes / kHugePageSize / 4, 1, kMaxRetiredHuge);
  chunk_count_ = std::min(options_.max_file_bytes / kHugePageSize, kMaxFileChunks);
  const uint64_t window_bytes = anonymous_bytes + chunk_count_ * kHugePageSize;

  auto reserved = window_.Reserve(window_bytes);
  auto counts = LazyArray<RefCountWord>::Create(window_bytes / kPageSize);
  auto block_counts = LazyArray<RefCountWord>::Create(anonymous_frames_ / kPagesPerHuge);
  auto chunks = LazyArray<std::atomic<uint32_t>>::Create(chunk_count_ + 1);
  auto copies = LazyArray<std::atomic<uint32_t>>::Create(chunk_count_ + 1);
  auto frames = FrameAllocator::Create(anonymous_frames_ / kPagesPerHuge);
  if (!reserved.ok() || !counts.ok() || !block_counts.ok() || !chunks.ok() || !copies.ok() ||
      !frames.ok()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot reserve ", window_bytes >> 30,
                     " GiB of address space for guest memory: raise the limit (ulimit -v) or ask "
                     "for less guest memory"));
  }
  base_ = window_.base();
  counts_ = std::move(counts).value();
  block_counts_ = std::move(block_counts).value();
  chunk_frames_ = std::move(chunks).value();
  chunk_copies_ = std::move(copies).value();
  absl::MutexLock lock(&mutex_);
  frames_.emplace(std::move(frames).value());
  return absl::OkStatus();
}

bool GuestMemory::AddAnonymousSlotLocked() {
  const uint64_t have = frames_->usable_blocks() * kHugePageSize;
  const uint64_t bytes = NextSlotBytes(have, anonymous_frames_ * kPageSize);
  if (bytes == 0) return false;
  auto added = window_.Commit(have, bytes);
  if (added.ok()) added = sink_->AddSlot(kWindowStart + have, bytes, base_ + have, false);
  if (!added.ok()) {
    // A guest that is short of memory asks again and again.
    if (std::exchange(refused_slot_, have) != have) {
      Log(kWarning, "no memory slot for guest memory from ", have, ": ", ErrnoName(added.error()));
    }
    return false;
  }
  committed_bytes_.store(have + bytes, std::memory_order_relaxed);
  frames_->AddBlocks(bytes / kHugePageSize);
  ++slots_;
  return true;
}

Result<FrameRun> GuestMemory::Allocate(uint64_t count) {
  if (count == 0 || count > kPagesPerHuge) return Errno::kINVAL;
  std::optional<FrameAllocator::Grant> grant;
  {
    absl::MutexLock lock(&mutex_);
    const uint64_t most = options_.max_anonymous_bytes / kPageSize;
    if (frames_->used_frames() + count > most) return Errno::kNOMEM;
    if (frames_->used_frames() + copied_pages_ + count > most) DropAllCopiesLocked();
    while (!(grant = frames_->Take(count))) {
      if (!AddAnonymousSlotLocked()) return Errno::kNOMEM;
    }
  }
  const FrameRun run{Frame{grant->first + kWindowStart / kPageSize}, count};
  std::byte* const memory = HostAddress(run.first);
  if (KeepsTables()) ShapeBlock(&*grant);
  if (grant->dirty.all()) {
    std::memset(memory, 0, kHugePageSize);
  } else if (grant->dirty.any()) {
    for (uint64_t i = 0; i < count; ++i) {
      if (grant->dirty[i]) std::memset(memory + i * kPageSize, 0, kPageSize);
    }
  }
  if (count == kPagesPerHuge) {
    block_counts_[grant->first / kPagesPerHuge].store(1, std::memory_order_release);
  } else {
    for (uint64_t i = 0; i < count; ++i) {
      counts_[grant->first + i].store(1, std::memory_order_relaxed);
    }
  }
  return run;
}

void GuestMemory::ShapeBlock(FrameAllocator::Grant* grant) {
  const uint64_t offset = grant->first * kPageSize;
  if (grant->divide) {
    // All of it in one go, before it cannot be had as a large page any more.
    if (!grant->dirty[0]) std::memset(base_ + offset, 0, 1);
    window_.Divide(offset);
  } else if (grant->unite) {
    // Its small pages would stay small.
    window_.Discard(offset, kHugePageSize);
    window_.Unite(offset);
    grant->dirty.reset();
  }
}

void GuestMemory::Ref(FrameRun run) {
  const uint64_t first = Index(run.first);
  const uint64_t end = first + run.count;
  const uint64_t split = std::clamp(anonymous_frames_, first, end);
  ForEachBlock(first, split - first, [this](uint64_t part, uint64_t n) { RefInBlock(part, n); });
  for (uint64_t i = split; i < end; ++i) AddReference(counts_[i]);
}

void GuestMemory::RefInBlock(uint64_t first, uint64_t count) {
  RefCountWord& block = block_counts_[first / kPagesPerHuge];
  absl::MutexLock lock(&CountMutex(first));
  const bool whole = block.load(std::memory_order_relaxed) != 0;
  if (whole && count == kPagesPerHuge) return AddReference(block);
  for (uint64_t i = first; i < first + count; ++i) {
    if (whole) {
      counts_[i].fetch_add(counts_[i].load(std::memory_order_relaxed) < kStuckFrom ? 1 : 0,
                           std::memory_order_relaxed);
    } else {
      AddReference(counts_[i]);
    }
  }
}

bool GuestMemory::ClaimHuge(Frame first) {
  if (paging_ == HostPaging::kNested) return true;
  if (paging_ == HostPaging::kShadowWithoutHuge || IsFileFrame(first)) return false;
  absl::MutexLock lock(&mutex_);
  return frames_->ClaimHuge(Index(first) / kPagesPerHuge);
}

void GuestMemory::Retire(const std::vector<FrameRun>& tables, const std::vector<Frame>& huge) {
  if (paging_ == HostPaging::kNested) {
    for (const FrameRun& run : tables) Unref(run);
    return;
  }
  if (tables.empty() && huge.empty()) return;
  Retired ripe;
  {
    absl::MutexLock lock(&retired_mutex_);
    for (const FrameRun& run : tables) {
      retired_.tables.push_back(run);
      retired_.table_count += run.count;
    }
    retired_.huge.insert(retired_.huge.end(), huge.begin(), huge.end());
    if (retired_.table_count < kMaxRetiredTables && retired_.huge.size() < max_retired_huge_)
      return;
    std::swap(ripe, retired_);
  }
  forgotten_.fetch_add(1, std::memory_order_relaxed);
  if (sink_->ForgetTables().ok()) {
    for (const FrameRun& run : ripe.tables) Unref(run);
    absl::MutexLock lock(&mutex_);
    for (Frame first : ripe.huge) frames_->ReturnHuge(Index(first) / kPagesPerHuge);
    return;
  }
  // Better late than used twice: the next one tries again.
  absl::MutexLock lock(&retired_mutex_);
  retired_.tables.insert(retired_.tables.end(), ripe.tables.begin(), ripe.tables.end());
  retired_.table_count += ripe.table_count;
  retired_.huge.insert(retired_.huge.end(), ripe.huge.begin(), ripe.huge.end());
}

void GuestMemory::Unref(FrameRun run) {
  const uint64_t first = Index(run.first);
  const uint64_t end = first + run.count;
  const uint64_t split = std::clamp(anonymous_frames_, first, end);
  std::vector<FrameRun> freed;
  ForEachBlock(first, split - first,
               [&](uint64_t part, uint64_t n) { UnrefInBlock(part, n, &freed); });
  for (uint64_t i = split; i < end; ++i) {
    if (DropReference(counts_[i])) AppendFreed(&freed, {Frame{i}, 1});
  }
  for (const FrameRun& part : freed) FreeRun(part.first.index, part.count);
}

void GuestMemory::UnrefInBlock(uint64_t first, uint64_t count, std::vector<FrameRun>* freed) {
  RefCountWord& block = block_counts_[first / kPagesPerHuge];
  absl::MutexLock lock(&CountMutex(first));
  if (block.load(std::memory_order_relaxed) == 0) {
    for (uint64_t i = first; i < first + count; ++i) {
      if (DropReference(counts_[i])) AppendFreed(freed, {Frame{i}, 1});
    }
    return;
  }
  const bool whole = count == kPagesPerHuge;
  if (!whole) {
    // Becomes one of each frame, less those that go.
    const uint64_t base = first - first % kPagesPerHuge;
    for (uint64_t i = base; i < base + kPagesPerHuge; ++i) {
      const bool goes = i >= first && i < first + count;
      if (!goes && counts_[i].load(std::memory_order_relaxed) < kStuckFrom) {
        counts_[i].fetch_add(1, std::memory_order_relaxed);
      }
    }
  }
  if (!DropReference(block)) return;
  for (uint64_t i = first; i < first + count; ++i) {
    if (counts_[i].load(std::memory_order_acquire) == 0) AppendFreed(freed, {Frame{i}, 1});
  }
}

uint32_t GuestMemory::RefCount(Frame frame) const {
  const uint64_t i = Index(frame);
  if (i >= anonymous_frames_) return counts_[i].load(std::memory_order_acquire);
  absl::MutexLock lock(&CountMutex(i));
  const uint64_t sum = uint64_t{counts_[i].load(std::memory_order_acquire)} +
                       block_counts_[i / kPagesPerHuge].load(std::memory_order_acquire);
  return static_cast<uint32_t>(std::min<uint64_t>(sum, kStuckAt));
}

bool GuestMemory::OneReference(FrameRun run) const {
  bool one = true;
  ForEachBlock(Index(run.first), run.count, [&](uint64_t first, uint64_t n) {
    absl::MutexLock lock(&CountMutex(first));
    const uint64_t block = block_counts_[first / kPagesPerHuge].load(std::memory_order_acquire);
    for (uint64_t i = first; i < first + n && one; ++i) {
      one = block + counts_[i].load(std::memory_order_acquire) == 1;
    }
  });
  return one;
}

Result<FrameRun> GuestMemory::ZeroFrames() {
  const FrameRun zeros{Frame{zero_frame_.load(std::memory_order_acquire)}, kZeroFrames};
  if (zeros.first.index != 0) return zeros;
  // With one at each end that nobody gets, so that no run goes on into them.
  const FrameRun fresh = TRY(Allocate(kZeroFrames + 2));
  uint64_t expected = 0;
  const uint64_t first = fresh.first.index + 1;
  if (zero_frame_.compare_exchange_strong(expected, first)) expected = first;
  if (expected != first) Unref(fresh);  // somebody was faster
  return FrameRun{Frame{expected}, kZeroFrames};
}

void GuestMemory::FreeRun(uint64_t first, uint64_t count) {
  const uint64_t split = std::clamp(anonymous_frames_, first, first + count);
  if (first < split) FreeAnonymous(first, split - first);
  ForEachBlock(split, first + count - split,
               [this](uint64_t part, uint64_t n) { FreeFile(part, n); });
}

void GuestMemory::FreeAnonymous(uint64_t first, uint64_t count) {
  struct Drained {
    uint32_t block;
    bool divided;
  };
  std::vector<Drained> drained;
  {
    absl::MutexLock lock(&mutex_);
    ForEachBlock(first, count, [&](uint64_t part, uint64_t n) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      const auto block = frames_->Release(part, n);
      if (block) drained.push_back({*block, frames_->TakeDivided(*block)});
    });
  }
  if (drained.empty()) return;
  // Without the lock: takes tens of microseconds, and nobody else uses the blocks meanwhile.
  for (size_t begin = 0, end; begin < drained.size(); begin = end) {
    for (end = begin + 1; end < drained.size(); ++end) {
      if (drained[end].block != drained[end - 1].block + 1) break;
    }
    window_.Discard(drained[begin].block * kHugePageSize, (end - begin) * kHugePageSize);
  }
  for (const Drained& part : drained) {
    if (part.divided && KeepsTables()) window_.Unite(part.block * kHugePageSize);
  }
  absl::MutexLock lock(&mutex_);
  for (const Drained& part : drained) frames_->Drained(part.block);
}

bool GuestMemory::IsFileFrame(Frame frame) const { return Index(frame) >= anonymous_frames_; }

void GuestMemory::Invalidate(FrameRun run) {
  if (run.count == 0) return;
  const uint64_t first = Index(run.first);
  const uint64_t end = first + run.count;
  const uint64_t split = std::clamp(anonymous_frames_, first, end);
  invalidations_begun_.fetch_add(1, std::memory_order_seq_cst);
  if (first < split) {
    window_.NotifyAnonymous(first * kPageSize, (split - first) * kPageSize,
                            committed_bytes_.load(std::memory_order_relaxed));
    notifications_.fetch_add(1, std::memory_order_relaxed);
  }
  InvalidateFile(split, end);
  invalidations_done_.fetch_add(1, std::memory_order_seq_cst);
}

// One host call for neighbouring chunks of one kind. A chunk that becomes private just now is
// replaced by that anyway, so either call is right.
void GuestMemory::InvalidateFile(uint64_t first, uint64_t end) {
  while (first < end) {
    const bool copies = IsPrivate(first);
    uint64_t stop = anonymous_frames_ + (ChunkOf(first) + 1) * kPagesPerHuge;
    while (stop < end && IsPrivate(stop) == copies) stop += kPagesPerHuge;
    stop = std::min(stop, end);
    if (copies) {
      window_.NotifyPrivate(first * kPageSize, (stop - first) * kPageSize);
    } else {
      window_.NotifyFile(first * kPageSize, (stop - first) * kPageSize);
    }
    notifications_.fetch_add(1, std::memory_order_relaxed);
    first = stop;
  }
}

uint64_t GuestMemory::InvalidationGeneration() const {
  return invalidations_done_.load(std::memory_order_seq_cst);
}

// One that was under way at the first reading has either ended since, so that `done` moved, or is
// still under way; one that began later likewise.
bool GuestMemory::InvalidatedSince(uint64_t generation) const {
  const uint64_t done = invalidations_done_.load(std::memory_order_seq_cst);
  return done != generation || invalidations_begun_.load(std::memory_order_seq_cst) != done;
}

Result<void> GuestMemory::AddFileSlotLocked(uint64_t chunk) {
  while (chunk >= chunks_in_slots_) {
    const uint64_t have = chunks_in_slots_ * kHugePageSize;
    const uint64_t bytes = NextSlotBytes(have, chunk_count_ * kHugePageSize);
    const uint64_t offset = anonymous_frames_ * kPageSize + have;
    const auto added = sink_->AddSlot(kWindowStart + offset, bytes, base_ + offset, false);
    if (!added.ok()) {
      Log(kWarning, "no memory slot for files from ", have, ": ", ErrnoName(added.error()));
      return Errno::kNOMEM;
    }
    chunks_in_slots_ += bytes / kHugePageSize;
    ++slots_;
  }
  return Ok();
}

Result<uint64_t> GuestMemory::TakeChunk() {
  absl::MutexLock lock(&mutex_);
  uint64_t chunk = 0;
  if (!free_chunks_.empty()) {
    chunk = free_chunks_.back();
    free_chunks_.pop_back();
  } else if (next_chunk_ < chunk_count_) {
    TRY(AddFileSlotLocked(next_chunk_));
    chunk = next_chunk_++;
  } else {
    return Errno::kNOMEM;
  }
  ++chunks_in_use_;
  return chunk;
}

void GuestMemory::ReturnChunk(uint64_t chunk) {
  absl::MutexLock lock(&mutex_);
  free_chunks_.push_back(static_cast<uint32_t>(chunk));
  --chunks_in_use_;
}

Result<FrameRun> GuestMemory::MapFileChunk(int fd, uint64_t file_offset, bool writable) {
  if (file_offset % kHugePageSize != 0) return Errno::kINVAL;
  const uint64_t chunk = TRY(TakeChunk());
  const uint64_t first = anonymous_frames_ + chunk * kPagesPerHuge;
  auto mapped = window_.MapFile(first * kPageSize, kHugePageSize, fd, file_offset, writable);
  if (!mapped.ok()) {
    ReturnChunk(chunk);
    return mapped.error();
  }
  chunk_frames_[chunk].store(kPagesPerHuge, std::memory_order_relaxed);
  for (uint64_t i = 0; i < kPagesPerHuge; ++i) {
    counts_[first + i].store(1, std::memory_order_relaxed);
  }
  return FrameRun{Frame{first + kWindowStart / kPageSize}, kPagesPerHuge};
}

bool GuestMemory::ReserveCopies(uint64_t pages) {
  const uint64_t memory = options_.max_anonymous_bytes / kPageSize;
  const uint64_t most = std::min(memory / 16, kMaxCopiedBytes / kPageSize);
  absl::MutexLock lock(&mutex_);
  if (copied_pages_ + pages > most) return false;
  // Not where memory is nearly used up: they would have to go again at once.
  if (frames_->used_frames() + copied_pages_ + pages > memory - memory / 8) return false;
  copied_pages_ += pages;
  return true;
}

Result<void> GuestMemory::CopyFileChunk(Frame first, int fd, uint64_t file_offset, uint64_t pages) {
  if (!IsFileFrame(first) || pages == 0 || pages > kPagesPerHuge) return Errno::kINVAL;
  const uint64_t chunk = ChunkOf(Index(first));
  DropCopies(first);
  if (!ReserveCopies(pages)) return Errno::kNOMEM;
  Result<void> copied = Ok();
  if (chunk_copies_[chunk].load(std::memory_order_relaxed) == 0) {
    invalidations_begun_.fetch_add(1, std::memory_order_seq_cst);
    copied = window_.MapFilePrivate(ChunkOffset(chunk), kHugePageSize, fd, file_offset);
    invalidations_done_.fetch_add(1, std::memory_order_seq_cst);
    if (copied.ok()) {
      window_.Divide(ChunkOffset(chunk));
      chunk_copies_[chunk].store(1, std::memory_order_release);
    }
  }
  if (copied.ok()) {
    copied = window_.FillCopies(ChunkOffset(chunk), pages * kPageSize);
    if (!copied.ok()) window_.DropCopies(ChunkOffset(chunk), kHugePageSize);
  }
  absl::MutexLock lock(&mutex_);
  if (copied.ok()) {
    chunk_copies_[chunk].store(static_cast<uint32_t>(1 + pages), std::memory_order_release);
  } else {
    copied_pages_ -= pages;
  }
  return copied;
}

void GuestMemory::DropCopies(Frame first) {
  absl::MutexLock lock(&mutex_);
  DropCopiesLocked(ChunkOf(Index(first)));
}

bool GuestMemory::HasCopies(Frame first) const {
  return chunk_copies_[ChunkOf(Index(first))].load(std::memory_order_acquire) > 1;
}

void GuestMemory::DropCopiesLocked(uint64_t chunk) {
  const uint32_t copies = chunk_copies_[chunk].load(std::memory_order_relaxed);
  if (copies <= 1) return;
  window_.DropCopies(ChunkOffset(chunk), kHugePageSize);
  copied_pages_ -= copies - 1;
  chunk_copies_[chunk].store(1, std::memory_order_release);
}

void GuestMemory::DropAllCopiesLocked() {
  for (uint64_t chunk = 0; chunk < next_chunk_; ++chunk) DropCopiesLocked(chunk);
}

void GuestMemory::FreeFile(uint64_t first, uint64_t count) {
  const uint64_t chunk = ChunkOf(first);
  const auto n = static_cast<uint32_t>(count);
  if (chunk_frames_[chunk].fetch_sub(n, std::memory_order_acq_rel) != n) return;
  {
    absl::MutexLock lock(&mutex_);
    DropCopiesLocked(chunk);
    chunk_copies_[chunk].store(0, std::memory_order_release);
  }
  if (!window_.UnmapFile(ChunkOffset(chunk), kHugePageSize).ok()) {
    // Harmless: the file stays mapped until the chunk is used again.
    Log(kWarning, "file chunk ", chunk, " cannot be unmapped");
  }
  ReturnChunk(chunk);
}

bool GuestMemory::Scarce() const {
  const uint64_t most = options_.max_anonymous_bytes / kPageSize;
  absl::MutexLock lock(&mutex_);
  return frames_->used_frames() > most - most / 8;
}

GuestMemory::Stats GuestMemory::GetStats() const {
  absl::MutexLock lock(&mutex_);
  const uint64_t zeros = zero_frame_.load(std::memory_order_relaxed) != 0 ? kZeroFrames + 2 : 0;
  return {.anonymous_bytes = (frames_->used_frames() - zeros) * kPageSize,
          .committed_bytes = frames_->committed_blocks() * kHugePageSize,
          .file_chunks = chunks_in_use_,
          .copied_bytes = copied_pages_ * kPageSize,
          .slots = slots_,
          .invalidations = notifications_.load(std::memory_order_relaxed),
          .forgotten = forgotten_.load(std::memory_order_relaxed)};
}

}  // namespace ringfence::platform
