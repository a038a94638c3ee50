// Page-table entries of x86-64 with 4-level paging (SDM vol. 3, 4.5; APM vol. 2, 5.3).
//
// Architecture-neutral code includes this as "platform/mem/arch/pte.h".
//
// An entry of zero is empty. Table entries are present, writable and user-accessible: leaves alone
// decide. A leaf has kSoftLeaf set; with Prot none it is not present but keeps its frame, and so
// does a folded one (kSoftFolded), which keeps its rights as well. Accessed
// and Dirty are preset so that the CPU never writes to a table. Memory types: write-back.
#ifndef RINGFENCE_PLATFORM_MEM_ARCH_X86_64_PTE_H_
#define RINGFENCE_PLATFORM_MEM_ARCH_X86_64_PTE_H_

#include <cstdint>

#include "platform/base/addr.h"

namespace ringfence::platform::pte {

inline constexpr int kLevels = 4;          // root is level 3, page tables are level 0
inline constexpr int kHugeLevel = 1;       // where a leaf may map 2 MiB
inline constexpr uint64_t kEntries = 512;  // per table
inline constexpr int kIndexBits = 9;
inline constexpr uint64_t kAddressBits = 48;
// Root entries of the platform, 512 GiB each. The highest is left to pages of single spaces: only
// there, and in the lowest 2 GiB, does an instruction reach an address that it names in 32 bits.
inline constexpr uint64_t kKernelRootIndex = 510;  // SetKernelTable's: shared by all spaces
inline constexpr uint64_t kOwnRootIndex = 402;     // what each root of a space has for itself

inline constexpr uint64_t kPresent = uint64_t{1} << 0;
inline constexpr uint64_t kWrite = uint64_t{1} << 1;
inline constexpr uint64_t kUser = uint64_t{1} << 2;
inline constexpr uint64_t kAccessed = uint64_t{1} << 5;
inline constexpr uint64_t kDirty = uint64_t{1} << 6;
inline constexpr uint64_t kHuge = uint64_t{1} << 7;  // PS; only at kHugeLevel
inline constexpr uint64_t kSoftLeaf = uint64_t{1} << 9;
inline constexpr uint64_t kSoftCow = uint64_t{1} << 10;
inline constexpr uint64_t kSoftShared = uint64_t{1} << 11;
// A 2 MiB leaf that the CPU is not to see: 512 small ones that nobody has asked for yet.
inline constexpr uint64_t kSoftFolded = uint64_t{1} << 52;
inline constexpr uint64_t kNoExecute = uint64_t{1} << 63;
inline constexpr uint64_t kFrameMask = 0x000ffffffffff000;
inline constexpr uint64_t kRights = kPresent | kWrite | kNoExecute;

// Bytes mapped by one entry of a table at `level`, as a power of two.
constexpr int Shift(int level) { return static_cast<int>(kPageShift) + kIndexBits * level; }
constexpr uint64_t Index(uint64_t va, int level) { return (va >> Shift(level)) & (kEntries - 1); }

constexpr bool IsEmpty(uint64_t entry) { return entry == 0; }
constexpr bool IsLeaf(uint64_t entry) { return (entry & kSoftLeaf) != 0; }
constexpr bool IsFolded(uint64_t entry) { return (entry & kSoftFolded) != 0; }
constexpr Frame FrameOf(uint64_t entry) { return Frame{(entry & kFrameMask) >> kPageShift}; }

constexpr uint64_t Table(Frame frame) {
  return frame.phys() | kPresent | kWrite | kUser | kAccessed;
}

// x86 cannot express write or execute without read.
constexpr uint64_t Rights(Prot prot) {
  return (prot.any() ? kPresent : 0) | (prot.write ? kWrite : 0) | (prot.exec ? 0 : kNoExecute);
}
constexpr uint64_t UserLeaf(Frame frame, Prot prot) {
  return frame.phys() | Rights(prot) | kUser | kAccessed | kDirty | kSoftLeaf;
}
constexpr uint64_t SupervisorLeaf(Frame frame, Prot prot) {
  return frame.phys() | Rights(prot) | kAccessed | kDirty | kSoftLeaf;
}
constexpr uint64_t WithRights(uint64_t leaf, Prot prot) { return (leaf & ~kRights) | Rights(prot); }
constexpr uint64_t WithoutWrite(uint64_t leaf) { return leaf & ~kWrite; }
constexpr Prot ProtOf(uint64_t leaf) {
  const bool present = (leaf & (kPresent | kSoftFolded)) != 0;
  return {present, present && (leaf & kWrite) != 0, present && (leaf & kNoExecute) == 0};
}
// A translation loaded from `before` must not be used once `after` holds.
constexpr bool IsDowngrade(uint64_t before, uint64_t after) {
  if ((before & kPresent) == 0) return false;
  const uint64_t lost =
      (before & ~after & (kPresent | kWrite | kUser)) | (~before & after & kNoExecute);
  return lost != 0 || FrameOf(before) != FrameOf(after);
}

// A present 2 MiB leaf, as long as it is not cut.
constexpr uint64_t Folded(uint64_t huge) { return (huge & ~kPresent) | kSoftFolded; }
// What the 4 KiB entry number `index` is when the 2 MiB leaf `huge` is cut into 512.
constexpr uint64_t SplitPart(uint64_t huge, uint64_t index) {
  const uint64_t seen = IsFolded(huge) ? (huge & ~kSoftFolded) | kPresent : huge;
  return (seen & ~kHuge) + (index << kPageShift);
}

}  // namespace ringfence::platform::pte

#endif  // RINGFENCE_PLATFORM_MEM_ARCH_X86_64_PTE_H_
