#include "runtime/sandbox/debug_socket.h"

#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

namespace ringfence::runtime {
namespace {

class Directory {
 public:
  Directory() { REQUIRE(mkdtemp(name_.data()) != nullptr); }
  ~Directory() { std::filesystem::remove_all(name_); }
  std::string Socket() const { return name_ + "/do-1.sock"; }
  size_t Files() const {
    const std::filesystem::directory_iterator files(name_);
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

 private:
  std::string name_ = "/tmp/ringfence-test-XXXXXX";
};

// Whether somebody listens there, or will once a remover has put the socket back.
bool IsReached(const std::string& path) {
  for (int i = 0; i < 1000; ++i) {
    const absl::Status status = ConnectTo(path).status();
    if (status.ok() || absl::IsDeadlineExceeded(status)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// Removes dead sockets all the time, as listings of `ringfence debug` do.
class Remover {
 public:
  explicit Remover(std::string path) : thread_([this, path = std::move(path)] { Run(path); }) {}
  ~Remover() {
    over_ = true;
    thread_.join();
  }

 private:
  void Run(const std::string& path) {
    while (!over_) RemoveIfDead(path);
  }

  std::atomic<bool> over_{false};
  std::thread thread_;
};

TEST_CASE("a socket that listens stays, one whose process is gone is removed") {
  const Directory directory;
  std::optional<UniqueFd> fd(ListenAt(directory.Socket()).value());
  RemoveIfDead(directory.Socket());
  CHECK(ConnectTo(directory.Socket()).ok());
  CHECK(directory.Files() == 1);
  fd.reset();
  CHECK(absl::IsUnavailable(ConnectTo(directory.Socket()).status()));
  RemoveIfDead(directory.Socket());
  CHECK(directory.Files() == 0);
  RemoveIfDead(directory.Socket());
}

TEST_CASE("one that cannot answer now is not dead") {
  const Directory directory;
  const UniqueFd fd = ListenAt(directory.Socket()).value();
  while (ConnectTo(directory.Socket()).ok()) {
  }
  CHECK(absl::IsDeadlineExceeded(ConnectTo(directory.Socket()).status()));
  RemoveIfDead(directory.Socket());
  CHECK(directory.Files() == 1);
}

TEST_CASE("bug: a listing removes the socket of a sandbox that is between bind and listen") {
  const Directory directory;
  const Remover remover(directory.Socket());
  for (int i = 0; i < 2000; ++i) {
    const absl::StatusOr<UniqueFd> fd = ListenAt(directory.Socket());
    REQUIRE(fd.ok());
    REQUIRE(IsReached(directory.Socket()));
    unlink(directory.Socket().c_str());
  }
}

TEST_CASE("bug: a listing removes the socket of a sandbox that took the place of a dead one") {
  const Directory directory;
  const Remover remover(directory.Socket());
  for (int i = 0; i < 2000; ++i) {
    const absl::StatusOr<UniqueFd> fd = ListenAt(directory.Socket());  // dead after the round
    REQUIRE(fd.ok());
    REQUIRE(IsReached(directory.Socket()));
  }
}

TEST_CASE("a name that is too long for a socket is refused") {
  const Directory directory;
  const std::string path = directory.Socket() + std::string(100, 'x');
  CHECK_FALSE(ListenAt(path).ok());
  CHECK_FALSE(ConnectTo(path).ok());
}

}  // namespace
}  // namespace ringfence::runtime
