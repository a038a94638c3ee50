#include "platform/kvm/vcpu.h"

#include <algorithm>

#include "platform/kvm/arch/x86_64/registers.h"
#include "platform/kvm/call_page_layout.h"

namespace ringfence::kvm {
namespace {

constexpr uint64_t kSyncAll = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
constexpr size_t kLongestOut = 4;

}  // namespace

Vcpu::Vcpu(VcpuFd fd, KernelImage* image, Flavour flavour, unsigned index)
    : PooledVcpu(index), fd_(std::move(fd)), image_(image) {
  SetFlavour(flavour);
}

void Vcpu::SetFlavour(Flavour flavour) {
  flavour_ = flavour;
  const TrampolineRegions& regions = TrampolineTable(flavour);
  geometry_ = {.trampoline = kTrampolineCode.value(),
               .out_offset = regions.exit,
               .exited_offset = regions.exited,
               .stubs = KernelImage::kStubs,
               .stub_bytes = KernelImage::kStubBytes,
               .vectors = kVectors,
               .exception_port = kExceptionPort,
               .call_port = CALL_PORT};
}

Result<std::unique_ptr<Vcpu>> Vcpu::Create(VmFd& vm, KernelImage* image, Flavour flavour,
                                           unsigned index) {
  TRY(image->PrepareVcpu(index));
  VcpuFd fd = TRY(vm.CreateVcpu(index));
  TRY(InitVcpu(fd, index, kTrampolineCode.value()));
  // The state that Load edits; KVM refreshes it at every exit from here on.
  fd.run()->s.regs.sregs = TRY(fd.GetSregs());
  fd.run()->kvm_valid_regs = kSyncAll;
  return std::unique_ptr<Vcpu>(new Vcpu(std::move(fd), image, flavour, index));
}

Result<void> Vcpu::SetSpace(KvmAddressSpace& space) {
  if (space.Id() == space_id_) return Ok();
  const KvmAddressSpace::VcpuView view = TRY(space.ViewFor(index(), image_->answers(index())));
  page_ = view.page;
  space_id_ = space.Id();
  root_ = view.root;
  root_changed_ = true;
  return Ok();
}

// A privileged vCPU that stopped at the stub's OUT is still in ring 0; SYSRET from there is cheaper
// than loading segments.
bool Vcpu::LoadForSysret(const platform::ArchState& state) {
  const kvm_regs& old = run()->s.regs.regs;
  if (flavour_ != Flavour::kPrivileged || run()->s.regs.sregs.cs.dpl != 0) return false;
  const uint64_t offset = TrampolineOffset(old.rip);
  if (offset != geometry_.out_offset && offset != geometry_.exited_offset) return false;
  if (state.rcx != state.rip || state.r11 != state.rflags) return false;
  if ((state.rflags & kFlagTf) != 0 || state.rip >= platform::kUserEnd.value()) return false;
  if (((state.rflags & kUserFlags) | kFixedFlags) != state.rflags) return false;
  kvm_regs* regs = &run()->s.regs.regs;
  ToKvmRegs(state, regs);
  regs->rip = geometry_.trampoline + geometry_.exited_offset;
  regs->rflags = 2;
  return true;
}

void Vcpu::Load(const platform::ArchState& state) {
  kvm_sregs* sregs = &run()->s.regs.sregs;
  bool changed = false;
  const uint64_t fs = CanonicalOrZero(state.fs_base);
  const uint64_t gs = CanonicalOrZero(state.gs_base);
  if (!bases_known_ || sregs->fs.base != fs || sregs->gs.base != gs) {
    sregs->fs.base = fs;
    sregs->gs.base = gs;
    bases_known_ = true;
    changed = true;
  }
  if (root_changed_) {
    sregs->cr3 = root_;
    root_changed_ = false;
    changed = true;
  }
  if (!LoadForSysret(state)) {
    ToKvmRegs(state, &run()->s.regs.regs);
    if (sregs->cs.dpl != 3 || sregs->ss.dpl != 3) {
      SetUserSegments(sregs);
      changed = true;
    }
  }
  // What was not entered yet stays dirty; KVM clears the bits.
  run()->kvm_dirty_regs |= KVM_SYNC_X86_REGS | (changed ? KVM_SYNC_X86_SREGS : 0);
}

void Vcpu::Adopt() {
  run()->immediate_exit = 1;
  (void)fd_.Run();  // EINTR, always
  run()->immediate_exit = 0;
}

DecodedExit Vcpu::Run() {
  RawExit raw;
  raw.error = fd_.Run();
  const kvm_run& r = *run();
  raw.reason = r.exit_reason;
  if (raw.error == 0 && raw.reason == KVM_EXIT_IO) {
    raw.io_in = r.io.direction == KVM_EXIT_IO_IN;
    raw.port = r.io.port;
  }
  raw.rip = r.s.regs.regs.rip;
  raw.cpl = r.s.regs.sregs.cs.dpl;
  if (raw.reason == KVM_EXIT_INTERNAL_ERROR) raw.suberror = r.internal.suberror;
  if (raw.reason == KVM_EXIT_FAIL_ENTRY) {
    raw.hardware_reason = r.fail_entry.hardware_entry_failure_reason;
  }
  raw.exception_pending =
      r.s.regs.events.exception.injected != 0 || r.s.regs.events.exception.pending != 0;
  return DecodeExit(raw, geometry_);
}

void Vcpu::Store(platform::ArchState* state) const {
  FromKvmRegs(run()->s.regs.regs, state);
  state->fs_base = run()->s.regs.sregs.fs.base;
  state->gs_base = run()->s.regs.sregs.gs.base;
}

RawException Vcpu::StoreException(uint8_t vector, platform::ArchState* state) const {
  Store(state);
  const KernelImage::ExceptionFrame frame = image_->ReadFrame(index());
  state->rip = frame.rip;
  state->rsp = frame.rsp;
  state->rflags = RingThreeFlags(frame.rflags);
  return {vector, frame.error_code, run()->s.regs.sregs.cr2, frame.rflags};
}

void Vcpu::StoreGuestIo(KvmAddressSpace& space, platform::ArchState* state) {
  Store(state);
  const auto io = run()->io;
  // KVM finishes an instruction at the next KVM_RUN, whatever the registers say by then. Have it
  // done now, with one repetition left at most, and take the registers of before.
  run()->s.regs.regs.rcx = 1;
  run()->kvm_dirty_regs = KVM_SYNC_X86_REGS;
  run()->immediate_exit = 1;
  for (int i = 0; i < 4 && fd_.Run() == 0; ++i) {
  }
  run()->immediate_exit = 0;
  if (io.direction == KVM_EXIT_IO_IN) return;

  uint8_t after[kLongestOut];
  const size_t after_bytes = space.PeekCode(VirtAddr(state->rip), after, sizeof(after));
  uint8_t before[kLongestOut];
  size_t before_bytes = std::min<uint64_t>(kLongestOut, state->rip);
  while (before_bytes > 0 && space.PeekCode(VirtAddr(state->rip - before_bytes), before,
                                            before_bytes) != before_bytes) {
    --before_bytes;
  }
  const OutInstruction out = DecodeOut(before, before_bytes, after, after_bytes, io.port);
  state->rip -= out.advanced;
  if (!out.string) return;
  const uint64_t moved = uint64_t{io.count} * io.size;
  state->rsi += (state->rflags & kFlagDf) != 0 ? moved : -moved;
  if (out.repeated) state->rcx += io.count;
}

}  // namespace ringfence::kvm
