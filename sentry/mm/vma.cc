#include "sentry/mm/vma.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

namespace ringfence::sentry {
namespace {

// Lowest address that must stay free because of `vma` (vm_start_gap).
uint64_t StartWithGap(const Vma& vma) {
  const uint64_t start = vma.range.start.value();
  if (!vma.grows_down) return start;
  return start > kStackGuardGap ? start - kStackGuardGap : 0;
}

}  // namespace

VmaInfo Vma::Info() const {
  VmaInfo info{.range = range,
               .prot = prot,
               .shared = shared && kind != VmaKind::kVvar,
               .offset = 0,
               .device = 0,
               .inode = 0,
               .name = name};
  if (object == nullptr || kind == VmaKind::kVdso || kind == VmaKind::kVvar) return info;
  info.offset = page * kPageSize;
  info.device = object->DeviceId();
  info.inode = object->InodeNumber();
  if (info.name.empty()) info.name = object->MappedName();
  return info;
}

VmaMap::~VmaMap() {
  for (const auto& [start, vma] : map_) Withdraw(vma);
}

Vma* VmaMap::Find(VirtAddr addr) {
  auto it = From(addr);
  return it != map_.end() && it->second.range.start <= addr ? &it->second : nullptr;
}

VmaMap::Map::iterator VmaMap::From(VirtAddr addr) {
  auto it = map_.upper_bound(addr.value());
  if (it != map_.begin()) {
    auto before = std::prev(it);
    if (before->second.range.end > addr) return before;
  }
  return it;
}

bool VmaMap::AnyIn(VirtRange range) const {
  auto it = From(range.start);
  return it != map_.end() && it->second.range.start < range.end;
}

bool VmaMap::Covers(VirtRange range) const {
  VirtAddr at = range.start;
  for (auto it = From(at); at < range.end; ++it) {
    if (it == map_.end() || it->second.range.start > at) return false;
    at = it->second.range.end;
  }
  return true;
}

size_t VmaMap::SplitsFor(VirtRange range) const {
  const Vma* first = Find(range.start);
  const Vma* last = Find(range.end);
  size_t splits = 0;
  if (first != nullptr && first->range.start < range.start) ++splits;
  if (last != nullptr && last->range.start < range.end) ++splits;
  return splits;
}

void VmaMap::SplitAt(VirtAddr addr) {
  auto it = From(addr);
  if (it == map_.end() || it->second.range.start >= addr) return;
  const Vma whole = it->second;
  Vma upper = whole;
  upper.range.start = addr;
  if (upper.object != nullptr) upper.page = whole.PageAt(addr);
  Vma& lower = it->second;
  lower.range.end = addr;
  Announce(lower);
  Announce(upper);
  map_.emplace_hint(std::next(it), addr.value(), std::move(upper));
  Withdraw(whole);
}

void VmaMap::Isolate(VirtRange range) {
  SplitAt(range.start);
  SplitAt(range.end);
}

void VmaMap::Insert(Vma vma) {
  const VirtRange range = vma.range;
  Announce(vma);
  map_.emplace(range.start.value(), std::move(vma));
  MergeIn(range);
}

void VmaMap::Remove(VirtRange range) {
  Isolate(range);
  auto it = From(range.start);
  while (it != map_.end() && it->second.range.start < range.end) {
    Withdraw(it->second);
    it = map_.erase(it);
  }
  NoteHole(range);
}

void VmaMap::GrowDown(Map::iterator it, VirtAddr new_start) {
  auto node = map_.extract(it);
  const Vma old = node.mapped();
  Vma& vma = node.mapped();
  if (vma.object != nullptr)
    vma.page -= (vma.range.start.value() - new_start.value()) >> kPageShift;
  vma.range.start = new_start;
  node.key() = new_start.value();
  Announce(vma);
  Withdraw(old);
  map_.insert(std::move(node));
}

void VmaMap::GrowUp(Map::iterator it, VirtAddr new_end) {
  const Vma old = it->second;
  it->second.range.end = new_end;
  Announce(it->second);
  Withdraw(old);
  MergeIn(it->second.range);
}

bool VmaMap::CanMerge(const Vma& a, const Vma& b) {
  if (a.range.end != b.range.start) return false;
  if (static_cast<const VmaAttributes&>(a) != static_cast<const VmaAttributes&>(b)) return false;
  return a.object == nullptr || a.PageAt(a.range.end) == b.page;
}

// Merges `it` with its successor while they are alike; returns what is left.
VmaMap::Map::iterator VmaMap::MergeWithNext(Map::iterator it) {
  for (auto next = std::next(it); next != map_.end() && CanMerge(it->second, next->second);) {
    const Vma lower = it->second;
    it->second.range.end = next->second.range.end;
    Announce(it->second);
    Withdraw(lower);
    Withdraw(next->second);
    next = map_.erase(next);
  }
  return it;
}

void VmaMap::MergeIn(VirtRange range) {
  auto it = From(range.start);
  if (it != map_.begin()) it = std::prev(it);
  while (it != map_.end() && it->second.range.start <= range.end) {
    it = std::next(MergeWithNext(it));
  }
}

void VmaMap::Announce(const Vma& vma) {
  if (vma.object != nullptr) vma.object->AddMapping(owner_, vma.range, vma.page);
}

void VmaMap::Withdraw(const Vma& vma) {
  if (vma.object != nullptr) vma.object->RemoveMapping(owner_, vma.range, vma.page);
}

void VmaMap::NoteHole(VirtRange range) {
  const auto next = From(range.start);
  uint64_t top = next == map_.end() ? full_high_.value() : StartWithGap(next->second);
  top = std::min(top, full_high_.value());
  const uint64_t bottom = next == map_.begin() ? 0 : std::prev(next)->second.range.end.value();
  for (unsigned n = 0; n < kSizeClasses; ++n) {
    if (top < bottom || (top - bottom) >> kPageShift >> n == 0) break;
    full_above_[n] = std::max(full_above_[n], top);
  }
}

std::optional<VirtAddr> VmaMap::FindTopDown(uint64_t length, VirtAddr low, VirtAddr high) {
  if (low != full_low_ || high != full_high_) {
    full_low_ = low;
    full_high_ = high;
    full_above_.fill(high.value());
  }
  const unsigned size_class =
      std::min<unsigned>(std::bit_width(length >> kPageShift) - 1, kSizeClasses - 1);
  uint64_t& full_above = full_above_[size_class];
  bool full = true;  // so far
  uint64_t top = full_above;
  // From the first VMA that ends after `top` downwards: the gap below each is tried in turn.
  auto it = From(VirtAddr(top));
  if (it != map_.end() && StartWithGap(it->second) < top) top = StartWithGap(it->second);
  while (true) {
    const bool first = it == map_.begin();
    uint64_t bottom = first ? 0 : std::prev(it)->second.range.end.value();
    if (bottom < low.value()) bottom = low.value();
    if (full) {
      full_above = top;
      full = top < bottom || (top - bottom) >> kPageShift >> size_class == 0;
    }
    if (top > bottom && top - bottom >= length) return VirtAddr(top - length);
    if (first || std::prev(it)->second.range.start <= low) return std::nullopt;
    --it;
    if (StartWithGap(it->second) < top) top = StartWithGap(it->second);
  }
}

std::optional<VirtAddr> VmaMap::FindBottomUp(uint64_t length, VirtAddr low, VirtAddr high) const {
  uint64_t bottom = low.value();
  for (auto it = From(low);; ++it) {
    uint64_t top = it == map_.end() ? high.value() : StartWithGap(it->second);
    if (top > high.value()) top = high.value();
    if (top > bottom && top - bottom >= length) return VirtAddr(bottom);
    if (it == map_.end() || it->second.range.end >= high) return std::nullopt;
    if (it->second.range.end.value() > bottom) bottom = it->second.range.end.value();
  }
}

}  // namespace ringfence::sentry
