#include "platform/kvm/arch/x86_64/kernel_image.h"

#include <cstring>

#include "platform/kvm/call_page_layout.h"

namespace ringfence::kvm {
namespace {

// Page-table bits (SDM vol. 3, 4.5.4); Accessed and Dirty are preset.
constexpr uint64_t kPresent = 1 << 0;
constexpr uint64_t kWritable = 1 << 1;
constexpr uint64_t kAccessedDirty = 3 << 5;
constexpr uint64_t kNoExec = uint64_t{1} << 63;

constexpr uint64_t kTableEntry = kPresent | kWritable | kAccessedDirty;

// TSS fields (SDM vol. 3, figure 8-11).
constexpr size_t kTssRsp0 = 4;
constexpr size_t kTssIst1 = 0x24;
constexpr size_t kTssIoMapBase = 0x66;
constexpr size_t kIoMap = 0x68;

void Put64(std::byte* at, uint64_t value) { std::memcpy(at, &value, sizeof(value)); }
void Put16(std::byte* at, uint16_t value) { std::memcpy(at, &value, sizeof(value)); }

uint64_t VcpuPageAddress(unsigned index) {
  return KernelImage::kVcpuPages + uint64_t{index} * kPageSize;
}

}  // namespace

Result<std::unique_ptr<KernelImage>> KernelImage::Create(platform::GuestMemory* memory,
                                                         unsigned max_vcpus, Flavour flavour) {
  std::unique_ptr<KernelImage> image(new KernelImage(memory, max_vcpus, flavour));
  TRY(image->Build());
  return image;
}

KernelImage::~KernelImage() {
  for (Frame frame : owned_) memory_->Unref(FrameRun{frame, 1});
}

Result<Frame> KernelImage::NewFrame() {
  FrameRun run = TRY(memory_->Allocate(1));
  owned_.push_back(run.first);
  return run.first;
}

uint64_t* KernelImage::Entries(Frame frame) const {
  // SAFETY: an anonymous frame is 4096 accessible bytes, page aligned, and ours alone.
  return reinterpret_cast<uint64_t*>(memory_->HostAddress(frame));
}

Result<void> KernelImage::Build() {
  table_ = TRY(NewFrame());
  Frame directory = TRY(NewFrame());
  Entries(table_)[(kBase >> 30) & 511] = directory.phys() | kTableEntry;
  const uint64_t bytes = kVcpuPages - kBase + vcpu_pages_.size() * kPageSize;
  for (uint64_t at = 0; at < bytes; at += kHugePageSize) {
    Frame pages = TRY(NewFrame());
    Entries(directory)[((kBase + at) >> 21) & 511] = pages.phys() | kTableEntry;
    page_tables_.push_back(pages);
  }
  Frame tables = TRY(NewFrame());
  WriteGdt(memory_->HostAddress(tables));
  WriteIdt(memory_->HostAddress(tables) + (kIdt - kGdt));
  MapPage(kGdt, tables, true, false);
  Frame stubs = TRY(NewFrame());
  WriteStubs(memory_->HostAddress(stubs));
  MapPage(kStubs, stubs, false, true);
  trampoline_ = TRY(NewFrame());
  SetFlavour(flavour_);
  return Ok();
}

void KernelImage::SetFlavour(Flavour flavour) {
  flavour_ = flavour;
  std::memcpy(memory_->HostAddress(trampoline_), TrampolineImage(flavour), kPageSize);
}

void KernelImage::MapPage(uint64_t va, Frame frame, bool writable, bool exec) {
  const uint64_t page = (va - kBase) >> kPageShift;
  Entries(page_tables_[page >> 9])[page & 511] =
      frame.phys() | kPresent | kAccessedDirty | (writable ? kWritable : 0) | (exec ? 0 : kNoExec);
}

void KernelImage::WriteGdt(std::byte* page) {
  // 64-bit code, data for ring 0; 32-bit code (only so that STAR's arithmetic works), data and
  // 64-bit code for ring 3. The task register is loaded by KVM from kvm_sregs; the descriptor
  // only has to look right.
  Put64(page + kKernelCs, 0x00af9b000000ffff);
  Put64(page + kKernelCs + 8, 0x00cf93000000ffff);
  Put64(page + (kUserSs & ~7) - 8, 0x00cffb000000ffff);
  Put64(page + (kUserSs & ~7), 0x00cff3000000ffff);
  Put64(page + (kUserCs & ~7), 0x00affb000000ffff);
  const uint64_t tss = VcpuPageAddress(0);
  Put64(page + kTssSelector, uint64_t{kTssLimit} | (tss & 0xffffff) << 16 | uint64_t{0x8b} << 40 |
                                 (tss >> 24 & 0xff) << 56);
  Put64(page + kTssSelector + 8, tss >> 32);
}

void KernelImage::WriteIdt(std::byte* idt) {
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    const uint64_t handler = kStubs + vector * kStubBytes;
    // INT3 is the only one that ring 3 may raise by an instruction, as on Linux.
    const uint64_t type = vector == 3 ? 0xee : 0x8e;
    Put64(idt + vector * 16, (handler & 0xffff) | uint64_t{kKernelCs} << 16 | uint64_t{1} << 32 |
                                 type << 40 | (handler >> 16 & 0xffff) << 48);
    Put64(idt + vector * 16 + 8, handler >> 32);
  }
}

void KernelImage::WriteStubs(std::byte* page) {
  // OUT imm8, eax; should somebody resume behind it: again, never on into nothing.
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    const uint8_t code[] = {0xe7, static_cast<uint8_t>(kExceptionPort + vector), 0xeb, 0xfc};
    std::memcpy(page + vector * kStubBytes, code, sizeof(code));
  }
}

Result<void> KernelImage::PrepareVcpu(unsigned index) {
  if (answers_[index] == Frame{}) answers_[index] = TRY(NewFrame());
  if (vcpu_pages_[index] == Frame{}) vcpu_pages_[index] = TRY(NewFrame());
  const Frame frame = vcpu_pages_[index];
  std::byte* page = memory_->HostAddress(frame);
  const uint64_t va = VcpuPageAddress(index);
  Put64(page + kTssRsp0, va + kPageSize);
  Put64(page + kTssIst1, va + kPageSize);
  Put16(page + kTssIoMapBase, kIoMap);
  std::memset(page + kIoMap, 0xff, kTssLimit + 1 - kIoMap);
  if (flavour_ == Flavour::kDeprivileged) {
    page[kIoMap + CALL_PORT / 8] &= ~(std::byte{1} << (CALL_PORT % 8));
  }
  MapPage(va, frame, true, false);
  return Ok();
}

AnswerPage* KernelImage::AnswersOf(unsigned index) const {
  // SAFETY: a zeroed frame of this image's own; AnswerPage is lock-free atomic integers.
  return reinterpret_cast<AnswerPage*>(memory_->HostAddress(answers_[index]));
}

kvm_segment KernelImage::TaskSegment(unsigned index) {
  kvm_segment segment = {};
  segment.base = VcpuPageAddress(index);
  segment.limit = kTssLimit;
  segment.selector = kTssSelector;
  segment.type = 11;  // busy 64-bit TSS
  segment.present = 1;
  return segment;
}

KernelImage::ExceptionFrame KernelImage::ReadFrame(unsigned index) const {
  // The processor aligns IST stacks; the frame ends at the top of the page.
  ExceptionFrame frame;
  std::memcpy(&frame, memory_->HostAddress(vcpu_pages_[index]) + kPageSize - sizeof(ExceptionFrame),
              sizeof(frame));
  return frame;
}

}  // namespace ringfence::kvm
