// Pinned pages of guest memory (get_user_pages).
#include <algorithm>

#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kMaxPinnedPages = 256;

class PinnedPages final : public MemoryManager::Pinned {
 public:
  explicit PinnedPages(platform::GuestMemory* memory) : memory_(memory) {}
  ~PinnedPages() override {
    for (const FrameRun& run : runs_) memory_->Unref(run);
  }
  absl::Span<const struct iovec> iovecs() const override { return iovecs_; }
  size_t bytes() const override { return bytes_; }
  size_t pages() const { return pages_; }

  // Takes a reference on each frame; the bytes begin `offset` into the first.
  void Add(FrameRun run, size_t offset, size_t n) {
    memory_->Ref(run);
    if (!runs_.empty() && runs_.back().end() == run.first) {
      runs_.back().count += run.count;
      iovecs_.back().iov_len += n;
    } else {
      runs_.push_back(run);
      iovecs_.push_back({memory_->HostAddress(run.first) + offset, n});
    }
    bytes_ += n;
    pages_ += run.count;
  }

 private:
  platform::GuestMemory* const memory_;
  std::vector<FrameRun> runs_;
  std::vector<struct iovec> iovecs_;
  size_t bytes_ = 0;
  size_t pages_ = 0;
};

}  // namespace

Result<std::unique_ptr<MemoryManager::Pinned>> MemoryManagerImpl::Pin(VirtAddr addr, size_t n,
                                                                      Access access) {
  if (n == 0 || addr.value() + n < addr.value()) return Errno::kFAULT;
  auto pinned = std::make_unique<PinnedPages>(memory_);
  // Adds what follows and is there, up to the first page that is not.
  const auto add_present = [&]() ABSL_LOCKS_EXCLUDED(mutex_) {
    const VirtAddr first(addr.value() + pinned->bytes());
    const uint64_t most = (kMaxPinnedPages - pinned->pages()) * kPageSize;
    const uint64_t end = std::min(addr.value() + n, platform::kUserEnd.value());
    const VirtRange range{first.page_down(), VirtAddr(std::min(first.page_down().value() + most,
                                                               PageDown(end + kPageMask)))};
    if (first >= platform::kUserEnd) return;
    absl::ReaderMutexLock lock(&mutex_);
    space_->Visit(range, [&](VirtAddr va, FrameRun run, const platform::Leaf& leaf) {
      const VirtAddr at(addr.value() + pinned->bytes());
      if (va != at.page_down()) return;  // after a hole
      if (!(access == Access::kWrite ? leaf.prot.write : leaf.prot.read)) return;
      const size_t there = run.count * kPageSize - at.page_offset();
      pinned->Add(run, at.page_offset(), std::min<size_t>(n - pinned->bytes(), there));
    });
  };
  while (true) {
    add_present();
    if (pinned->bytes() == n || pinned->pages() == kMaxPinnedPages) break;
    const VirtAddr at(addr.value() + pinned->bytes());
    if (HandleFault(at, access) == FaultResult::kHandled) continue;
    if (pinned->bytes() == 0) return Errno::kFAULT;
    break;
  }
  return std::unique_ptr<Pinned>(std::move(pinned));
}

}  // namespace ringfence::sentry
