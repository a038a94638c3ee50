// The entry point of Catch2 tests that need /dev/kvm: skipped (77) where there is none.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#define CATCH_CONFIG_RUNNER
#define CATCH_CONFIG_NO_POSIX_SIGNALS  // as in main.cc
#include <catch2/catch.hpp>

int main(int argc, char** argv) {
  int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    std::printf("SKIPPED: /dev/kvm: %s\n", std::strerror(errno));
    return 77;
  }
  close(fd);
  return Catch::Session().run(argc, argv);
}
