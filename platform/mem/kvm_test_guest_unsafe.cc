#include "platform/mem/kvm_test_guest_unsafe.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "platform/base/check.h"
#include "platform/mem/table_view_unsafe.h"

// SAFETY: (whole file) test code. Frames of the kernel part are anonymous frames that live as long
// as memory_; structures written there have the layout of SDM vol. 3 chapters 3, 6 and 8.
namespace ringfence::platform {
namespace {

// Ring-0 part: six pages from here, in the top-level entry shared by all spaces.
constexpr uint64_t kKernelBase = kKernelTableBase.value();
constexpr uint64_t kDescriptorsVa = kKernelBase;  // GDT, then the TSS
constexpr uint64_t kTssOffset = 0x800;
constexpr uint64_t kTssLimit = 0x67;  // no I/O bitmap
constexpr uint64_t kIdtVa = kKernelBase + 1 * kPageSize;
constexpr uint64_t kStubsVa = kKernelBase + 2 * kPageSize;
constexpr uint64_t kStackVa = kKernelBase + 3 * kPageSize;

constexpr uint8_t kInt3 = 0xcc;  // ends a routine; the one exception every kind of host delivers
constexpr uint16_t kBreakpoint = 3;
constexpr uint16_t kPageFault = 14;

void Ensure(bool ok, const char* what) { Check(ok, what); }

// The kernel's kvm_cpuid2. Debian's header declares the entries so that C++ makes the struct too
// long, which also changes the numbers of the two ioctls.
struct CpuidList {
  uint32_t count;
  uint32_t padding;
  kvm_cpuid_entry2 entries[128];
};
struct CpuidHeader {
  uint32_t count, padding;
};
constexpr auto kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
constexpr auto kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);

kvm_segment Segment(uint16_t selector, uint8_t type, bool code) {
  kvm_segment s{};
  s.limit = 0xffffffff;
  s.selector = selector;
  s.type = type;
  s.present = 1;
  s.dpl = 3;
  s.s = 1;
  s.l = code;
  s.db = !code;
  s.g = 1;
  return s;
}

}  // namespace

template <typename T>
T* TestGuest::At(Frame frame, uint64_t offset) {
  return reinterpret_cast<T*>(memory_->HostAddress(frame) + offset);
}

Frame TestGuest::NewFrame() {
  return MUST(memory_->Allocate(1)).first;  // a test guest is far below any limit
}

TestGuest::TestGuest(const GuestMemory::Options& options)
    : kvm_(open("/dev/kvm", O_RDWR | O_CLOEXEC)) {
  Ensure(kvm_.valid(), "/dev/kvm");
  vm_.Reset(ioctl(kvm_.get(), KVM_CREATE_VM, 0));
  Ensure(vm_.valid(), "KVM_CREATE_VM");
  memory_ = GuestMemory::Create(options, this).value();
  MakeKernelPart();
  MakeVcpu();
}

TestGuest::~TestGuest() { munmap(run_, run_bytes_); }

