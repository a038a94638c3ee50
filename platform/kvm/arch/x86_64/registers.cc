#include "platform/kvm/arch/x86_64/registers.h"

#include "platform/kvm/arch/x86_64/cpuid_filter.h"
#include "platform/kvm/arch/x86_64/kernel_image.h"

namespace ringfence::kvm {
namespace {

constexpr uint64_t kCr0 = 0x80050033;  // PG AM WP NE ET MP PE
constexpr uint64_t kCr4 =
    1 << 5 | 1 << 9 | 1 << 10 | 1 << 16 | 1 << 18;               // PAE OSFXSR
                                                                 // OSXMMEXCPT FSGSBASE OSXSAVE
constexpr uint64_t kEfer = 1 << 0 | 1 << 8 | 1 << 10 | 1 << 11;  // SCE LME LMA NXE
constexpr uint32_t kMsrStar = 0xc0000081;
constexpr uint32_t kMsrLstar = 0xc0000082;
constexpr uint32_t kMsrSfmask = 0xc0000084;
constexpr uint64_t kSyscallFlagMask = 0x44700;  // TF IF DF NT AC

kvm_segment FlatSegment(uint16_t selector, uint8_t type, uint8_t dpl) {
  kvm_segment s = {};
  s.limit = 0xffffffff;
  s.selector = selector;
  s.type = type;
  s.present = 1;
  s.dpl = dpl;
  s.s = 1;
  s.g = 1;
  s.db = type == 3;
  s.l = type == 11;
  return s;
}

}  // namespace

void ToKvmRegs(const platform::ArchState& s, kvm_regs* r) {
  r->rax = s.rax;
  r->rbx = s.rbx;
  r->rcx = s.rcx;
  r->rdx = s.rdx;
  r->rsi = s.rsi;
  r->rdi = s.rdi;
  r->rsp = s.rsp;
  r->rbp = s.rbp;
  r->r8 = s.r8;
  r->r9 = s.r9;
  r->r10 = s.r10;
  r->r11 = s.r11;
  r->r12 = s.r12;
  r->r13 = s.r13;
  r->r14 = s.r14;
  r->r15 = s.r15;
  r->rip = s.rip;
  r->rflags = (s.rflags & kUserFlags) | kFixedFlags;
}

void FromKvmRegs(const kvm_regs& r, platform::ArchState* s) {
  s->rax = r.rax;
  s->rbx = r.rbx;
  s->rcx = r.rcx;
  s->rdx = r.rdx;
  s->rsi = r.rsi;
  s->rdi = r.rdi;
  s->rsp = r.rsp;
  s->rbp = r.rbp;
  s->r8 = r.r8;
  s->r9 = r.r9;
  s->r10 = r.r10;
  s->r11 = r.r11;
  s->r12 = r.r12;
  s->r13 = r.r13;
  s->r14 = r.r14;
  s->r15 = r.r15;
  s->rip = r.rip;
  s->rflags = RingThreeFlags(r.rflags);
}

void SetUserSegments(kvm_sregs* sregs) {
  sregs->cs = FlatSegment(kUserCs, 11, 3);
  sregs->ss = FlatSegment(kUserSs, 3, 3);
}

uint64_t CanonicalOrZero(uint64_t address) {
  const int64_t high = static_cast<int64_t>(address) >> 47;
  return high == 0 || high == -1 ? address : 0;
}

Result<void> InitVcpu(VcpuFd& fd, unsigned index, uint64_t lstar) {
  const std::vector<kvm_cpuid_entry2>& cpuid = HostCpuidForGuest();
  TRY(fd.SetCpuid(cpuid.data(), cpuid.size()));
  kvm_sregs sregs = TRY(fd.GetSregs());
  sregs.cr0 = kCr0;
  sregs.cr4 = kCr4;
  sregs.efer = kEfer;
  SetUserSegments(&sregs);
  // Null selectors as Linux leaves them, but usable: FS and GS have bases.
  sregs.ds = sregs.es = sregs.fs = sregs.gs = FlatSegment(0, 3, 3);
  sregs.gdt = {};
  sregs.gdt.base = KernelImage::kGdt;
  sregs.gdt.limit = KernelImage::kGdtLimit;
  sregs.idt = {};
  sregs.idt.base = KernelImage::kIdt;
  sregs.idt.limit = KernelImage::kIdtLimit;
  // No LDT: without a limit of 0, KVM's emulator would read descriptors at guest address 0.
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.tr = KernelImage::TaskSegment(index);
  TRY(fd.SetSregs(sregs));
  TRY(fd.SetXcr0(platform::GuestFpuLayout().components));
  // Guests read the host's counter where KVM can arrange it; the probe finds out what they see.
  (void)fd.SetTscOffset(0);
  const VcpuFd::Msr msrs[] = {
      // SYSRET takes CS = base + 16 and SS = base + 8; SYSCALL kernel CS, SS behind it.
      {kMsrStar, uint64_t{kUserSs - 8} << 48 | uint64_t{kKernelCs} << 32},
      {kMsrLstar, lstar},
      {kMsrSfmask, kSyscallFlagMask},
  };
  return fd.SetMsrs(msrs, 3);
}

}  // namespace ringfence::kvm
