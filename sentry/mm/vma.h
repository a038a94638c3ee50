// Vma: one mapping of an address space (vm_area_struct), and the ordered map of them.
//
// Pure bookkeeping: page tables and frames are not touched here, but objects are told which of
// their pages an address space shows (Mappable::AddMapping), always before the old range is
// withdrawn, so that a truncation never misses one.
//
// Threads: guarded by the mm lock of the owner.
#ifndef RINGFENCE_SENTRY_MM_VMA_H_
#define RINGFENCE_SENTRY_MM_VMA_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "platform/base/addr.h"
#include "platform/base/result.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

inline constexpr uint64_t kMaxVmas = 65530;                  // vm.max_map_count
inline constexpr uint64_t kStackGuardGap = 256 * kPageSize;  // stack_guard_gap
inline constexpr VirtAddr kMmapMinAddr{65536};               // vm.mmap_min_addr

enum class HugePolicy : uint8_t { kDefault, kWanted, kNever };
enum class Locked : uint8_t { kNo, kYes, kOnFault };

// What two neighbours must agree on to become one.
struct VmaAttributes {
  Prot prot, max_prot;
  bool shared = false;
  bool grows_down = false;
  bool noreserve = false;
  bool dont_fork = false;     // MADV_DONTFORK
  bool wipe_on_fork = false;  // MADV_WIPEONFORK
  bool dont_dump = false;     // MADV_DONTDUMP
  HugePolicy huge = HugePolicy::kDefault;
  Locked locked = Locked::kNo;
  VmaKind kind = VmaKind::kAnonymous;
  MemoryPolicy policy;  // mbind(2)
  MappableRef object;
  std::string name;
  friend bool operator==(const VmaAttributes&, const VmaAttributes&) = default;
};

struct Vma : VmaAttributes {
  VirtRange range;
  uint64_t page = 0;  // the object's page at range.start; 0 without an object

  bool private_anonymous() const { return object == nullptr; }
  uint64_t PageAt(VirtAddr addr) const {
    return page + ((addr.value() - range.start.value()) >> kPageShift);
  }
  VmaInfo Info() const;  // as /proc/PID/maps shows it
  // Part of this VMA that lies in `r`, which overlaps it.
  VirtRange Clip(VirtRange r) const {
    return {r.start < range.start ? range.start : r.start, r.end < range.end ? r.end : range.end};
  }
  // The page-table rights of a leaf: x86-64 and arm64 cannot express write or exec without read.
  Prot LeafProt() const {
    Prot p = prot;
    p.read = p.any();
    return p;
  }
};

class VmaMap {
 public:
  using Map = std::map<uint64_t, Vma>;  // keyed by range.start

  explicit VmaMap(MemoryManager* owner) : owner_(owner) {}
  ~VmaMap();
  VmaMap(const VmaMap&) = delete;
  VmaMap& operator=(const VmaMap&) = delete;

  Map::iterator begin() { return map_.begin(); }
  Map::iterator end() { return map_.end(); }
  Map::const_iterator begin() const { return map_.begin(); }
  Map::const_iterator end() const { return map_.end(); }
  size_t size() const { return map_.size(); }

  Vma* Find(VirtAddr addr);
  const Vma* Find(VirtAddr addr) const { return const_cast<VmaMap*>(this)->Find(addr); }
  // First VMA that ends after `addr` (find_vma of Linux).
  Map::iterator From(VirtAddr addr);
  Map::const_iterator From(VirtAddr addr) const { return const_cast<VmaMap*>(this)->From(addr); }
  bool AnyIn(VirtRange range) const;
  // No hole in `range`.
  bool Covers(VirtRange range) const;

  // How many VMAs more there would be after Isolate(range).
  size_t SplitsFor(VirtRange range) const;
  // Makes the edges of `range` edges of VMAs.
  void Isolate(VirtRange range);
  // Adds a VMA where there is none, merging it with equal neighbours.
  void Insert(Vma vma);
  // Removes what lies in `range`; splits at its edges.
  void Remove(VirtRange range);
  // Applies `change` to every VMA in `range` (split at its edges), then merges equal neighbours.
  template <typename F>
  void Update(VirtRange range, F change) {
    Isolate(range);
    for (auto it = From(range.start); it != map_.end() && it->second.range.start < range.end;
         ++it) {
      change(it->second);
    }
    MergeIn(range);
  }
  // Moves an edge of `vma` (growth of a stack or in place by mremap); nothing may be in the way.
  void GrowDown(Map::iterator it, VirtAddr new_start);
  void GrowUp(Map::iterator it, VirtAddr new_end);

  // A free range of `length` bytes in [low, high), as high or as low as possible; keeps the guard
  // gap below stacks.
  // The former remembers where the search has to begin, so that a process with very many mappings
  // does not pass over all of them again and again.
  std::optional<VirtAddr> FindTopDown(uint64_t length, VirtAddr low, VirtAddr high);
  std::optional<VirtAddr> FindBottomUp(uint64_t length, VirtAddr low, VirtAddr high) const;

 private:
  void SplitAt(VirtAddr addr);
  void MergeIn(VirtRange range);
  Map::iterator MergeWithNext(Map::iterator it);
  void Announce(const Vma& vma);
  void Withdraw(const Vma& vma);
  static bool CanMerge(const Vma& a, const Vma& b);
  // The hole around `range`, which is free, has come up.
  void NoteHole(VirtRange range);

  MemoryManager* const owner_;
  Map map_;

  // For FindTopDown between these two: no hole of 2^n pages or more has its top above
  // full_above_[n].
  static constexpr unsigned kSizeClasses = 36;
  VirtAddr full_low_, full_high_;
  std::array<uint64_t, kSizeClasses> full_above_{};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_VMA_H_
