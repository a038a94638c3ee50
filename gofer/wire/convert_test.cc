#include "gofer/wire/convert.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

namespace ringfence::gofer {
namespace {

TEST_CASE("components") {
  CHECK(IsValidComponent("a"));
  CHECK(IsValidComponent("..."));
  CHECK(IsValidComponent("\xff\x01 \n"));
  CHECK(IsValidComponent(std::string(255, 'x')));
  CHECK_FALSE(IsValidComponent(""));
  CHECK_FALSE(IsValidComponent("."));
  CHECK_FALSE(IsValidComponent(".."));
  CHECK_FALSE(IsValidComponent("a/b"));
  CHECK_FALSE(IsValidComponent("/"));
  CHECK_FALSE(IsValidComponent(std::string_view("a\0b", 3)));
  CHECK_FALSE(IsValidComponent(std::string(256, 'x')));
}

TEST_CASE("attributes survive the wire") {
  const Attributes in = {.dev = 1,
                         .ino = ~uint64_t{0},
                         .mode = S_IFREG | 04755,
                         .nlink = 3,
                         .uid = ~uint32_t{0},
                         .gid = 5,
                         .rdev = 6,
                         .size = uint64_t{1} << 40,
                         .blocks = 8,
                         .blksize = 512,
                         .atime = {.sec = -1, .nsec = 999'999'999},
                         .mtime = {.sec = 2, .nsec = 3},
                         .ctime = {.sec = 4, .nsec = 5},
                         .btime = {.sec = 6, .nsec = 7}};
  wire::Attributes wire;
  ToWire(in, &wire);
  const Attributes out = FromWire(wire).value();
  CHECK(out.ino == in.ino);
  CHECK(out.mode == in.mode);
  CHECK(out.uid == in.uid);
  CHECK(out.size == in.size);
  CHECK(out.atime.sec == -1);
  CHECK(out.atime.nsec == 999'999'999);
  CHECK(out.btime.nsec == 7);
}

TEST_CASE("nonsense of a peer is EIO") {
  wire::Node node;
  ToWire(Node{.id = 1, .attr = {.mode = S_IFDIR | 0755}}, &node);
  REQUIRE(FromWire(node).ok());
  SECTION("node 0") { node.set_id(0); }
  SECTION("no type") { node.mutable_attr()->set_mode(0755); }
  SECTION("unknown type") { node.mutable_attr()->set_mode(0170000); }
  SECTION("bits above the type") { node.mutable_attr()->set_mode(0x10000 | S_IFDIR); }
  SECTION("a size beyond off_t") { node.mutable_attr()->set_size(uint64_t{1} << 63); }
  SECTION("nanoseconds") { node.mutable_attr()->mutable_mtime()->set_nsec(1'000'000'000); }
  CHECK(FromWire(node).error() == Errno::kIO);
}

TEST_CASE("error numbers of a peer") {
  CHECK(ErrnoFromWire(0) == Errno{});
  CHECK(ErrnoFromWire(2) == Errno::kNOENT);
  CHECK(ErrnoFromWire(-2) == Errno::kIO);
  CHECK(ErrnoFromWire(512) == Errno::kIO);  // would restart the guest's call
  CHECK(ErrnoFromWire(600) == Errno::kIO);
  CHECK(ErrnoFromWire(41) == Errno::kIO);  // a gap: EWOULDBLOCK is EAGAIN
  CHECK(ErrnoFromWire(133) == Errno::kHWPOISON);
}

}  // namespace
}  // namespace ringfence::gofer
