// ioctl request numbers of KVM that <linux/kvm.h> gets wrong in C++: it declares flexible arrays
// with an empty struct in front, which has a size there, so that struct kvm_cpuid2, kvm_msrs and
// kvm_xsave come out too large, and with them the numbers. These are the numbers of C.
#ifndef RINGFENCE_PLATFORM_KVM_REQUEST_NUMBERS_H_
#define RINGFENCE_PLATFORM_KVM_REQUEST_NUMBERS_H_

#include <linux/kvm.h>

#include <cstddef>

namespace ringfence::kvm {

inline constexpr size_t kXsaveBytes = 4096;
inline constexpr size_t kCountedHeader = 8;  // before the entries of kvm_cpuid2 and kvm_msrs

inline constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, kCountedHeader);
inline constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kCountedHeader);
inline constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, kXsaveBytes);
inline constexpr unsigned long kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, kXsaveBytes);

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_REQUEST_NUMBERS_H_
