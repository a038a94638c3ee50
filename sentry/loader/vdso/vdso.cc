#include "sentry/loader/vdso/vdso.h"

#include <algorithm>
#include <cstring>

#include "platform/mem/safe_copy.h"
#include "sentry/loader/vdso/image.h"

namespace ringfence::sentry {
namespace {

// A fixed run of frames as an object; holds one reference on each.
class FixedFrames final : public Mappable {
 public:
  FixedFrames(platform::GuestMemory* memory, FrameRun run) : memory_(memory), run_(run) {}
  ~FixedFrames() override { memory_->Unref(run_); }

  Result<FrameRun> GetFrames(uint64_t page, uint64_t count, Access access) override {
    (void)access;
    if (page >= run_.count) return Errno::kFAULT;
    const FrameRun part{Frame{run_.first.index + page}, std::min(count, run_.count - page)};
    memory_->Ref(part);
    return part;
  }
  void AddMapping(MemoryManager*, VirtRange, uint64_t) override {}
  void RemoveMapping(MemoryManager*, VirtRange, uint64_t) override {}
  std::string MappedName() const override { return ""; }

 private:
  platform::GuestMemory* const memory_;
  const FrameRun run_;
};

}  // namespace

Result<std::unique_ptr<Vdso>> Vdso::Create(platform::Platform* platform) {
  platform::GuestMemory& memory = platform->memory();
  const absl::Span<const unsigned char> image = VdsoImage();
  const uint64_t pages = (image.size() + kPageMask) >> kPageShift;
  auto vdso = std::unique_ptr<Vdso>(new Vdso);

  const FrameRun code = TRY(memory.Allocate(pages));
  vdso->code_ = std::make_shared<FixedFrames>(&memory, code);
  vdso->code_bytes_ = pages * kPageSize;
  const size_t copied =
      platform::SafeCopy(memory.HostAddress(code.first), image.data(), image.size());
  if (copied != image.size()) return Errno::kNOMEM;

  const FrameRun page = TRY(memory.Allocate(1));
  vdso->vvar_ = std::make_shared<FixedFrames>(&memory, page);
  vdso->time_ =
      std::make_unique<TimePage>(&memory, page.first, platform->TscKhz(), platform->TscOffset());
  return vdso;
}

Result<VirtAddr> Vdso::Map(MemoryManager& mm) const {
  MapRequest request;
  request.length = kPageSize + code_bytes_;
  request.prot = Prot::None();
  const VirtAddr at = TRY(mm.Map(request));  // finds the place for both

  request.addr = at;
  request.fixed = true;
  request.length = kPageSize;
  request.prot = Prot::R();
  request.max_prot = {true, false, false};
  request.shared = true;
  request.kind = VmaKind::kVvar;
  request.object = vvar_;
  request.name = "[vvar]";
  TRY(mm.Map(request));

  const VirtAddr code(at.value() + kPageSize);
  request.addr = code;
  request.length = code_bytes_;
  request.prot = Prot::RX();
  request.max_prot = {true, true, true};  // debuggers set breakpoints: copied on write
  request.shared = false;
  request.kind = VmaKind::kVdso;
  request.object = code_;
  request.name = "[vdso]";
  TRY(mm.Map(request));
  return code;
}

}  // namespace ringfence::sentry
