// The instructions of platform/mem/safe_copy.h that may fault.
//
// SAFETY: a fault is recovered only at the labels listed in safe_copy_arch_unsafe.cc, where the
// stack is as at entry (no frame) and only caller-saved registers are live. `rep movsb` and
// `rep stosb` are restartable: at a fault RCX is exactly the number of bytes still to do (SDM
// vol. 2, REP), which is the result.

    .text

    .globl ringfence_safe_copy
    .type ringfence_safe_copy, @function
    .p2align 4
ringfence_safe_copy:
    movq %rdx, %rcx
    .globl ringfence_safe_copy_access
ringfence_safe_copy_access:
    rep movsb
    .globl ringfence_safe_copy_landing
ringfence_safe_copy_landing:
    movq %rcx, %rax
    ret
    .size ringfence_safe_copy, . - ringfence_safe_copy

    .globl ringfence_safe_zero
    .type ringfence_safe_zero, @function
    .p2align 4
ringfence_safe_zero:
    movq %rsi, %rcx
    xorl %eax, %eax
    .globl ringfence_safe_zero_access
ringfence_safe_zero_access:
    rep stosb
    .globl ringfence_safe_zero_landing
ringfence_safe_zero_landing:
    movq %rcx, %rax
    ret
    .size ringfence_safe_zero, . - ringfence_safe_zero

    .globl ringfence_safe_load32
    .type ringfence_safe_load32, @function
    .p2align 4
ringfence_safe_load32:
    .globl ringfence_safe_load32_access
ringfence_safe_load32_access:
    movl (%rdi), %eax
    movl %eax, (%rsi)
    xorl %eax, %eax
    ret
    .size ringfence_safe_load32, . - ringfence_safe_load32

    .globl ringfence_safe_store32
    .type ringfence_safe_store32, @function
    .p2align 4
ringfence_safe_store32:
    // XCHG: sequentially consistent, as futex words need.
    .globl ringfence_safe_store32_access
ringfence_safe_store32_access:
    xchgl %esi, (%rdi)
    xorl %eax, %eax
    ret
    .size ringfence_safe_store32, . - ringfence_safe_store32

    .globl ringfence_safe_cas32
    .type ringfence_safe_cas32, @function
    .p2align 4
ringfence_safe_cas32:
    movl (%rsi), %eax
    .globl ringfence_safe_cas32_access
ringfence_safe_cas32_access:
    lock cmpxchgl %edx, (%rdi)
    movl %eax, (%rsi)
    xorl %eax, %eax
    ret
    .size ringfence_safe_cas32, . - ringfence_safe_cas32

    .globl ringfence_safe_fault_landing
ringfence_safe_fault_landing:
    movl $1, %eax
    ret

    .section .note.GNU-stack, "", @progbits
