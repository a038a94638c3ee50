// Call sites: SYSCALL instructions of a program that become jumps, on hosts where the instruction
// itself traps into the host (AddressSpace::AddCallSite; README.md, "Call sites").
//
// TrapCounter finds the ones worth it; KnownCallSites remembers, for a file, those that were, so
// that the next process has them from the start. How one is rewritten: call_site_rewrite.cc.
#ifndef RINGFENCE_SENTRY_MM_CALL_SITES_H_
#define RINGFENCE_SENTRY_MM_CALL_SITES_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/base/addr.h"
#include "sentry/mm/arch/call_site_code.h"

namespace ringfence::sentry {

// Counts the traps of one address space's SYSCALL instructions. Fixed size: where more are in use
// than there is room for, the ones that trap least are forgotten.
//
// Threads: any. Counts may be lost to races; nothing but speed depends on them.
class TrapCounter {
 public:
  // After so many traps they have cost as much as a rewrite does.
  static constexpr unsigned kWorthIt = 8;

  // One more trap of the instruction before `after`; true when it should be rewritten.
  bool Count(VirtAddr after);
  // It was, or (`forever`) cannot be.
  void Done(VirtAddr after, bool forever);
  // Every instruction that is counted.
  template <typename Fn>
  void Visit(Fn visit) const {
    for (const auto& set : sets_) {
      for (const Entry& entry : set) {
        const uint64_t value = entry.load(std::memory_order_relaxed);
        const unsigned count = value & kCountMask;
        if (count != 0 && count != kNever) visit(VirtAddr(value >> 8), count);
      }
    }
  }

 private:
  static constexpr size_t kSets = 64;
  static constexpr size_t kWays = 4;
  static constexpr uint64_t kCountMask = 0xff;
  static constexpr unsigned kNever = 255;
  using Entry = std::atomic<uint64_t>;  // address << 8 | count; 0 = free

  static size_t SetOf(VirtAddr after);

  std::array<std::array<Entry, kWays>, kSets> sets_{};
};

// What is known of the SYSCALL instructions of a file: how often processes have trapped there.
//
// Threads: any. mutex_ is a leaf.
class KnownCallSites {
 public:
  static constexpr size_t kMax = 1024;  // instructions; further ones are not kept

  // `traps` more at `offset` of the file, which surely is an instruction (IsSurelyCall): one
  // process decides here what others run.
  void Add(uint64_t offset, unsigned traps);

  // The pages of [page, page + count) with sites that are worth rewriting, ascending.
  std::vector<uint64_t> PagesIn(uint64_t page, uint64_t count) const;
  // What to rewrite in such a page of the file, in this order, if it holds `text`.
  std::vector<CallSite> SitesIn(uint64_t page, const TextPage& text);

 private:
  // The latest answer of SitesIn, and what it was to.
  struct Plan {
    uint64_t text_hash = 0;
    std::vector<CallSite> sites;
  };
  mutable absl::Mutex mutex_;
  std::map<uint64_t, unsigned> traps_ ABSL_GUARDED_BY(mutex_);  // by offset
  std::map<uint64_t, Plan> plans_ ABSL_GUARDED_BY(mutex_);      // by page
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_CALL_SITES_H_
