#include "sentry/fs/dev/devices.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

// A tree whose root is what /dev holds.
struct DevFixture {
  DevFixture() {
    AddMemoryDevices(&tree.devices, &tree.platform.memory());
    auto fs = MakeDevFs(tree.ctx, &tree.platform.memory(), &tree.devices);
    REQUIRE(fs.ok());
    REQUIRE(tree.Mkdir("/dev") == Errno{});
    auto target = Vfs::Resolve(tree.ctx, tree.base, "/dev");
    REQUIRE(target.ok());
    REQUIRE(tree.ns->Mount(*fs, *target, "dev", 0).ok());
  }
  FileRef Open(std::string_view path) {
    auto file = tree.Open(path, O_RDWR);
    REQUIRE(file.ok());
    return *file;
  }
  TreeFixture tree;
};

TEST_CASE_METHOD(DevFixture, "null swallows and is empty") {
  const FileRef null = Open("/dev/null");
  CHECK(*WriteTo(tree.ctx, *null, "gone") == 4);
  CHECK(*ReadFrom(tree.ctx, *null, 10) == "");
  CHECK(ErrorOf(null->GetMappable(tree.ctx, false)) == Errno::kNODEV);
}

TEST_CASE_METHOD(DevFixture, "zero and full give zeros, full takes nothing") {
  CHECK(*ReadFrom(tree.ctx, *Open("/dev/zero"), 5) == std::string(5, '\0'));
  CHECK(*ReadFrom(tree.ctx, *Open("/dev/full"), 5) == std::string(5, '\0'));
  CHECK(*WriteTo(tree.ctx, *Open("/dev/zero"), "abc") == 3);
  CHECK(ErrorOf(WriteTo(tree.ctx, *Open("/dev/full"), "abc")) == Errno::kNOSPC);
  CHECK(Open("/dev/zero")->GetMappable(tree.ctx, true).ok());
}

TEST_CASE_METHOD(DevFixture, "random devices give different bytes each time") {
  for (const char* path : {"/dev/random", "/dev/urandom"}) {
    const auto one = ReadFrom(tree.ctx, *Open(path), 1000);
    const auto two = ReadFrom(tree.ctx, *Open(path), 1000);
    REQUIRE(one.ok());
    REQUIRE(two.ok());
    CHECK(one->size() == 1000);
    CHECK(*one != *two);
  }
}

TEST_CASE_METHOD(DevFixture, "nodes have Linux's numbers and modes") {
  const auto null = tree.Stat("/dev/null");
  REQUIRE(null.ok());
  CHECK(null->rdev == 0x103);
  CHECK(null->mode == (S_IFCHR | 0666));
  CHECK(tree.Stat("/dev/tty")->rdev == 0x500);
  CHECK(tree.OpenError("/dev/tty", O_RDWR) == Errno::kNXIO);
  CHECK(tree.Stat("/dev/fd", false)->mode == (S_IFLNK | 0777));
}

}  // namespace
}  // namespace ringfence::sentry
