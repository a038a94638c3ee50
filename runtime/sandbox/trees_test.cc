#include "runtime/sandbox/trees.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "gofer/server/testing_temp_tree.h"

namespace ringfence::runtime {
namespace {

using gofer::Access;

DoCommand With(std::vector<Volume> volumes) {
  DoCommand command;
  command.volumes = std::move(volumes);
  return command;
}

std::string ErrorOf(const DoCommand& command) {
  return std::string(OpenTrees(command).status().message());
}

TEST_CASE("the root alone") {
  const auto trees = OpenTrees(DoCommand{});
  REQUIRE(trees.ok());
  REQUIRE(trees->trees.size() == 1);
  CHECK(trees->trees[0].access == Access::kReadOnly);
  DoCommand direct;
  direct.overlay.kind = OverlayFlag::Kind::kNone;
  CHECK(OpenTrees(direct)->trees[0].access == Access::kReadWrite);
}

TEST_CASE("volumes, outer ones first, and an upper layer") {
  gofer::TempTree host;
  host.Directory("a");
  host.Directory("upper");
  host.File("file", "x");
  host.Symlink("link", "a");
  DoCommand command =
      With({{.source = host / "file", .destination = "/x//y/./z/../1/2/3/f", .read_only = true},
            {.source = host / "a", .destination = "/x"},
            {.source = host / "link", .destination = ""}});
  command.overlay = {.kind = OverlayFlag::Kind::kDirectory, .directory = host / "upper"};
  const auto trees = OpenTrees(command);
  REQUIRE(trees.ok());
  REQUIRE(trees->volumes.size() == 3);
  CHECK(trees->volumes[0].destination == "/x");
  CHECK(trees->volumes[1].destination == (host / "a").string());
  CHECK(trees->volumes[2].destination == "/x/y/1/2/3/f");
  CHECK(trees->volumes[2].read_only);
  REQUIRE(trees->trees.size() == 5);
  CHECK(trees->trees[0].access == Access::kReadOnly);
  CHECK(trees->trees[1].access == Access::kReadWrite);
  CHECK(trees->trees[3].access == Access::kReadOnly);
  CHECK(trees->trees[4].access == Access::kReadWrite);
}

TEST_CASE("what cannot be is named") {
  gofer::TempTree host;
  host.Directory("a");
  host.File("file", "x");
  REQUIRE(mkfifo((host / "fifo").c_str(), 0600) == 0);
  const std::string none = host / "none", a = host / "a", fifo = host / "fifo";
  CHECK(ErrorOf(With({{.source = none, .destination = "/x"}})) ==
        "--volume " + none + ": No such file or directory");
  CHECK(ErrorOf(With({{.source = none, .destination = ""}})) ==
        "--rw " + none + ": No such file or directory");
  CHECK(ErrorOf(With({{.source = fifo, .destination = "/x"}})).find(fifo) != std::string::npos);
  CHECK(ErrorOf(With({{.source = a, .destination = "/y/.."}})).find("root") != std::string::npos);
  CHECK(ErrorOf(With({{.source = a, .destination = "/x"}, {.source = a, .destination = "//x/"}})) ==
        "--volume /x is there twice");
  DoCommand command;
  command.overlay = {.kind = OverlayFlag::Kind::kDirectory, .directory = host / "file"};
  CHECK(ErrorOf(command).find("--overlay=dir=") == 0);
}

}  // namespace
}  // namespace ringfence::runtime
