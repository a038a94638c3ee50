// One round of the register test: everything is loaded from `in`, one operation happens, everything
// is stored to `out`. Globals are addressed RIP-relative so that no register is needed for it.
//
// struct Gprs { u64 rax rbx rcx rdx rsi rdi rbp r8..r15 rflags; u8 red_zone[128]; u64 rsp }

#define SLOT(area, n) area + 8 * (n)(%rip)

.macro LOAD_ALL
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  movq %rsp, SLOT(in, 32)
  movl $0xe7, %eax
  xorl %edx, %edx
  xrstor64 xsave_in(%rip)
  pushq SLOT(in, 15)
  popfq
.set i, 0
.rept 16
  movq in + 128 + 8 * i(%rip), %rax
  movq %rax, -128 + 8 * i(%rsp)
.set i, i + 1
.endr
  movq SLOT(in, 0), %rax
  movq SLOT(in, 1), %rbx
  movq SLOT(in, 2), %rcx
  movq SLOT(in, 3), %rdx
  movq SLOT(in, 4), %rsi
  movq SLOT(in, 5), %rdi
  movq SLOT(in, 6), %rbp
  movq SLOT(in, 7), %r8
  movq SLOT(in, 8), %r9
  movq SLOT(in, 9), %r10
  movq SLOT(in, 10), %r11
  movq SLOT(in, 11), %r12
  movq SLOT(in, 12), %r13
  movq SLOT(in, 13), %r14
  movq SLOT(in, 14), %r15
.endm

.macro STORE_ALL
  movq %rax, SLOT(out, 0)
  movq %rbx, SLOT(out, 1)
  movq %rcx, SLOT(out, 2)
  movq %rdx, SLOT(out, 3)
  movq %rsi, SLOT(out, 4)
  movq %rdi, SLOT(out, 5)
  movq %rbp, SLOT(out, 6)
  movq %r8, SLOT(out, 7)
  movq %r9, SLOT(out, 8)
  movq %r10, SLOT(out, 9)
  movq %r11, SLOT(out, 10)
  movq %r12, SLOT(out, 11)
  movq %r13, SLOT(out, 12)
  movq %r14, SLOT(out, 13)
  movq %r15, SLOT(out, 14)
  movq %rsp, SLOT(out, 32)
.set i, 0
.rept 16
  movq -128 + 8 * i(%rsp), %rax
  movq %rax, out + 128 + 8 * i(%rip)
.set i, i + 1
.endr
  pushfq
  popq SLOT(out, 15)
  cld
  pushq $0x202
  popfq
  movl $0xe7, %eax
  xorl %edx, %edx
  xsave64 xsave_out(%rip)
  addq $8, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret
.endm

.text
.globl RunSyscall, RunSyscallEnd
RunSyscall:
  LOAD_ALL
  syscall
RunSyscallEnd:
  STORE_ALL

// Jumps to itself until a signal handler points loop_target at RunSpinEnd.
.globl RunSpin, RunSpinLoop, RunSpinEnd
RunSpin:
  LOAD_ALL
RunSpinLoop:
  jmp *loop_target(%rip)
RunSpinEnd:
  STORE_ALL

// The same with a call in the loop, so that kicks hit the way into and out of it.
.globl RunSyscallLoop, RunSyscallLoopStart, RunSyscallLoopEnd
RunSyscallLoop:
  LOAD_ALL
RunSyscallLoopStart:
  movl $110, %eax
  syscall
RunSyscallLoopAfter:
  jmp *loop_target(%rip)
.globl RunSyscallLoopAfter
RunSyscallLoopEnd:
  STORE_ALL

.globl RunFault
RunFault:
  LOAD_ALL
  movb %al, (%rbx)
  STORE_ALL

.globl RunCpuid
RunCpuid:
  LOAD_ALL
  cpuid
  STORE_ALL

// Destroys every vector and x87 register: what a signal handler may do.
.globl ClobberVectors
ClobberVectors:
  vpcmpeqd %xmm0, %xmm0, %xmm0
  vmovdqa %ymm0, %ymm1
  vmovdqa %ymm0, %ymm7
  vmovdqa %ymm0, %ymm15
  fninit
  fldpi
  pushq $0x1f80 | 0x6000
  ldmxcsr (%rsp)
  addq $8, %rsp
  ret

.globl ClobberAvx512
ClobberAvx512:
  kxnorw %k0, %k0, %k0
  kxnorw %k1, %k1, %k7
  vpternlogd $0xff, %zmm0, %zmm0, %zmm0
  vmovdqa64 %zmm0, %zmm15
  vmovdqa64 %zmm0, %zmm16
  vmovdqa64 %zmm0, %zmm31
  ret

.section .note.GNU-stack, "", @progbits
