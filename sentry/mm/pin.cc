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

  // Takes a reference on `frame`.
  void Add(Frame frame, size_t offset, size_t n) {
    const FrameRun one{frame, 1};
    memory_->Ref(one);
    std::byte* host = memory_->HostAddress(frame) + offset;
    if (!runs_.empty() && runs_.back().end() == frame) {
      ++runs_.back().count;
      iovecs_.back().iov_len += n;
    } else {
      runs_.push_back(one);
      iovecs_.push_back({host, n});
    }
    bytes_ += n;
    ++pages_;
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
  const auto add_present = [&]() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::ReaderMutexLock lock(&mutex_);
    while (pinned->bytes() < n && pinned->pages() < kMaxPinnedPages) {
      const VirtAddr at(addr.value() + pinned->bytes());
      if (at >= platform::kUserEnd) return;
      const auto leaf = space_->Lookup(at);
      if (!leaf || !(access == Access::kWrite ? leaf->prot.write : leaf->prot.read)) return;
      const size_t part = std::min<size_t>(n - pinned->bytes(), kPageSize - at.page_offset());
      pinned->Add(leaf->frame, at.page_offset(), part);
    }
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