Result<void> TestGuest::AddSlot(uint64_t phys, uint64_t bytes, std::byte* host, bool readonly) {
  kvm_userspace_memory_region region{};
  region.slot = next_slot_++;
  region.flags = readonly ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = phys;
  region.memory_size = bytes;
  region.userspace_addr = reinterpret_cast<uint64_t>(host);
  if (ioctl(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) return LastHostErrno();
  return Ok();
}

Result<void> TestGuest::ForgetTables() {
  alignas(kPageSize) static std::byte page[kPageSize];
  kvm_userspace_memory_region region{};
  region.userspace_addr = reinterpret_cast<uint64_t>(page);
  for (const uint64_t bytes : {kPageSize, uint64_t{0}}) {  // a slot comes and goes
    region.memory_size = bytes;
    if (ioctl(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) return LastHostErrno();
  }
  return Ok();
}

void TestGuest::MakeKernelPart() {
  for (Frame* f : {&code_, &kernel_table_, &descriptors_, &idt_, &stubs_, &stack_}) *f = NewFrame();
  const Frame directory = NewFrame(), table = NewFrame();
  TableView(*memory_, kernel_table_).Store(pte::Index(kKernelBase, 2), pte::Table(directory));
  TableView(*memory_, directory).Store(pte::Index(kKernelBase, 1), pte::Table(table));
  TableView pages(*memory_, table);
  pages.Store(0, pte::SupervisorLeaf(descriptors_, Prot::RW()));
  pages.Store(1, pte::SupervisorLeaf(idt_, Prot::R()));
  pages.Store(2, pte::SupervisorLeaf(stubs_, Prot::RX()));
  pages.Store(3, pte::SupervisorLeaf(stack_, Prot::RW()));

  constexpr uint64_t kTss = kDescriptorsVa + kTssOffset;
  const uint64_t gdt[] = {
      0,
      0,
      0x00af9b000000ffff,
      0x00cf93000000ffff,
      0x00cffb000000ffff,
      0x00cff3000000ffff,
      0x00affb000000ffff,
      0,
      kTssLimit | (kTss & 0xffffff) << 16 | uint64_t{0x8b} << 40 | (kTss >> 24 & 0xff) << 56,
      kTss >> 32};
  std::memcpy(At<char>(descriptors_, 0), gdt, sizeof gdt);
  const uint64_t stack_top = kStackVa + kPageSize;
  std::memcpy(At<char>(descriptors_, kTssOffset + 4), &stack_top, sizeof stack_top);
  *At<uint16_t>(descriptors_, kTssOffset + 0x66) = kTssLimit + 1;

  for (uint64_t vector = 0; vector < 256; ++vector) {
    const uint64_t stub = kStubsVa + vector * 16;
    auto* gate = At<uint64_t>(idt_, vector * 16);
    gate[0] =
        (stub & 0xffff) | uint64_t{0x10} << 16 | uint64_t{0xee} << 40 | (stub >> 16 & 0xffff) << 48;
    gate[1] = stub >> 32;
    const uint8_t code[] = {0xe7, static_cast<uint8_t>(vector), 0xf4};  // out vector, eax; hlt
    std::memcpy(At<char>(stubs_, vector * 16), code, sizeof code);
  }

  const struct {
    Routine at;
    std::vector<uint8_t> code;
  } routines[] = {
      {Routine::kRead, {0x48, 0x8b, 0x03, kInt3}},
      {Routine::kWrite, {0x48, 0x89, 0x03, kInt3}},
      {Routine::kCount, {0x48, 0xff, 0x03, 0xeb, 0xfb}},
      {Routine::kJump, {0xff, 0xe3}},
      {Routine::kTouchAll,
       {0x48, 0x89, 0x03, 0x48, 0x81, 0xc3, 0, 0x10, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf1, kInt3}},
      {Routine::kReadLoop, {0x48, 0x8b, 0x03, 0x48, 0xff, 0xc9, 0x75, 0xf8, kInt3}},
      {Routine::kFill, {0x48, 0x89, 0xdf, 0xb9, 0, 2, 0, 0, 0xf3, 0x48, 0xab, kInt3}},
      {Routine::kStoreSse, {0x0f, 0x11, 0x03, kInt3}},
      {Routine::kStoreWide, {0xf0, 0x48, 0x0f, 0xc7, 0x0b, kInt3}},
      {Routine::kStoreX87, {0xd9, 0xe8, 0xdd, 0x1b, kInt3}},
      {Routine::kPush, {0x48, 0x8d, 0x63, 0x40, 0x50, kInt3}},
  };
  for (const auto& routine : routines) {
    std::memcpy(At<char>(code_, static_cast<uint64_t>(routine.at)), routine.code.data(),
                routine.code.size());
  }
}

void TestGuest::MakeVcpu() {
  vcpu_.Reset(ioctl(vm_.get(), KVM_CREATE_VCPU, 0));
  Ensure(vcpu_.valid(), "KVM_CREATE_VCPU");
  run_bytes_ = ioctl(kvm_.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  void* p = mmap(nullptr, run_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0);
  Ensure(p != MAP_FAILED, "kvm_run");
  run_ = static_cast<kvm_run*>(p);
  CpuidList cpuid{};
  cpuid.count = std::size(cpuid.entries);
  Ensure(ioctl(kvm_.get(), kGetSupportedCpuid, &cpuid) == 0, "KVM_GET_SUPPORTED_CPUID");
  Ensure(ioctl(vcpu_.get(), kSetCpuid2, &cpuid) == 0, "KVM_SET_CPUID2");

  kvm_sregs& s = run_->s.regs.sregs;
  Ensure(ioctl(vcpu_.get(), KVM_GET_SREGS, &s) == 0, "KVM_GET_SREGS");
  s.cr0 = 0x80050033;  // PG AM WP NE ET MP PE
  s.cr4 = 0x620;       // PAE OSFXSR OSXMMEXCPT
  s.efer = 0xd01;      // NXE LMA LME SCE
  s.gdt.base = kDescriptorsVa;
  s.gdt.limit = 79;
  s.idt.base = kIdtVa;
  s.idt.limit = 4095;
  s.tr = {};
  s.tr.base = kDescriptorsVa + kTssOffset;
  s.tr.limit = kTssLimit;
  s.tr.selector = 0x40;
  s.tr.type = 11;
  s.tr.present = 1;
  run_->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

std::unique_ptr<AddressSpace> TestGuest::NewSpace() {
  auto space = MUST(AddressSpace::Create(memory_.get()));  // far below any limit
  space->SetKernelTable(kernel_table_);
  memory_->Ref({code_, 1});
  Check(space->Map(kCode, {code_, 1}, {.prot = Prot::RX()}).ok(), "code page");
  return space;
}

void TestGuest::Destroy(std::unique_ptr<AddressSpace> space) {
  space->Dissolve([this](FrameRun run) { memory_->Unref(run); });
}

void TestGuest::SetRegisters(AddressSpace& space, Routine routine, uint64_t rbx, uint64_t rax,
                             uint64_t rcx) {
  kvm_sregs& s = run_->s.regs.sregs;
  s.cr3 = space.RootPhys();
  s.cs = Segment(0x33, 11, true);
  s.ss = Segment(0x2b, 3, false);
  s.ds = s.es = s.fs = s.gs = s.ss;
  kvm_regs& r = run_->s.regs.regs;
  r = {};
  r.rip = kCode.value() + static_cast<uint64_t>(routine);
  r.rflags = 2;
  r.rbx = rbx;
  r.rax = rax;
  r.rcx = rcx;
  run_->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

TestGuest::Outcome TestGuest::Run(AddressSpace& space, Routine routine, VirtAddr rbx, uint64_t rax,
                                  uint64_t rcx) {
  SetRegisters(space, routine, rbx.value(), rax, rcx);
  Outcome outcome;
  while (true) {
    const uint64_t generation = memory_->InvalidationGeneration();
    if (ioctl(vcpu_.get(), KVM_RUN, 0) == 0) break;
    if (errno == EINTR) continue;
    if (errno != EFAULT) return outcome;
    if (!memory_->InvalidatedSince(generation)) {
      outcome.kind = Outcome::kNoMemory;
      return outcome;
    }
    ++outcome.efaults_excused;
  }
  if (run_->exit_reason != KVM_EXIT_IO) return outcome;
  outcome.rax = run_->s.regs.regs.rax;
  const uint16_t port = run_->io.port;
  if (port == kBreakpoint) {
    outcome.kind = Outcome::kDone;
  } else if (port == kPageFault) {
    outcome.kind = Outcome::kFault;
    outcome.cr2 = run_->s.regs.sregs.cr2;
    outcome.error_code = *At<uint64_t>(stack_, run_->s.regs.regs.rsp - kStackVa);
  } else {
    outcome.vector = port;
  }
  return outcome;
}

}  // namespace ringfence::platform
