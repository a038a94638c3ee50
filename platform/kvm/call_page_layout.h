// Offsets in the data page, for call_page.h and for assembly. Preprocessor only.
#ifndef RINGFENCE_PLATFORM_KVM_CALL_PAGE_LAYOUT_H_
#define RINGFENCE_PLATFORM_KVM_CALL_PAGE_LAYOUT_H_

#define CALL_PAGE_MODE 0
#define CALL_PAGE_SPIN 4
#define CALL_PAGE_STATE 64
#define CALL_PAGE_TRAPPED 68
#define CALL_PAGE_RAX 72
#define CALL_PAGE_ARGS 80
#define CALL_PAGE_RSP 128
#define CALL_PAGE_AFTER 136
#define CALL_PAGE_STACK_TOP 256
#define CALL_PAGE_SERVING 256

// Distance from a trampoline's code page to its data page.
#define CALL_PAGE_DISTANCE 4096

// Port of the stub's OUT; the only one that ring 3 may touch, and only in the deprivileged flavour.
#define CALL_PORT 0x80

#endif  // RINGFENCE_PLATFORM_KVM_CALL_PAGE_LAYOUT_H_
