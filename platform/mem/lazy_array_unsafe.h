// LazyArray<T>: a fixed-size array of zero bytes whose pages exist only once touched, for tables
// that are large in theory and small in practice. Threads: as for a plain array.
#ifndef RINGFENCE_PLATFORM_MEM_LAZY_ARRAY_UNSAFE_H_
#define RINGFENCE_PLATFORM_MEM_LAZY_ARRAY_UNSAFE_H_

#include <sys/mman.h>

#include <cstddef>
#include <type_traits>
#include <utility>

#include "platform/base/result.h"

namespace ringfence::platform {

template <typename T>
class LazyArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  LazyArray() = default;
  ~LazyArray() {
    if (data_ != nullptr) munmap(data_, count_ * sizeof(T));
  }
  LazyArray(LazyArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  LazyArray& operator=(LazyArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }

  // ENOMEM when the host's limits do not allow the reservation. `count` > 0.
  static Result<LazyArray> Create(size_t count) {
    void* p = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return Errno::kNOMEM;
    LazyArray array;
    // SAFETY: the memory is page aligned, zero, ours until munmap, and T is a type for which all
    // zero bytes are a valid value (integers, atomics of them, and structs of those).
    array.data_ = static_cast<T*>(p);
    array.count_ = count;
    return array;
  }

  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return count_; }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace ringfence::platform

#endif  // RINGFENCE_PLATFORM_MEM_LAZY_ARRAY_UNSAFE_H_
