#include "platform/kvm/arch/x86_64/call_stubs.h"

#include <cstring>

namespace ringfence::kvm {
namespace {

constexpr size_t kCodeOffset = 8;  // in a stub
static_assert(kCallStubs >> 16 == 0xffffffff80cd);
static_assert(CallStubs::kMaxPages * kPageSize <= 0x10000);

// Sign-extended, these are the addresses they came from.
uint32_t Low32(uint64_t address) { return static_cast<uint32_t>(address); }

uint64_t PageAddress(size_t page) { return kCallStubs + page * kPageSize; }

// SDM vol. 2: MOV r32, imm32; NOP r/m32 with disp8 and SIB; MOV r64, imm64; JMP r/m64 with SIB and
// no base.
void WriteCode(std::byte* at, const platform::AddressSpace::CallSite& site, uint64_t entry) {
  const uint64_t after = site.after.value();
  const uint32_t entry32 = Low32(entry);
  constexpr uint8_t kNop[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  constexpr uint8_t kLoadEax[] = {0xb8};
  constexpr uint8_t kLoadRcx[] = {0x48, 0xb9};
  constexpr uint8_t kJump[] = {0xff, 0x24, 0x25};
  std::memcpy(at, kNop, sizeof(kNop));
  if (site.number.has_value()) {
    std::memcpy(at, kLoadEax, sizeof(kLoadEax));
    std::memcpy(at + 1, &*site.number, sizeof(*site.number));
  }
  std::memcpy(at + 5, kLoadRcx, sizeof(kLoadRcx));
  std::memcpy(at + 7, &after, sizeof(after));
  std::memcpy(at + 15, kJump, sizeof(kJump));
  std::memcpy(at + 18, &entry32, sizeof(entry32));
}

}  // namespace

Result<void> CallStubs::AddPage() {
  if (pages_.size() == kMaxPages) return Errno::kNOSPC;
  const FrameRun frame = TRY(memory_->Allocate(1));
  std::byte* const page = memory_->HostAddress(frame.first);
  std::memcpy(page, &direct_, sizeof(direct_));
  Result<void> mapped = space_->MapPlatformPage(VirtAddr(PageAddress(pages_.size())), frame.first,
                                                Prot::RX(), /*user=*/true);
  if (!mapped.ok()) {
    memory_->Unref(frame);
    return mapped.error();
  }
  pages_.push_back(page);
  return Ok();
}

Result<uint32_t> CallStubs::Add(const CallSite& site) {
  // The same site again, where the program has had its text read anew.
  const auto known = stubs_.find(site.jump.value());
  const bool again = known != stubs_.end() && sites_[known->second].after == site.after &&
                     sites_[known->second].number == site.number;
  const size_t stub = again ? known->second : sites_.size();
  const uint64_t page = PageAddress(stub / kStubsPerPage);
  const uint64_t slot = page + (stub % kStubsPerPage + 1) * kStubBytes;
  if (again) return Low32(slot);
  if (stub == pages_.size() * kStubsPerPage) TRY(AddPage());
  const uint64_t code = slot + kCodeOffset;
  std::byte* const at = pages_[stub / kStubsPerPage] + slot % kPageSize;
  WriteCode(at + kCodeOffset, site, page);
  std::memcpy(at, &code, sizeof(code));
  sites_.push_back(site);
  stubs_[site.jump.value()] = stub;
  return Low32(slot);
}

Result<void> CallStubs::CopyTo(CallStubs& other) const {
  for (const std::byte* page : pages_) {
    TRY(other.AddPage());
    std::memcpy(other.pages_.back(), page, kPageSize);
  }
  other.sites_ = sites_;
  other.stubs_ = stubs_;
  return Ok();
}

std::optional<CallStubs::CallSite> CallStubs::SiteOf(VirtAddr rip) const {
  if (rip.value() >= kCallStubs) {
    const uint64_t distance = rip.value() - kCallStubs;
    const uint64_t in_page = distance % kPageSize / kStubBytes;
    const uint64_t stub = distance / kPageSize * kStubsPerPage + in_page - 1;
    if (in_page == 0 || stub >= sites_.size()) return std::nullopt;
    return sites_[stub];
  }
  const auto found = stubs_.find(rip.value());
  // Where the load of eax was, a program stops in its own right.
  if (found == stubs_.end() || sites_[found->second].number.has_value()) return std::nullopt;
  return sites_[found->second];
}

}  // namespace ringfence::kvm
