// Call sites become jumps: see README.md, "Call sites".
//
// A site is rewritten in a private copy of its page, as a debugger sets a breakpoint. Threads that
// run there meanwhile see the old instruction or the new one: the padding, which nothing else leads
// to, is written first, and the instruction by one store or by another frame.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "platform/mem/safe_copy.h"
#include "sentry/mm/memory_manager_impl.h"

namespace ringfence::sentry {
namespace {

using platform::Leaf;

bool HoldsText(const Vma& vma) {
  return vma.kind == VmaKind::kFile && vma.object != nullptr && !vma.shared && vma.prot.exec &&
         !vma.prot.write;
}

bool ReadPage(const std::byte* from, TextPage* page) {
  return platform::SafeCopy(page->data(), from, page->size()) == page->size();
}

// Writes what of `page` belongs to the site to `frame`; false: what somebody may be about to run
// is not in one word.
bool StoreInPlace(const CallSite& site, const TextPage& page, std::byte* frame) {
  if (site.number.has_value()) return false;
  const size_t word = site.call & ~size_t{3};
  if (site.call + kCallBytes > word + sizeof(uint32_t)) return false;
  uint32_t value;
  std::memcpy(&value, page.data() + word, sizeof(value));
  return platform::SafeCopy(frame + site.jump, page.data() + site.jump, site.jump_bytes()) ==
             site.jump_bytes() &&
         platform::SafeStore32(frame + word, value).ok();
}

}  // namespace

bool MemoryManagerImpl::CountTrap(VirtAddr after) { return traps_.Count(after); }

void MemoryManagerImpl::RewriteCallSite(VirtAddr after) {
  absl::MutexLock lock(&mutex_);
  const bool in_range = after.value() >= kCallBytes && after < platform::kUserEnd;
  const bool done = in_range && RewriteLocked(VirtAddr(after.value() - kCallBytes)).ok();
  traps_.Done(after, /*forever=*/!done);
}

Result<void> MemoryManagerImpl::RewriteLocked(VirtAddr call) {
  const Vma* const vma = vmas_.Find(call);
  if (vma == nullptr || !HoldsText(*vma)) return Errno::kOPNOTSUPP;
  const std::optional<Leaf> leaf = space_->Lookup(call);
  TextPage page;
  if (!leaf || !leaf->prot.exec || !ReadPage(memory_->HostAddress(leaf->frame), &page)) {
    return Errno::kOPNOTSUPP;
  }
  const std::optional<CallSite> site = FindCallSite(page, call.page_offset());
  if (!site.has_value()) return Errno::kOPNOTSUPP;
  NoteTraps(*vma, call, page, TrapCounter::kWorthIt);
  TRY(AddCallSiteLocked(*site, call.page_down(), &page));
  return StoreTextLocked(*vma, *site, call.page_down(), *leaf, page);
}

void MemoryManagerImpl::NoteTraps(const Vma& vma, VirtAddr call, const TextPage& page,
                                  unsigned traps) {
  KnownCallSites* const known = vma.object->known_call_sites();
  if (known == nullptr || !IsSurelyCall(page, call.page_offset())) return;
  known->Add((vma.PageAt(call) << kPageShift) + call.page_offset(), traps);
}

// What trapped a little in this process and in others is worth a rewrite in the next.
void MemoryManagerImpl::NoteAllTrapsLocked() {
  traps_.Visit([this](VirtAddr after, unsigned traps) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const VirtAddr call(after.value() - kCallBytes);
    const Vma* const vma = vmas_.Find(call);
    if (vma == nullptr || !HoldsText(*vma)) return;
    const std::optional<Leaf> leaf = space_->Lookup(call);
    TextPage page;
    if (!leaf || !ReadPage(memory_->HostAddress(leaf->frame), &page)) return;
    NoteTraps(*vma, call, page, traps);
  });
}

// Rewrites the site in `text`, a copy of the page at `va`. ENOSYS, ENOSPC, ENOMEM.
Result<void> MemoryManagerImpl::AddCallSiteLocked(const CallSite& site, VirtAddr va,
                                                  TextPage* text) {
  const VirtAddr call(va.value() + site.call);
  const VirtAddr after(call.value() + kCallBytes);
  const VirtAddr jump(va.value() + site.jump);
  Rewrite(site, TRY(space_->AddCallSite({after, jump, site.number})), text);
  call_sites_[call.value()] = site;
  return Ok();
}

