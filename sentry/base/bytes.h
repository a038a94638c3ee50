// The bytes of a value, as a structure of the ABI goes to a guest. Threads: any.
#ifndef RINGFENCE_SENTRY_BASE_BYTES_H_
#define RINGFENCE_SENTRY_BASE_BYTES_H_

#include <cstring>
#include <string>
#include <type_traits>

namespace ringfence::sentry {

// T has no padding that could show what was in memory before.
template <typename T>
std::string BytesOf(const T& value) {
  static_assert(std::has_unique_object_representations_v<T>);
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_BASE_BYTES_H_
