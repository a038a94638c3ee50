#include "sentry/fs/proc/cpuinfo.h"

#include <cpuid.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "platform/api/fpu_layout.h"

namespace ringfence::sentry {
namespace {

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf Cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Leaf r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// Names of Linux (arch/x86/include/asm/cpufeatures.h) for the bits that programs look for.
struct Feature {
  const char* name;
  uint32_t leaf;
  uint32_t Leaf::*word;
  unsigned bit;
};
constexpr Feature kFeatures[] = {
    {"fpu", 1, &Leaf::edx, 0},
    {"tsc", 1, &Leaf::edx, 4},
    {"cx8", 1, &Leaf::edx, 8},
    {"cmov", 1, &Leaf::edx, 15},
    {"clflush", 1, &Leaf::edx, 19},
    {"mmx", 1, &Leaf::edx, 23},
    {"fxsr", 1, &Leaf::edx, 24},
    {"sse", 1, &Leaf::edx, 25},
    {"sse2", 1, &Leaf::edx, 26},
    {"ht", 1, &Leaf::edx, 28},
    {"syscall", 0x80000001, &Leaf::edx, 11},
    {"nx", 0x80000001, &Leaf::edx, 20},
    {"rdtscp", 0x80000001, &Leaf::edx, 27},
    {"lm", 0x80000001, &Leaf::edx, 29},
    {"pni", 1, &Leaf::ecx, 0},
    {"pclmulqdq", 1, &Leaf::ecx, 1},
    {"ssse3", 1, &Leaf::ecx, 9},
    {"fma", 1, &Leaf::ecx, 12},
    {"cx16", 1, &Leaf::ecx, 13},
    {"sse4_1", 1, &Leaf::ecx, 19},
    {"sse4_2", 1, &Leaf::ecx, 20},
    {"movbe", 1, &Leaf::ecx, 22},
    {"popcnt", 1, &Leaf::ecx, 23},
    {"aes", 1, &Leaf::ecx, 25},
    {"xsave", 1, &Leaf::ecx, 26},
    {"avx", 1, &Leaf::ecx, 28},
    {"f16c", 1, &Leaf::ecx, 29},
    {"rdrand", 1, &Leaf::ecx, 30},
    {"hypervisor", 1, &Leaf::ecx, 31},
    {"lahf_lm", 0x80000001, &Leaf::ecx, 0},
    {"abm", 0x80000001, &Leaf::ecx, 5},
    {"sse4a", 0x80000001, &Leaf::ecx, 6},
    {"fsgsbase", 7, &Leaf::ebx, 0},
    {"bmi1", 7, &Leaf::ebx, 3},
    {"avx2", 7, &Leaf::ebx, 5},
    {"bmi2", 7, &Leaf::ebx, 8},
    {"erms", 7, &Leaf::ebx, 9},
    {"rdseed", 7, &Leaf::ebx, 18},
    {"adx", 7, &Leaf::ebx, 19},
    {"sha_ni", 7, &Leaf::ebx, 29},
};
// Where guests have AVX-512.
constexpr Feature kAvx512Features[] = {
    {"avx512f", 7, &Leaf::ebx, 16},     {"avx512dq", 7, &Leaf::ebx, 17},
    {"avx512cd", 7, &Leaf::ebx, 28},    {"avx512bw", 7, &Leaf::ebx, 30},
    {"avx512vl", 7, &Leaf::ebx, 31},    {"avx512vbmi", 7, &Leaf::ecx, 1},
    {"avx512_vnni", 7, &Leaf::ecx, 11},
};

std::string Text(uint32_t word) {
  char bytes[sizeof word];
  memcpy(bytes, &word, sizeof word);
  return std::string(bytes, sizeof bytes);
}

std::string Brand() {
  std::string brand;
  for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
    const Leaf r = Cpuid(leaf);
    absl::StrAppend(&brand, Text(r.eax), Text(r.ebx), Text(r.ecx), Text(r.edx));
  }
  return brand.c_str();  // up to the first NUL
}

void AppendFlags(absl::Span<const Feature> features, std::string* flags) {
  for (const Feature& feature : features) {
    const Leaf r = Cpuid(feature.leaf);
    if ((r.*feature.word >> feature.bit) & 1) absl::StrAppend(flags, " ", feature.name);
  }
}

std::string Flags() {
  std::string flags;
  AppendFlags(kFeatures, &flags);
  if ((platform::GuestFpuLayout().components & platform::kFpuAvx512) != 0) {
    AppendFlags(kAvx512Features, &flags);
  }
  return flags;
}

}  // namespace

std::string DescribeCpus(uint32_t cpus) {
  const Leaf vendor = Cpuid(0), version = Cpuid(1), address = Cpuid(0x80000008);
  const uint32_t base_family = version.eax >> 8 & 15;
  const uint32_t family = base_family + (base_family == 15 ? version.eax >> 20 & 255 : 0);
  const uint32_t model = (version.eax >> 4 & 15) | (version.eax >> 12 & 0xf0);
  std::string common =
      absl::StrCat("vendor_id\t: ", Text(vendor.ebx), Text(vendor.edx), Text(vendor.ecx),
                   "\ncpu family\t: ", family, "\nmodel\t\t: ", model, "\nmodel name\t: ", Brand(),
                   "\nstepping\t: ", version.eax & 15, "\n");
  const std::string flags = Flags();
  std::string text;
  for (uint32_t cpu = 0; cpu < cpus; cpu++) {
    absl::StrAppendFormat(&text,
                          "processor\t: %d\n%sphysical id\t: 0\nsiblings\t: %d\ncore id\t\t: %d\n"
                          "cpu cores\t: %d\nfpu\t\t: yes\nwp\t\t: yes\nflags\t\t:%s\n"
                          "clflush size\t: 64\ncache_alignment\t: 64\n"
                          "address sizes\t: %d bits physical, %d bits virtual\n\n",
                          cpu, common, cpus, cpu, cpus, flags, address.eax & 255,
                          address.eax >> 8 & 255);
  }
  return text;
}

}  // namespace ringfence::sentry
