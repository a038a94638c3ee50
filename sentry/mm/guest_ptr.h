// Typed guest pointers: GuestIn<T>, GuestOut<T>, GuestInOut<T>, GuestCString. They cannot be
// dereferenced or converted; copies count elements and check overflow. What is copied in is a
// snapshot: validate the copy, never read twice.
#ifndef RINGFENCE_SENTRY_MM_GUEST_PTR_H_
#define RINGFENCE_SENTRY_MM_GUEST_PTR_H_

#include <limits.h>

#include <string>
#include <type_traits>
#include <vector>

#include "sentry/mm/memory_manager.h"

namespace ringfence::sentry {

namespace internal {
template <typename T>
concept AbiType = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>;
}  // namespace internal

template <internal::AbiType T>
class GuestPtrBase {
 public:
  constexpr GuestPtrBase() = default;
  constexpr explicit GuestPtrBase(uint64_t value) : addr_(value) {}
  constexpr VirtAddr addr() const { return addr_; }
  constexpr bool is_null() const { return addr_.is_null(); }
  // Address of element i; EFAULT on overflow.
  Result<VirtAddr> At(uint64_t i) const {
    uint64_t offset;
    if (__builtin_mul_overflow(i, sizeof(T), &offset)) return Errno::kFAULT;
    return addr_.Add(offset);
  }

 protected:
  VirtAddr addr_;
};

template <internal::AbiType T>
class GuestIn : public GuestPtrBase<T> {
 public:
  using GuestPtrBase<T>::GuestPtrBase;
  Result<T> Load(MemoryManager& mm) const {
    T value;
    TRY(mm.CopyIn(&value, this->addr_, sizeof(T)));
    return value;
  }
  // `count` elements, at most `max` (EINVAL beyond).
  Result<std::vector<T>> LoadArray(MemoryManager& mm, uint64_t count, uint64_t max) const {
    if (count > max) return Errno::kINVAL;
    std::vector<T> values(count);
    if (count != 0) TRY(mm.CopyIn(values.data(), this->addr_, count * sizeof(T)));
    return values;
  }
};

template <internal::AbiType T>
class GuestOut : public GuestPtrBase<T> {
 public:
  using GuestPtrBase<T>::GuestPtrBase;
  Result<void> Store(MemoryManager& mm, const T& value) const {
    return mm.CopyOut(this->addr_, &value, sizeof(T));
  }
  Result<void> StoreArray(MemoryManager& mm, const T* values, uint64_t count) const {
    uint64_t bytes;
    if (__builtin_mul_overflow(count, sizeof(T), &bytes)) return Errno::kFAULT;
    return mm.CopyOut(this->addr_, values, bytes);
  }
};

template <internal::AbiType T>
class GuestInOut : public GuestIn<T> {
 public:
  using GuestIn<T>::GuestIn;
  Result<void> Store(MemoryManager& mm, const T& value) const {
    return mm.CopyOut(this->addr_, &value, sizeof(T));
  }
};

class GuestCString {
 public:
  constexpr GuestCString() = default;
  constexpr explicit GuestCString(uint64_t value) : addr_(value) {}
  constexpr VirtAddr addr() const { return addr_; }
  constexpr bool is_null() const { return addr_.is_null(); }
  // A path: at most PATH_MAX bytes with its NUL; ENAMETOOLONG, EFAULT.
  Result<std::string> LoadPath(MemoryManager& mm) const { return mm.CopyInString(addr_, PATH_MAX); }
  Result<std::string> Load(MemoryManager& mm, size_t max) const {
    return mm.CopyInString(addr_, max);
  }

 private:
  VirtAddr addr_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_GUEST_PTR_H_
