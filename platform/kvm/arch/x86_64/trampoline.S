// What SYSCALL jumps to (LSTAR), in two flavours from one source, and what call sites jump to
// (call_stubs.h) in the deprivileged one. See trampoline.h for the table of regions that the labels
// here delimit, and call_page.h for the protocol.
//
// A call whose answer is in the page of answers (answer_page.h) goes no further than the stub.
//
// On entry rcx = the caller's rip, r11 = its rflags, rsp and everything else the caller's; SFMASK
// has cleared TF, IF, DF, NT and AC. rcx and r11 keep their values throughout, rax until it
// is saved, and no other register is written. The caller's stack is never touched.

#include "platform/kvm/call_page_layout.h"

#define FLAG_TF 0x100
#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129
#define FUTEX_WAIT_BITSET_PRIVATE 137
#define FUTEX_CLOCK_REALTIME 256
#define EAGAIN 11

#define POSTED 1
#define DONE 4
#define PUNT 8
// The first looks for an answer come one after the other, about as long as most answers take: a PAUSE
// is half of that.
#define EAGER_LOOKS 128

// Goes to `target`, or on if the sentry is to see this call, though it needs nobody: of those that
// trapped it must see some, to find out which SYSCALLs should be call sites.
.macro UNLESS_SAMPLED name, target
        cmpl    $0, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_BY_SYSCALL(%rip)
        je      \target
        incl    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SAMPLE(%rip)
        testl   $(SAMPLE_FIRST - 1), .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SAMPLE(%rip)
        jnz     \target
        cmpl    $SAMPLE_FIRST_END, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SAMPLE(%rip)
        jb      20f
        testl   $(SAMPLE_LATER - 1), .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SAMPLE(%rip)
        jnz     \target
20:
.endm

.macro TRAMPOLINE name, privileged
        .balign 4096
        .globl  ringfence_trampoline_\name
        .globl  ringfence_trampoline_\name\()_info
ringfence_trampoline_\name:
.Lbegin_\name:
.if \privileged
.Ldirect_\name:
.Ldirect_rsp_lost_\name:
.Ldirect_rsp_back_\name:
.else
        movl    $1, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_BY_SYSCALL(%rip)
        movq    %rcx, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_AFTER(%rip)
        jmp     .Lcommon_\name
        // From a call site: rcx as SYSCALL would have set it, r11 still to be. No flag changes
        // before they are in r11.
.Ldirect_\name:
        movq    %rsp, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_RSP(%rip)
        leaq    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STACK_TOP(%rip), %rsp
.Ldirect_rsp_lost_\name:
        pushfq
        popq    %r11
        movq    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_RSP(%rip), %rsp
.Ldirect_rsp_back_\name:
        movl    $0, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_BY_SYSCALL(%rip)
.endif
.Lcommon_\name:
        movq    %rax, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_NUMBER(%rip)
.Lrax_saved_\name:
        // A single-stepped call returns through the exit: nothing here may be stepped over.
        testl   $FLAG_TF, %r11d
        jnz     .Lplain_\name
.if \privileged
        // SYSRET to a non-canonical rcx faults in ring 0 on some CPUs.
        btq     $47, %rcx
        jc      .Lplain_\name
.endif
        // Without a branch, so that nothing behind the page is read on a wrong guess either.
        cmpq    $ANSWER_LAST, %rax
        cmovaq  .Llast_\name(%rip), %rax
        shlq    $3, %rax
        addq    .Lanswers_\name(%rip), %rax
        movq    (%rax), %rax
        btrq    $ANSWER_KNOWN_BIT, %rax
        jnc     .Lask_\name
.if \privileged
        jmp     .Lanswered_\name
.else
        UNLESS_SAMPLED \name, .Lanswered_\name
.endif
.Lask_\name:
.if !\privileged
        btrq    $ANSWER_LOOK_BIT, %rax
        jc      .Lfutex_\name
.Lask_sentry_\name:
.endif
        cmpl    $0, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_MODE(%rip)
        jne     6f
        // The page may still say that the call before this one is done.
.Lplain_\name:
        movl    $0, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
        jmp     .Lnot_served_\name
.if !\privileged
        // futex(2), eax = looks. FUTEX_WAIT_PRIVATE looks at the word itself for a while: one that
        // changes meanwhile is as if the call had come later. FUTEX_WAKE_PRIVATE wakes nobody where
        // nobody is counted. Whatever needs more thought, and reads that fault, go to the sentry.
.Lfutex_\name:
        testb   $3, %dil
        jnz     .Lask_sentry_\name
        UNLESS_SAMPLED \name, 7f
        jmp     .Lask_sentry_\name
7:      cmpl    $FUTEX_WAKE_PRIVATE, %esi
        je      .Lwake_\name
        testq   %r10, %r10
        jnz     .Lask_sentry_\name
        cmpl    $FUTEX_WAIT_PRIVATE, %esi
        je      8f
        testl   %r9d, %r9d
        jz      .Lask_sentry_\name
        cmpl    $FUTEX_WAIT_BITSET_PRIVATE, %esi
        je      8f
        cmpl    $(FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME), %esi
        jne     .Lask_sentry_\name
