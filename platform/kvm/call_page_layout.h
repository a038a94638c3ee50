// Offsets in the data page, for call_page.h and for assembly. Preprocessor only.
#ifndef RINGFENCE_PLATFORM_KVM_CALL_PAGE_LAYOUT_H_
#define RINGFENCE_PLATFORM_KVM_CALL_PAGE_LAYOUT_H_

#define CALL_PAGE_MODE 0
#define CALL_PAGE_SPIN 4
#define CALL_PAGE_SAMPLE 8
#define CALL_PAGE_STATE 64
#define CALL_PAGE_TRAPPED 68
#define CALL_PAGE_RAX 72
#define CALL_PAGE_ARGS 80
#define CALL_PAGE_RSP 128
#define CALL_PAGE_AFTER 136
#define CALL_PAGE_NUMBER 144
#define CALL_PAGE_BY_SYSCALL 152
#define CALL_PAGE_IN_VAIN 156
#define CALL_PAGE_SEEN 160
#define CALL_PAGE_STACK_TOP 256
#define CALL_PAGE_SERVING 256

// Distance from a trampoline's code page to its data page.
#define CALL_PAGE_DISTANCE 4096

// The page of answers (answer_page.h) follows the data page.
#define ANSWER_PAGE 0xffffc90000002000
#define ANSWER_LAST 511
#define ANSWER_KNOWN_BIT 32
// Not an answer: the stub may look into it itself. Of futex(2) only, with the number of looks
// below.
#define ANSWER_LOOK_BIT 33
#define ANSWER_FUTEX 202
// Calls that trapped and whose answer is known: one of so many goes to the sentry all the same, at
// first and after so many. Powers of 2.
#define SAMPLE_FIRST 8
#define SAMPLE_FIRST_END 256
#define SAMPLE_LATER 64

// The space's counts of futex waiters (AddressSpace::WaitersAt) follow the page of answers. The
// count for an address is at the same offset in the page as the address in its own.
#define WAITERS_PAGE 0xffffc90000003000
#define WAITERS_OFFSET_MASK 0xffc

// Port of the stub's OUT; the only one that ring 3 may touch, and only in the deprivileged flavour.
#define CALL_PORT 0x80

#endif  // RINGFENCE_PLATFORM_KVM_CALL_PAGE_LAYOUT_H_
