// What a return from KVM_RUN means: pure functions from what KVM left in kvm_run to a decision,
// tested with synthetic exits. See exit reasons in Documentation/virt/kvm/api.rst, section 5.
#ifndef RINGFENCE_PLATFORM_KVM_EXIT_DECODE_H_
#define RINGFENCE_PLATFORM_KVM_EXIT_DECODE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "platform/api/platform.h"

namespace ringfence::kvm {

// The parts of kvm_run that matter.
struct RawExit {
  int error = 0;        // errno of KVM_RUN
  uint32_t reason = 0;  // KVM_EXIT_*
  bool io_in = false;   // KVM_EXIT_IO
  uint16_t port = 0;
  uint64_t rip = 0;
  unsigned cpl = 3;
  uint32_t suberror = 0;           // KVM_EXIT_INTERNAL_ERROR
  uint64_t hardware_reason = 0;    // KVM_EXIT_FAIL_ENTRY
  bool exception_pending = false;  // KVM is about to deliver one
};

// Where things are, for the vCPU that exited.
struct ExitGeometry {
  uint64_t trampoline;     // address of its code page
  uint32_t out_offset;     // of the OUT
  uint32_t exited_offset;  // of the instruction after it
  uint64_t stubs;          // exception stubs
  uint64_t stub_bytes;
  unsigned vectors;
  uint16_t exception_port;
  uint16_t call_port;
};

enum class ExitKind {
  kNotEntered,          // KVM_RUN was not called (never returned by DecodeExit)
  kKicked,              // a signal, or immediate_exit
  kRetry,               // enter again as it is, interrupts wait: an exception is on its way
  kCall,                // the trampoline's OUT
  kException,           // `vector`; the frame is on the exception stack
  kGuestIo,             // IN or OUT by the program itself
  kNotBacked,           // guest memory that the host cannot provide
  kInvalidInstruction,  // KVM gave up emulating
  kFatal,               // `text` says why
};

struct DecodedExit {
  ExitKind kind;
  uint8_t vector = 0;
  std::string text = {};
};

DecodedExit DecodeExit(const RawExit& raw, const ExitGeometry& geometry);

// An exception of ring 3 as Linux sees it. `code` = the bytes at rip, as many as could be read.
// May correct *rip.
struct RawException {
  uint8_t vector;
  uint64_t error_code;
  uint64_t cr2;
  uint64_t rflags;
};
platform::Exit DecodeException(const RawException& raw, const uint8_t* code, size_t code_bytes,
                               uint64_t* rip);

// Does DecodeException want to see the code for this vector?
bool ExceptionNeedsCode(uint8_t vector);

// The OUT or OUTS that KVM has just emulated for a program, told from the code around RIP: KVM has
// advanced RIP over it, except that a REP OUTS stays in place.
struct OutInstruction {
  size_t advanced;  // how far RIP has moved
  bool string;      // OUTS: RSI has moved
  bool repeated;    // REP: RCX has moved
};
OutInstruction DecodeOut(const uint8_t* before, size_t before_bytes, const uint8_t* after,
                         size_t after_bytes, uint16_t port);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_EXIT_DECODE_H_