8:      cmpl    %edx, (%rdi)
        jne     .Lchanged_\name
9:      pause
        cmpl    %edx, (%rdi)
        jne     .Lseen_\name
        decl    %eax
        jnz     9b
        movl    $1, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_IN_VAIN(%rip)
        jmp     .Lask_sentry_\name
.Lwake_\name:
        // An address that no program can have is the sentry's to refuse.
        movq    %rdi, %rax
        shrq    $47, %rax
        jnz     .Lask_sentry_\name
        // What the program has stored comes before the look at the count, as futex(2) has it: a
        // waiter counts itself and then reads the word.
        lock addl $0, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SEEN(%rip)
        movl    %edi, %eax
        andl    $WAITERS_OFFSET_MASK, %eax
        addq    .Lwaiters_\name(%rip), %rax
        cmpl    $0, (%rax)
        jne     .Lask_sentry_\name
        xorl    %eax, %eax
        jmp     .Lanswered_\name
.Lseen_\name:
        incl    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SEEN(%rip)
.Lchanged_\name:
        movq    $-EAGAIN, %rax
        jmp     .Lanswered_\name
.else
.Lfutex_\name:
.endif
.Lfutex_end_\name:
6:      movq    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_NUMBER(%rip), %rax
        movq    %rax, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_RAX(%rip)
        movl    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_BY_SYSCALL(%rip), %eax
        movl    %eax, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_TRAPPED(%rip)
        movq    %rdi, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_ARGS + 0(%rip)
        movq    %rsi, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_ARGS + 8(%rip)
        movq    %rdx, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_ARGS + 16(%rip)
        movq    %r10, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_ARGS + 24(%rip)
        movq    %r8, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_ARGS + 32(%rip)
        movq    %r9, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_ARGS + 40(%rip)
        movl    $POSTED, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
.Lposted_\name:
        movl    $EAGER_LOOKS, %eax
5:      testb   $(DONE | PUNT), .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
        jnz     3f
        decl    %eax
        jnz     5b
        movl    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SPIN(%rip), %eax
1:      testb   $(DONE | PUNT), .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
        jnz     3f
        pause
        decl    %eax
        jnz     1b
        // Used up. A service thread that is at work on it is bound to finish.
2:      pause
        cmpl    $0, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_SERVING(%rip)
        je      4f
        testb   $(DONE | PUNT), .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
        jz      2b
        jmp     3f
        // Finished between the two looks, or never begun.
4:      testb   $(DONE | PUNT), .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
        jz      .Lnot_served_\name
3:      testb   $PUNT, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
        jnz     .Lpunted_\name
        movq    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_RAX(%rip), %rax
.Lresult_\name:
.Lanswered_\name:
.if \privileged
        sysretq
.Lrsp_lost_\name:
.Lrsp_back_\name:
.else
        // popfq brings back every flag that ring 3 may set, with AC and DF; it needs a stack and
        // the caller's must not be touched.
        movq    %rsp, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_RSP(%rip)
        leaq    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STACK_TOP(%rip), %rsp
.Lrsp_lost_\name:
        pushq   %r11
        popfq
        movq    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_RSP(%rip), %rsp
.Lrsp_back_\name:
        jmpq    *%rcx
.endif
.Lpunted_\name:
        movl    $0, .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_STATE(%rip)
.Lnot_served_\name:
        movq    .Lbegin_\name + CALL_PAGE_DISTANCE + CALL_PAGE_NUMBER(%rip), %rax
.Lexit_\name:
        outb    %al, $CALL_PORT
.Lexited_\name:
.if \privileged
        // The sentry has loaded rax, rcx and r11.
        sysretq
.endif
.Lend_\name:
        ud2
        .balign 8
.Lanswers_\name:
        .quad   ANSWER_PAGE
.Lwaiters_\name:
        .quad   WAITERS_PAGE
.Llast_\name:
        .quad   ANSWER_LAST
        .fill   4096 - (. - .Lbegin_\name), 1, 0xcc

        .balign 4
ringfence_trampoline_\name\()_info:
        .long   .Ldirect_\name - .Lbegin_\name
        .long   .Ldirect_rsp_lost_\name - .Lbegin_\name
        .long   .Ldirect_rsp_back_\name - .Lbegin_\name
        .long   .Lcommon_\name - .Lbegin_\name
        .long   .Lrax_saved_\name - .Lbegin_\name
        .long   .Lfutex_\name - .Lbegin_\name
        .long   .Lfutex_end_\name - .Lbegin_\name
        .long   .Lposted_\name - .Lbegin_\name
        .long   .Lresult_\name - .Lbegin_\name
        .long   .Lrsp_lost_\name - .Lbegin_\name
        .long   .Lrsp_back_\name - .Lbegin_\name
        .long   .Lpunted_\name - .Lbegin_\name
        .long   .Lexit_\name - .Lbegin_\name
        .long   .Lexited_\name - .Lbegin_\name
        .long   .Lend_\name - .Lbegin_\name
.endm

        .section .rodata.ringfence_trampoline, "a"
        TRAMPOLINE deprivileged, 0
        TRAMPOLINE privileged, 1

        .section .note.GNU-stack, "", @progbits
