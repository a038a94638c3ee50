// Result<T>: a value or the Errno that explains why there is none. No heap, no exceptions.
//
// TRY(expr) yields the value of a Result or returns its Errno from the enclosing function.
// MUST(expr) yields the value and aborts the process otherwise: each use carries a comment that
// says why it cannot fail, and none may depend on what a guest does.
#ifndef RINGFENCE_PLATFORM_BASE_RESULT_H_
#define RINGFENCE_PLATFORM_BASE_RESULT_H_

#include <cstdlib>
#include <type_traits>
#include <utility>
#include <variant>

#include "platform/base/errno.h"

namespace ringfence {

template <typename T>
class [[nodiscard]] Result {
 public:
  using ValueType = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(runtime/explicit)
  Result(Errno error) : state_(std::in_place_index<1>, error) {}         // NOLINT(runtime/explicit)

  bool ok() const { return state_.index() == 0; }
  Errno error() const { return *std::get_if<1>(&state_); }
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T value_or(T other) const { return ok() ? value() : other; }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Errno> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using ValueType = void;
  Result() = default;
  Result(Errno error) : error_(error) {}  // NOLINT(runtime/explicit)
  bool ok() const { return error_ == Errno{}; }
  Errno error() const { return error_; }
  void value() const {}

 private:
  Errno error_{};
};

inline Result<void> Ok() { return {}; }

}  // namespace ringfence

// GNU statement expressions; both compilers we build with have them.
#define TRY(...)                                    \
  __extension__({                                   \
    auto ringfence_result = (__VA_ARGS__);          \
    if (!ringfence_result.ok()) [[unlikely]]        \
      return ringfence_result.error();              \
    std::move(ringfence_result).value();            \
  })

#define MUST(...)                                   \
  __extension__({                                   \
    auto ringfence_result = (__VA_ARGS__);          \
    if (!ringfence_result.ok()) [[unlikely]]        \
      std::abort();                                 \
    std::move(ringfence_result).value();            \
  })

#endif  // RINGFENCE_PLATFORM_BASE_RESULT_H_
