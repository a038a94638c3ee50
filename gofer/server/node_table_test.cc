#include "gofer/server/node_table.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <vector>

#include "gofer/server/beneath.h"
#include "gofer/server/testing_temp_tree.h"

namespace ringfence::gofer {
namespace {

struct Fixture {
  explicit Fixture(NodeTableLimits limits) : table(limits) {
    UniqueFd fd = tree.Open();
    const Attributes attr = StatPath(fd.get()).value();
    root = table.MakeRoot(0, std::move(fd), attr, false);
  }

  Result<TreeNodeRef> Child(const TreeNodeRef& parent, const std::string& name) {
    const PathFd dir = TRY(table.Descriptor(parent));
    UniqueFd fd = TRY(OpenPath(dir->get(), name));
    const Attributes attr = TRY(StatPath(fd.get()));
    return table.Make(parent, name, attr, false, std::move(fd));
  }

  TempTree tree;
  NodeTable table;
  TreeNodeRef root;
};

TEST_CASE("ids are unique and end with Close") {
  Fixture f({.nodes = 10, .descriptors = 10});
  f.tree.File("a", "");
  const NodeId one = f.table.Publish(f.Child(f.root, "a").value());
  const NodeId two = f.table.Publish(f.Child(f.root, "a").value());
  CHECK(one != two);
  CHECK(f.table.Find(one).ok());
  CHECK(f.table.Close(one).ok());
  CHECK(f.table.Find(one).error() == Errno::kINVAL);
  CHECK(f.table.Close(one).error() == Errno::kINVAL);
  CHECK(f.table.Find(two).ok());
  CHECK(f.table.Find(0).error() == Errno::kINVAL);
}

TEST_CASE("nodes are bounded, also those kept by their children") {
  Fixture f({.nodes = 3, .descriptors = 10});
  f.tree.Directory("d/e");
  TreeNodeRef d = f.Child(f.root, "d").value();
  TreeNodeRef e = f.Child(d, "e").value();
  d.reset();
  CHECK(f.Child(f.root, "d").error() == Errno::kNFILE);
  e.reset();
  CHECK(f.table.node_count() == 1);
  CHECK(f.Child(f.root, "d").ok());
}

TEST_CASE("descriptors are bounded and opened anew") {
  Fixture f({.nodes = 100, .descriptors = 4});
  f.tree.Directory("d/e/f");
  std::vector<TreeNodeRef> nodes = {f.Child(f.root, "d").value()};
  nodes.push_back(f.Child(nodes[0], "e").value());
  nodes.push_back(f.Child(nodes[1], "f").value());
  for (int i = 0; i < 20; ++i) {
    f.tree.File(std::to_string(i), "");
    nodes.push_back(f.Child(f.root, std::to_string(i)).value());
  }
  CHECK(f.table.descriptor_count() == 4);
  for (const TreeNodeRef& node : nodes) {
    const PathFd fd = f.table.Descriptor(node).value();
    CHECK(Identity::Of(StatPath(fd->get()).value()) == node->identity());
    CHECK(f.table.descriptor_count() <= 4);
  }
}

TEST_CASE("a node without descriptor that is not there any more is stale") {
  Fixture f({.nodes = 100, .descriptors = 1});
  f.tree.File("a", "");
  f.tree.File("b", "");
  f.tree.File("c", "");
  const TreeNodeRef a = f.Child(f.root, "a").value();
  const TreeNodeRef c = f.Child(f.root, "c").value();
  SECTION("replaced") { std::filesystem::rename(f.tree / "b", f.tree / "a"); }
  SECTION("removed") { std::filesystem::remove(f.tree / "a"); }
  SECTION("replaced by a symlink to another file") {
    std::filesystem::remove(f.tree / "a");
    f.tree.Symlink("a", "b");
  }
  CHECK(f.table.Descriptor(a).error() == Errno::kSTALE);
  CHECK(f.table.Descriptor(c).ok());
}

TEST_CASE("a very deep chain of nodes is given back without deep recursion") {
  Fixture f({.nodes = 500'000, .descriptors = 4});
  const Attributes attr = StatPath(f.tree.Open().get()).value();
  TreeNodeRef node = f.root;
  for (int i = 0; i < 400'000; ++i) {
    node = f.table.Make(node, "d", attr, false, UniqueFd()).value();
  }
  node.reset();
  CHECK(f.table.node_count() == 1);
}

}  // namespace
}  // namespace ringfence::gofer
