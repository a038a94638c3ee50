#include "platform/kvm/arch/x86_64/cpuid_filter.h"

#include <cpuid.h>

#include <algorithm>

namespace ringfence::kvm {
namespace {

using platform::FpuLayout;

constexpr uint32_t Bit(unsigned n) { return uint32_t{1} << n; }
constexpr uint32_t kExtended = 0x80000000;
constexpr uint32_t kHypervisor = 0x40000000;
constexpr uint32_t kAvx512Bytes = 64 + 512 + 1024;  // masks, upper halves, 16 more registers

// Leaf 1.
constexpr uint32_t kHidden1Ecx = Bit(3) /* MONITOR */ | Bit(2) /* DTES64 */ | Bit(5) /* VMX */ |
                                 Bit(6) /* SMX */ | Bit(15) /* PDCM */ | Bit(18) /* DCA */ |
                                 Bit(24) /* TSC deadline */;
constexpr uint32_t k1EcxHypervisor = Bit(31);
// Leaf 7, subleaf 0.
constexpr uint32_t kHidden7Ebx =
    Bit(2) /* SGX */ | Bit(4) /* HLE */ | Bit(11) /* RTM */ | Bit(14) /* MPX */ | Bit(25) /* PT */;
constexpr uint32_t kAvx512In7Ebx =
    Bit(16) | Bit(17) | Bit(21) | Bit(26) | Bit(27) | Bit(28) | Bit(30) | Bit(31);
constexpr uint32_t kHidden7Ecx = Bit(3) /* PKU */ | Bit(4) /* OSPKE */ | Bit(5) /* WAITPKG */ |
                                 Bit(7) /* SHSTK */ | Bit(16) /* LA57 */ | Bit(23) /* KL */ |
                                 Bit(29) /* ENQCMD */ | Bit(30) /* SGX */ | Bit(31) /* PKS */;
constexpr uint32_t kAvx512In7Ecx = Bit(1) | Bit(6) | Bit(11) | Bit(12) | Bit(14);
constexpr uint32_t kHidden7Edx = Bit(5) /* UINTR */ | Bit(11) | Bit(13) /* TSX */ |
                                 Bit(20) /* IBT */ | Bit(22) | Bit(24) | Bit(25) /* AMX */;
constexpr uint32_t kAvx512In7Edx = Bit(2) | Bit(3) | Bit(8) | Bit(23);
constexpr uint32_t kKept7Sub1Eax = Bit(0) | Bit(1) | Bit(2) /* SHA512 SM3 SM4 */ |
                                   Bit(4) /* AVX-VNNI */ | Bit(10) | Bit(11) | Bit(12) /* FSRx */ |
                                   Bit(23) /* AVX-IFMA */;
constexpr uint32_t kAvx512In7Sub1Eax = Bit(5);
// Extended leaf 1.
constexpr uint32_t kHiddenExt1Ecx = Bit(2) /* SVM */ | Bit(10) /* IBS */ | Bit(12) /* SKINIT */ |
                                    Bit(15) /* LWP */ | Bit(29) /* MWAITX */ | Bit(23) | Bit(24) |
                                    Bit(28) /* performance counters */;

constexpr uint32_t kSubleafMax = 8;  // more than any CPU lists

bool HasSubleaves(uint32_t function) {
  switch (function) {
    case 4:
    case 7:
    case 0xb:
    case 0xd:
    case 0x1f:
    case 0x8000001d:
    case 0x80000026:
      return true;
    default:
      return false;
  }
}

// Leaves that describe what guests do not have.
bool IsEmptyLeaf(uint32_t function) {
  switch (function) {
    case 5:     // MONITOR
    case 0xa:   // performance counters
    case 0xf:   // resource monitoring
    case 0x10:  // resource allocation
    case 0x12:  // SGX
    case 0x14:  // processor trace
    case 0x17:
    case 0x18:
    case 0x19:
    case 0x1b:
    case 0x1c:
    case 0x1d:  // AMX tiles
    case 0x1e:
    case 0x20:
    case 0x21:
    case 0x23:
    case 0x24:        // AVX10
    case 0x8000000a:  // SVM
    case 0x8000001b:  // IBS
    case 0x8000001c:  // LWP
    case 0x8000001f:  // memory encryption
    case 0x80000020:
    case 0x80000022:
    case 0x80000023:
      return true;
    default:
      return false;
  }
}

bool HasAvx512(const FpuLayout& fpu) { return (fpu.components & platform::kFpuAvx512) != 0; }

CpuidRegs FeatureLeaf(uint32_t index, CpuidRegs host, const FpuLayout& fpu) {
  const bool avx512 = HasAvx512(fpu);
  switch (index) {
    case 0:
      return {std::min(host.eax, uint32_t{1}),
              host.ebx & ~kHidden7Ebx & ~(avx512 ? 0 : kAvx512In7Ebx),
              host.ecx & ~kHidden7Ecx & ~(avx512 ? 0 : kAvx512In7Ecx),
              host.edx & ~kHidden7Edx & ~(avx512 ? 0 : kAvx512In7Edx)};
    case 1:
      return {host.eax & (kKept7Sub1Eax | (avx512 ? kAvx512In7Sub1Eax : 0)), 0, 0,
              host.edx & (Bit(4) | Bit(5) | Bit(10)) /* AVX-VNNI-INT */};
    default:
      return {};
  }
}

CpuidRegs XsaveLeaf(uint32_t index, CpuidRegs host, const FpuLayout& fpu) {
  const uint32_t bytes = static_cast<uint32_t>(fpu.size);
  const uint32_t compacted = platform::kFpuSizeWithAvx + (HasAvx512(fpu) ? kAvx512Bytes : 0);
  switch (index) {
    case 0:
      return {static_cast<uint32_t>(fpu.components), bytes, bytes, 0};
    case 1:  // XSAVEOPT, XSAVEC, XGETBV with ecx = 1; no supervisor state
      return {host.eax & 7, compacted, 0, 0};
    case 2:  // AVX: 256 bytes at 576
      return {256, 576, 0, 0};
    case 5:
    case 6:
    case 7:
      return HasAvx512(fpu) ? CpuidRegs{host.eax, host.ebx, host.ecx & 2, 0} : CpuidRegs{};
    default:
      return {};
  }
}

// `max`: the last subleaf of leaves 7 and 0xd.
bool LastSubleaf(uint32_t function, uint32_t index, const CpuidRegs& r, uint32_t max) {
  switch (function) {
    case 4:
    case 0x8000001d:
      return (r.eax & 31) == 0;
    case 7:
    case 0xd:
      return index >= max;
    default:
      return (r.ecx >> 8 & 0xff) == 0;  // topology: invalid level type
  }
}

void AppendLeaf(uint32_t function, CpuidFn source, const FpuLayout& fpu,
                std::vector<kvm_cpuid_entry2>* out) {
  const bool indexed = HasSubleaves(function);
  uint32_t max = HasAvx512(fpu) ? 7 : 2;
  if (function == 7) max = std::min(source(7, 0).eax, uint32_t{2});
  for (uint32_t index = 0; index < kSubleafMax; ++index) {
    const CpuidRegs r = FilterLeaf(function, index, source(function, index), fpu);
    kvm_cpuid_entry2 entry = {};
    entry.function = function;
    entry.index = index;
    entry.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    entry.eax = r.eax;
    entry.ebx = r.ebx;
    entry.ecx = r.ecx;
    entry.edx = r.edx;
    out->push_back(entry);
    if (!indexed || LastSubleaf(function, index, r, max)) return;
  }
}

}  // namespace

CpuidRegs HostCpuid(uint32_t function, uint32_t index) {
  CpuidRegs r;
  __cpuid_count(function, index, r.eax, r.ebx, r.ecx, r.edx);
  return r;
}

CpuidRegs FilterLeaf(uint32_t function, uint32_t index, CpuidRegs r, const FpuLayout& fpu) {
  if (IsEmptyLeaf(function)) return {};
  switch (function) {
    case 0:
      r.eax = std::min(r.eax, uint32_t{0x1f});
      return r;
    case 1:
      r.ecx = (r.ecx & ~kHidden1Ecx) | k1EcxHypervisor;
      return r;
    case 7:
      return FeatureLeaf(index, r, fpu);
    case 0xd:
      return XsaveLeaf(index, r, fpu);
    case kHypervisor:
      return {kHypervisor, 0x676e6952 /* Ring */, 0x636e6566 /* fenc */, 0x4e465265 /* eRFN */};
    case kExtended:
      r.eax = std::min(r.eax, kExtended + 0x26);
      return r;
    case kExtended + 1:
      r.ecx &= ~kHiddenExt1Ecx;
      return r;
    default:
      return r;
  }
}

std::vector<kvm_cpuid_entry2> BuildCpuid(CpuidFn source, const FpuLayout& fpu) {
  std::vector<kvm_cpuid_entry2> out;
  const uint32_t basic = FilterLeaf(0, 0, source(0, 0), fpu).eax;
  for (uint32_t f = 0; f <= basic; ++f) AppendLeaf(f, source, fpu, &out);
  AppendLeaf(kHypervisor, source, fpu, &out);
  const uint32_t extended = FilterLeaf(kExtended, 0, source(kExtended, 0), fpu).eax;
  for (uint32_t f = kExtended; f >= kExtended && f <= extended; ++f)
    AppendLeaf(f, source, fpu, &out);
  return out;
}

const std::vector<kvm_cpuid_entry2>& HostCpuidForGuest() {
  static const std::vector<kvm_cpuid_entry2>& entries =
      *new auto(BuildCpuid(HostCpuid, platform::GuestFpuLayout()));
  return entries;
}

const char* MissingCpuFeature(CpuidFn source) {
  if ((source(1, 0).ecx & Bit(26)) == 0) return "XSAVE";
  if ((source(1, 0).ecx & Bit(28)) == 0) return "AVX";
  if (source(0, 0).eax < 7 || (source(7, 0).ebx & Bit(0)) == 0) return "FSGSBASE";
  return nullptr;
}

}  // namespace ringfence::kvm
