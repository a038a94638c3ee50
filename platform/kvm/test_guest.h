// For tests: a guest program made of bytes, run through the real platform.
#ifndef RINGFENCE_PLATFORM_KVM_TEST_GUEST_H_
#define RINGFENCE_PLATFORM_KVM_TEST_GUEST_H_

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "platform/api/platform.h"
#include "platform/kvm/kvm_platform.h"

namespace ringfence::kvm {

inline constexpr uint64_t kTestCode = 0x400000;
inline constexpr uint64_t kTestData = 0x600000;  // kTestDataPages pages, writable
inline constexpr uint64_t kTestDataPages = 16;
inline constexpr uint64_t kTestStack = kTestData + kTestDataPages * kPageSize - 512;

// Machine code, appended piece by piece.
class Code {
 public:
  Code& operator()(std::initializer_list<uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes);
    return *this;
  }
  Code& Imm32(uint32_t v) {
    for (int i = 0; i < 4; ++i) bytes_.push_back(static_cast<uint8_t>(v >> (8 * i)));
    return *this;
  }
  Code& Imm64(uint64_t v) {
    for (int i = 0; i < 8; ++i) bytes_.push_back(static_cast<uint8_t>(v >> (8 * i)));
    return *this;
  }
  Code& Nops(size_t n) {
    bytes_.insert(bytes_.end(), n, 0x90);
    return *this;
  }
  size_t size() const { return bytes_.size(); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

// An address space with a page of code and some of data.
class TestGuest {
 public:
  explicit TestGuest(platform::Platform* platform) : platform_(platform) {
    space = MUST(platform->NewAddressSpace());  // tests have memory
    code_ = MUST(platform->memory().Allocate(1));
    data_ = MUST(platform->memory().Allocate(kTestDataPages));
    MUST(space->Map(VirtAddr(kTestCode), code_, {.prot = Prot::RX()}));
    MUST(space->Map(VirtAddr(kTestData), data_, {.prot = Prot::RW()}));
  }
  ~TestGuest() {
    const auto drop = [this](FrameRun run) { platform_->memory().Unref(run); };
    MUST(space->Unmap({VirtAddr(0x1000), platform::kUserEnd}, drop));
  }

  void SetCode(const Code& code, size_t at = 0) {
    std::memcpy(platform_->memory().HostAddress(code_.first) + at, code.bytes().data(),
                code.size());
  }
  std::byte* data() { return platform_->memory().HostAddress(data_.first); }
  FrameRun data_frames() const { return data_; }

  platform::ArchState Start(size_t at = 0) const {
    platform::ArchState state;
    state.rip = kTestCode + at;
    state.rsp = kTestStack;
    return state;
  }

  std::unique_ptr<platform::AddressSpace> space;

 private:
  platform::Platform* const platform_;
  FrameRun code_;
  FrameRun data_;
};

// The platform that all cases of a test binary share; exits with 77 (skipped) without /dev/kvm.
platform::Platform& TestPlatform();
// A new one with these options, likewise.
std::unique_ptr<platform::Platform> NewTestPlatform(const platform::KvmOptions& options);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_TEST_GUEST_H_
