#include "sentry/fs/dev/dev.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

struct DevFixture : TreeFixture {
  DevFixture() {
    RegisterMemoryDevices(devices, &platform.memory());
    Mkdir("/dev");
    auto dev = MakeDevFs({.memory = &platform.memory(), .devices = &devices});
    REQUIRE(dev.ok());
    REQUIRE(ns->Mount(*dev, *Vfs::Resolve(ctx, base, "/dev"), "dev", 0).ok());
  }
};

TEST_CASE("/dev has its nodes, links and directories") {
  DevFixture t;
  CHECK(t.List("/dev").size() == 14);
  const Attributes null = *t.Stat("/dev/null");
  CHECK(null.mode == (S_IFCHR | 0666));
  CHECK(null.rdev == 0x103);
  CHECK(*Vfs::ReadLink(t.ctx, t.base, "/dev/stdin") == "/proc/self/fd/0");
  CHECK((t.Stat("/dev/shm")->mode & 07777) == 01777);
  CHECK(t.OpenError("/dev/tty", O_RDWR) == Errno::kNXIO);
}

TEST_CASE("null swallows, zero and full give zeros, full is full") {
  DevFixture t;
  FileRef null = *t.Open("/dev/null", O_RDWR);
  CHECK(*WriteTo(t.ctx, *null, "gone") == 4);
  CHECK(ReadFrom(t.ctx, *null, 10)->empty());
  CHECK(*null->Seek(t.ctx, 100, SEEK_SET) == 0);
  FileRef zero = *t.Open("/dev/zero", O_RDWR);
  CHECK(*ReadFrom(t.ctx, *zero, 5) == std::string(5, '\0'));
  CHECK(*WriteTo(t.ctx, *zero, "gone") == 4);
  CHECK(zero->GetMappable(t.ctx, true).ok());
  FileRef full = *t.Open("/dev/full", O_RDWR);
  CHECK(ErrorOf(WriteTo(t.ctx, *full, "x")) == Errno::kNOSPC);
  CHECK(*ReadFrom(t.ctx, *full, 3) == std::string(3, '\0'));
}

TEST_CASE("random numbers differ, and long reads leave the service thread") {
  DevFixture t;
  FileRef random = *t.Open("/dev/urandom", O_RDONLY);
  CHECK(*ReadFrom(t.ctx, *random, 5000) != *ReadFrom(t.ctx, *random, 5000));
  CallContext service = t.ctx;
  service.may_block = false;
  CHECK(ReadFrom(service, *random, 256)->size() == 256);
  CHECK(ErrorOf(ReadFrom(service, *random, 1 << 20)) == Errno::kWOULDBLOCK_RETRY_ON_TASK);
}

TEST_CASE("a device node made elsewhere opens the same driver, none opens ENXIO") {
  DevFixture t;
  REQUIRE(Vfs::Mknod(t.ctx, t.base, "/mynull", S_IFCHR | 0600, 0x103).ok());
  FileRef null = *t.Open("/mynull", O_WRONLY);
  CHECK(*WriteTo(t.ctx, *null, "gone") == 4);
  REQUIRE(Vfs::Mknod(t.ctx, t.base, "/none", S_IFCHR | 0600, 0xabcd).ok());
  CHECK(t.OpenError("/none", O_RDONLY) == Errno::kNXIO);
  CHECK(ErrorOf(Vfs::Mknod(UserContext(7, 7), t.base, "/no", S_IFCHR | 0600, 0x103)) ==
        Errno::kPERM);
}

}  // namespace
}  // namespace ringfence::sentry
