// Creation, limits and what execve recorded.
#include "sentry/mm/memory_manager.h"

#include <sys/random.h>

#include <algorithm>

#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

using platform::kUserEnd;

std::atomic<uint64_t> next_id{1};

uint64_t RandomBits(int bits) {
  uint64_t value = 0;
  if (getrandom(&value, sizeof(value), 0) != sizeof(value)) return 0;
  return value & ((uint64_t{1} << bits) - 1);
}

// mmap_base of arch/x86/mm/mmap.c: below the stack's limit, its random offset and its guard gap.
VirtAddr PickMmapBase(const MemoryManager::Options& options) {
  constexpr uint64_t kStackMaxRandom = uint64_t{0x3fffff} << kPageShift;
  const uint64_t pad = kStackGuardGap + (options.randomize ? kStackMaxRandom : 0);
  uint64_t gap = options.stack_limit;
  if (gap + pad > gap) gap += pad;
  gap = std::clamp(gap, uint64_t{128} << 20, kUserEnd.value() / 6 * 5);
  const uint64_t random = options.randomize ? RandomBits(28) << kPageShift : 0;
  return VirtAddr(PageDown(kUserEnd.value() - gap - random));
}

}  // namespace

Result<std::shared_ptr<MemoryManager>> MemoryManager::Create(platform::Platform* platform,
                                                             const Options& options) {
  std::unique_ptr<platform::AddressSpace> space = TRY(platform->NewAddressSpace());
  return std::shared_ptr<MemoryManager>(
      std::make_shared<MemoryManagerImpl>(platform, std::move(space), options));
}

MemoryManagerImpl::MemoryManagerImpl(platform::Platform* platform,
                                     std::unique_ptr<platform::AddressSpace> space,
                                     const Options& options)
    : platform_(platform),
      memory_(&platform->memory()),
      id_(next_id.fetch_add(1, std::memory_order_relaxed)),
      space_(std::move(space)),
      vmas_(this),
      mmap_base_(PickMmapBase(options)) {}

MemoryManagerImpl::~MemoryManagerImpl() {
  absl::MutexLock lock(&mutex_);
  NoteAllTrapsLocked();
  // The last task that used it has left the guest.
  space_->Dissolve([this](FrameRun run) { memory_->Unref(run); });
}

void MemoryManagerImpl::SetLimits(const Limits& limits) {
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
}

void MemoryManagerImpl::SetImageInfo(ImageInfo info) {
  absl::MutexLock lock(&mutex_);
  image_ = std::move(info);
}

MemoryManager::ImageInfo MemoryManagerImpl::GetImageInfo() const {
  absl::ReaderMutexLock lock(&mutex_);
  return image_;
}

}  // namespace ringfence::sentry
