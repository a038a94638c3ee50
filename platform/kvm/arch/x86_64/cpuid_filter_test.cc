#include "platform/kvm/arch/x86_64/cpuid_filter.h"

#include <catch2/catch.hpp>

namespace ringfence::kvm {
namespace {

constexpr uint32_t Bit(unsigned n) { return uint32_t{1} << n; }
constexpr uint32_t kAll = ~uint32_t{0};
constexpr platform::FpuLayout kAvx{.components = 7, .size = 832};
constexpr platform::FpuLayout kAvx512{.components = 0xe7, .size = 2688};

// A CPU that has everything.
CpuidRegs Everything(uint32_t function, uint32_t index) {
  switch (function) {
    case 0:
      return {0x24, 0x756e6547, 0x6c65746e, 0x49656e69};
    case 0x80000000:
      return {0x80000028, 0, 0, 0};
    case 4:
    case 0x8000001d:
      return index < 4 ? CpuidRegs{0x121, 0, 0, 0} : CpuidRegs{};
    case 7:
      return index == 0 ? CpuidRegs{2, kAll, kAll, kAll} : CpuidRegs{kAll, kAll, kAll, kAll};
    case 0xb:
    case 0x1f:
    case 0x80000026:
      return index < 2 ? CpuidRegs{1, 2, (index + 1) << 8 | index, 0} : CpuidRegs{};
    default:
      return {kAll, kAll, kAll, kAll};
  }
}

const kvm_cpuid_entry2* Find(const std::vector<kvm_cpuid_entry2>& all, uint32_t f, uint32_t i) {
  for (const auto& e : all) {
    if (e.function == f && e.index == i) return &e;
  }
  return nullptr;
}

TEST_CASE("without AVX-512 only state inside XCR0 = 7 is offered") {
  const auto all = BuildCpuid(Everything, kAvx);
  CHECK(all.size() <= 128);
  const auto* xsave = Find(all, 0xd, 0);
  REQUIRE(xsave != nullptr);
  CHECK(xsave->eax == 7);
  CHECK(xsave->ebx == 832);
  CHECK(xsave->ecx == 832);
  CHECK((Find(all, 0xd, 1)->eax & Bit(3)) == 0);  // XSAVES
  CHECK(Find(all, 0xd, 2)->eax == 256);
  CHECK(Find(all, 0xd, 2)->ebx == 576);
  CHECK(Find(all, 0xd, 3) == nullptr);
  const auto* features = Find(all, 7, 0);
  for (unsigned avx512 : {16, 17, 21, 26, 27, 28, 30, 31})
    CHECK((features->ebx & Bit(avx512)) == 0);
  CHECK((features->ecx & (Bit(3) | Bit(4))) == 0);              // PKU, OSPKE
  CHECK((features->edx & (Bit(22) | Bit(24) | Bit(25))) == 0);  // AMX
  CHECK((features->ecx & Bit(7)) == 0);                         // shadow stacks
  CHECK((Find(all, 7, 1)->eax & Bit(5)) == 0);                  // AVX512-BF16
}

TEST_CASE("with AVX-512 its features and places are the CPU's") {
  const auto all = BuildCpuid(Everything, kAvx512);
  CHECK(all.size() <= 128);
  const auto* xsave = Find(all, 0xd, 0);
  REQUIRE(xsave != nullptr);
  CHECK(xsave->eax == 0xe7);
  CHECK(xsave->ebx == 2688);
  CHECK(xsave->ecx == 2688);
  CHECK(Find(all, 0xd, 1)->ebx == 2432);
  for (uint32_t part : {5, 6, 7}) {
    REQUIRE(Find(all, 0xd, part) != nullptr);
    CHECK(Find(all, 0xd, part)->eax == kAll);
    CHECK(Find(all, 0xd, part)->ebx == kAll);
    CHECK((Find(all, 0xd, part)->ecx & 1) == 0);  // not supervisor state
  }
  CHECK(Find(all, 0xd, 3)->eax == 0);
  CHECK(Find(all, 0xd, 8) == nullptr);
  CHECK((Find(all, 7, 0)->ebx & Bit(16)) != 0);
  CHECK((Find(all, 7, 1)->eax & Bit(5)) != 0);
  CHECK((Find(all, 7, 0)->edx & (Bit(22) | Bit(24) | Bit(25))) == 0);  // AMX
}

TEST_CASE("what x86-64-v3 programs ask for stays") {
  const auto all = BuildCpuid(Everything, kAvx);
  const auto* leaf1 = Find(all, 1, 0);
  for (unsigned bit : {0 /* SSE3 */, 9, 12 /* FMA */, 13, 19, 20 /* SSE4 */, 22 /* MOVBE */,
                       23 /* POPCNT */, 26 /* XSAVE */, 27 /* OSXSAVE */, 28 /* AVX */, 29}) {
    CHECK((leaf1->ecx & Bit(bit)) != 0);
  }
  CHECK((leaf1->ecx & Bit(31)) != 0);                      // a hypervisor
  CHECK((leaf1->ecx & (Bit(3) | Bit(5) | Bit(24))) == 0);  // MONITOR, VMX, TSC deadline
  const auto* leaf7 = Find(all, 7, 0);
  for (unsigned bit : {0 /* FSGSBASE */, 3 /* BMI1 */, 5 /* AVX2 */, 8 /* BMI2 */}) {
    CHECK((leaf7->ebx & Bit(bit)) != 0);
  }
  CHECK((Find(all, 0x80000001, 0)->ecx & Bit(5)) != 0);  // LZCNT
  CHECK((Find(all, 0x80000001, 0)->ecx & Bit(2)) == 0);  // SVM
}

TEST_CASE("leaves of things guests do not have are empty; subleaves end") {
  const auto all = BuildCpuid(Everything, kAvx);
  for (uint32_t f : {0x5u, 0xau, 0x12u, 0x14u, 0x1du, 0x1eu, 0x8000000au, 0x8000001fu}) {
    const auto* e = Find(all, f, 0);
    REQUIRE(e != nullptr);
    CHECK((e->eax | e->ebx | e->ecx | e->edx) == 0);
  }
  CHECK(Find(all, 0x24, 0) == nullptr);
  CHECK(Find(all, 0xb, 2) != nullptr);
  CHECK(Find(all, 0xb, 3) == nullptr);
  CHECK(Find(all, 4, 4) != nullptr);
  CHECK(Find(all, 4, 5) == nullptr);
  CHECK(Find(all, 0x40000000, 0)->eax == 0x40000000);
}

TEST_CASE("this CPU is fit, and one without AVX is told") {
  CHECK(MissingCpuFeature(HostCpuid) == nullptr);
  const auto none = [](uint32_t, uint32_t) { return CpuidRegs{}; };
  CHECK(MissingCpuFeature(none) != nullptr);
  CHECK(HostCpuidForGuest().size() <= 128);
}

}  // namespace
}  // namespace ringfence::kvm
