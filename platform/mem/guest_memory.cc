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
  auto chunks = LazyArray<std::atomic<uint32_t>>::Create(chunk_count_ + 1);
  auto copies = LazyArray<std::atomic<uint32_t>>::Create(chunk_count_ + 1);
  auto frames = FrameAllocator::Create(anonymous_frames_ / kPagesPerHuge);
  if (!reserved.ok() || !counts.ok() || !chunks.ok() || !copies.ok() || !frames.ok()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot reserve ", window_bytes >> 30,
                     " GiB of address space for guest memory: raise the limit (ulimit -v) or ask "
                     "for less guest memory"));
  }
  base_ = window_.base();
  counts_ = std::move(counts).value();
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
  for (uint64_t i = 0; i < count; ++i) {
    counts_[grant->first + i].store(1, std::memory_order_relaxed);
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
  for (uint64_t i = first; i < first + run.count; ++i) AddReference(counts_[i]);
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
  uint64_t free_from = end;  // start of the current run of frames that are now free
  for (uint64_t i = first; i < end; ++i) {
    if (DropReference(counts_[i])) {
      free_from = std::min(free_from, i);
    } else if (free_from < i) {
      FreeRun(free_from, i - free_from);
      free_from = end;
    }
  }
  if (free_from < end) FreeRun(free_from, end - free_from);
}

uint32_t GuestMemory::RefCount(Frame frame) const {
  return counts_[Index(frame)].load(std::memory_order_acquire);
}

void GuestMemory::FreeRun(uint64_t first, uint64_t count) {
  ForEachBlock(first, count, [this](uint64_t part, uint64_t n) {
    if (part >= anonymous_frames_) {
      FreeFile(part, n);
    } else {
      FreeAnonymous(part, n);
    }
  });
}

void GuestMemory::FreeAnonymous(uint64_t first, uint64_t count) {
  std::optional<uint32_t> drained;
  bool divided = false;
  {
    absl::MutexLock lock(&mutex_);
    drained = frames_->Release(first, count);
    divided = drained.has_value() && frames_->TakeDivided(*drained);
  }
  if (!drained) return;
  // Without the lock: takes tens of microseconds, and nobody else uses the block meanwhile.
  window_.Discard(*drained * kHugePageSize, kHugePageSize);
  if (divided && KeepsTables()) window_.Unite(*drained * kHugePageSize);
  absl::MutexLock lock(&mutex_);
  frames_->Drained(*drained);
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

GuestMemory::Stats GuestMemory::GetStats() const {
  absl::MutexLock lock(&mutex_);
  return {.anonymous_bytes = frames_->used_frames() * kPageSize,
          .committed_bytes = frames_->committed_blocks() * kHugePageSize,
          .file_chunks = chunks_in_use_,
          .copied_bytes = copied_pages_ * kPageSize,
          .slots = slots_,
          .invalidations = notifications_.load(std::memory_order_relaxed),
          .forgotten = forgotten_.load(std::memory_order_relaxed)};
}

}  // namespace ringfence::platform
