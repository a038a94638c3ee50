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
  // Not explicit: `return value;` and `return Errno::kX;` are the point.
  constexpr Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  constexpr Result(Errno error)
      : state_(std::in_place_index<1>, error) {}  // NOLINT(runtime/explicit)
  // What converts to T, so that a unique_ptr to a derived class can be returned.
  template <typename U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
           !std::is_same_v<std::remove_cvref_t<U>, Result> &&
           !std::is_same_v<std::remove_cvref_t<U>, Errno>) constexpr Result(U&& value)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  constexpr bool ok() const { return state_.index() == 0; }
  constexpr Errno error() const { return *std::get_if<1>(&state_); }
  constexpr T& value() & { return *std::get_if<0>(&state_); }
  constexpr const T& value() const& { return *std::get_if<0>(&state_); }
  constexpr T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  constexpr T value_or(T other) const { return ok() ? value() : other; }
  constexpr T& operator*() { return value(); }
  constexpr const T& operator*() const { return value(); }
  constexpr T* operator->() { return &value(); }
  constexpr const T* operator->() const { return &value(); }

 private:
  std::variant<T, Errno> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using ValueType = void;
  constexpr Result() = default;
  constexpr Result(Errno error) : error_(error) {}
  constexpr bool ok() const { return error_ == Errno{}; }
  constexpr Errno error() const { return error_; }
  constexpr void value() const {}

 private:
  Errno error_{};
};

inline Result<void> Ok() { return {}; }

}  // namespace ringfence

// GNU statement expressions; both compilers we build with have them.
#define TRY(...)                             \
  __extension__({                            \
    auto ringfence_result = (__VA_ARGS__);   \
    if (!ringfence_result.ok()) [[unlikely]] \
      return ringfence_result.error();       \
    std::move(ringfence_result).value();     \
  })

#define MUST(...)                            \
  __extension__({                            \
    auto ringfence_result = (__VA_ARGS__);   \
    if (!ringfence_result.ok()) [[unlikely]] \
      std::abort();                          \
    std::move(ringfence_result).value();     \
  })

#endif  // RINGFENCE_PLATFORM_BASE_RESULT_H_
