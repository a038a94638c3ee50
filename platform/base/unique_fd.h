// UniqueFd: owns one host file descriptor and closes it. Move-only; -1 means none.
#ifndef RINGFENCE_PLATFORM_BASE_UNIQUE_FD_H_
#define RINGFENCE_PLATFORM_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace ringfence {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Gives up ownership.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  // Closes what is held and takes `fd`. close(2) is never retried: Linux frees the number first.
  void Reset(int fd = -1) {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_UNIQUE_FD_H_