// The page at `va`, which `leaf` maps, is to be as `page`. ENOMEM.
Result<void> MemoryManagerImpl::StoreTextLocked(const Vma& vma, const CallSite& site, VirtAddr va,
                                                const Leaf& leaf, const TextPage& page) {
  if (OwnedLocked(leaf) && StoreInPlace(site, page, memory_->HostAddress(leaf.frame))) return Ok();
  const FrameRun copy = TRY(memory_->Allocate(1));
  std::memcpy(memory_->HostAddress(copy.first), page.data(), page.size());
  const auto old = space_->Replace(va, copy.first, {.prot = vma.LeafProt()});
  if (!old.ok()) {
    memory_->Unref(copy);
    return old.error();
  }
  memory_->Unref({**old, 1});
  return Ok();
}

// Text is about to be somewhere else, where its sites would return to the old place.
Result<void> MemoryManagerImpl::RestoreCallSitesLocked(VirtRange range) {
  std::vector<std::pair<uint64_t, CallSite>> sites(call_sites_.lower_bound(range.start.value()),
                                                   call_sites_.lower_bound(range.end.value()));
  // Of sites that share a padding, the later one has the end of it.
  std::sort(sites.begin(), sites.end(), [](const auto& a, const auto& b) {
    return a.first - a.second.call + a.second.jump > b.first - b.second.call + b.second.jump;
  });
  for (const auto& [call, site] : sites) {
    const VirtAddr va = VirtAddr(call).page_down();
    const Vma* const vma = vmas_.Find(va);
    const std::optional<Leaf> leaf = space_->Lookup(va);
    TextPage page;
    // The program may have written there since.
    if (vma != nullptr && leaf && ReadPage(memory_->HostAddress(leaf->frame), &page) &&
        IsRewritten(site, page)) {
      Restore(site, &page);
      TRY(StoreTextLocked(*vma, site, va, *leaf, page));
    }
    call_sites_.erase(call);
  }
  return Ok();
}

bool MemoryManagerImpl::IsCallTail(VirtAddr addr) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto it = call_sites_.find(addr.value());
  return it != call_sites_.end() && it->second.number.has_value();
}

void MemoryManagerImpl::ForgetCallSitesLocked(VirtRange range) {
  call_sites_.erase(call_sites_.lower_bound(range.start.value()),
                    call_sites_.lower_bound(range.end.value()));
}

// A copy of the text page in `frame`, page `page` of an object, with its known sites rewritten.
// EOPNOTSUPP when none of them can be, EFAULT, ENOMEM.
Result<FrameRun> MemoryManagerImpl::CopyTextLocked(KnownCallSites& known, uint64_t page,
                                                   Frame frame, VirtAddr va) {
  TextPage text;
  if (!ReadPage(memory_->HostAddress(frame), &text)) return Errno::kFAULT;
  bool any = false;
  for (const CallSite& site : known.SitesIn(page, text)) {
    any |= AddCallSiteLocked(site, va, &text).ok();
  }
  if (!any) return Errno::kOPNOTSUPP;
  const FrameRun copy = TRY(memory_->Allocate(1));
  std::memcpy(memory_->HostAddress(copy.first), text.data(), text.size());
  return copy;
}

Result<void> MemoryManagerImpl::MapTextRunLocked(const Vma& vma, VirtAddr va, FrameRun run,
                                                 const MapOptions& options) {
  KnownCallSites* const known = HoldsText(vma) ? vma.object->known_call_sites() : nullptr;
  if (known == nullptr) return MapRunLocked(va, run, options);
  const uint64_t first = vma.PageAt(va);
  uint64_t mapped = 0;
  const auto map_to = [&](uint64_t end) ABSL_NO_THREAD_SAFETY_ANALYSIS -> Result<void> {
    if (end == mapped) return Ok();
    const FrameRun part{Frame{run.first.index + mapped}, end - mapped};
    const VirtAddr at(va.value() + mapped * kPageSize);
    mapped = end;
    return MapRunLocked(at, part, options);
  };
  const auto drop_rest = [&](Errno error) -> Result<void> {
    if (mapped < run.count) memory_->Unref({Frame{run.first.index + mapped}, run.count - mapped});
    return error;
  };
  for (const uint64_t page : known->PagesIn(first, run.count)) {
    const Frame frame{run.first.index + page - first};
    const VirtAddr at(va.value() + (page - first) * kPageSize);
    const Result<FrameRun> copy = CopyTextLocked(*known, page, frame, at);
    if (!copy.ok()) continue;  // the file's own page does as well
    if (const auto before = map_to(page - first); !before.ok()) {
      memory_->Unref(*copy);
      return drop_rest(before.error());
    }
    const auto own = MapRunLocked(at, *copy, {.prot = vma.LeafProt()});
    if (!own.ok()) return drop_rest(own.error());
    memory_->Unref({frame, 1});
    ++mapped;
  }
  if (const auto rest = map_to(run.count); !rest.ok()) return rest;
  return Ok();
}

}  // namespace ringfence::sentry
