#include "gofer/server/tree.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <thread>
#include <vector>

#include "gofer/server/testing_temp_tree.h"

namespace ringfence::gofer {
namespace {

using Names = std::vector<std::string_view>;

struct Fixture {
  Fixture() {
    host.Directory("root/dir/sub");
    host.File("root/dir/file", "content");
    host.File("outside", "secret");
    host.Symlink("root/up", "../outside");
    host.Symlink("root/updir", "..");
    host.Symlink("root/absolute", "/etc/passwd");
    host.Symlink("root/loop", "loop");
    tree = Tree::Make(host.Open("root"), {}).value();
    root = tree->Attach(0).value().id;
  }

  WalkResult Walk(const Names& names) { return tree->Walk(root, names).value(); }
  NodeId Find(const Names& names) {
    const WalkResult walked = Walk(names);
    REQUIRE(walked.stopped == Errno{});
    return walked.nodes.back().id;
  }

  TempTree host;
  std::unique_ptr<Tree> tree;
  NodeId root;
};

std::string Content(const OpenedFile& file) {
  char buffer[64];
  const ssize_t size = pread(file.fd.get(), buffer, sizeof(buffer), 0);
  return std::string(buffer, size < 0 ? 0 : static_cast<size_t>(size));
}

TEST_CASE("walk, stat and open") {
  Fixture f;
  const WalkResult walked = f.Walk({"dir", "file"});
  REQUIRE(walked.nodes.size() == 2);
  CHECK(walked.stopped == Errno{});
  CHECK(S_ISDIR(walked.nodes[0].attr.mode));
  CHECK(walked.nodes[1].attr.size == 7);
  CHECK(f.tree->GetAttr(walked.nodes[1].id)->ino == walked.nodes[1].attr.ino);
  const Result<OpenedFile> file = f.tree->Open(walked.nodes[1].id, {}, O_RDONLY);
  REQUIRE(file.ok());
  CHECK(Content(*file) == "content");
  CHECK((fcntl(file->fd.get(), F_GETFL) & (O_ACCMODE | O_PATH)) == O_RDONLY);
  CHECK(f.tree->StatFs(f.root)->bsize > 0);
}

TEST_CASE("a walk stops where Linux would look further") {
  Fixture f;
  CHECK(f.Walk({"dir", "none", "x"}).stopped == Errno::kNOENT);
  CHECK(f.Walk({"dir", "none", "x"}).nodes.size() == 1);
  CHECK(f.Walk({"dir", "file", "x"}).stopped == Errno::kNOTDIR);
  CHECK(f.Walk({"dir", "file", "x"}).nodes.size() == 2);
  CHECK(f.Walk({"updir", "outside"}).stopped == Errno::kLOOP);
  CHECK(f.Walk({"updir", "outside"}).nodes.size() == 1);
}

TEST_CASE("symlinks are shown, never followed") {
  Fixture f;
  for (const std::string_view name : {"up", "updir", "absolute", "loop"}) {
    const NodeId link = f.Find({name});
    CHECK(S_ISLNK(f.tree->GetAttr(link)->mode));
    CHECK(f.tree->Open(link, {}, O_RDONLY).error() == Errno::kLOOP);
    CHECK(f.tree->ReadDir(link, 0, 4096, EntryDetail::kNames).error() == Errno::kNOTDIR);
    CHECK(f.tree->Walk(link, Names{"outside"}).value().stopped == Errno::kLOOP);
  }
  CHECK(f.tree->ReadLink(f.Find({"up"})).value() == "../outside");
  CHECK(f.tree->ReadLink(f.Find({"dir"})).error() == Errno::kINVAL);
}

TEST_CASE("malformed requests") {
  Fixture f;
  const std::string long_name(256, 'x');
  for (const std::string_view name :
       {std::string_view(""), std::string_view("."), std::string_view(".."),
        std::string_view("dir/file"), std::string_view("/etc"), std::string_view("a\0b", 3),
        std::string_view(long_name)}) {
    CHECK(f.tree->Walk(f.root, Names{name}).error() == Errno::kINVAL);
    CHECK(f.tree->Walk(f.root, Names{"dir", name}).error() == Errno::kINVAL);
  }
  CHECK(f.tree->Walk(f.root, Names{}).error() == Errno::kINVAL);
  CHECK(f.tree->Walk(f.root, Names(kMaxWalkComponents + 1, "dir")).error() == Errno::kINVAL);
  for (const NodeId id : {NodeId{0}, NodeId{12345}, ~NodeId{0}}) {
    CHECK(f.tree->Walk(id, Names{"dir"}).error() == Errno::kINVAL);
    CHECK(f.tree->GetAttr(id).error() == Errno::kINVAL);
    CHECK(f.tree->ReadLink(id).error() == Errno::kINVAL);
    CHECK(f.tree->Open(id, {}, 0).error() == Errno::kINVAL);
    CHECK(f.tree->ReadDir(id, 0, 100, EntryDetail::kNodes).error() == Errno::kINVAL);
    CHECK(f.tree->StatFs(id).error() == Errno::kINVAL);
    CHECK(f.tree->Close(std::vector{id}).error() == Errno::kINVAL);
  }
  CHECK(f.tree->Close(std::vector{f.root}).error() == Errno::kINVAL);
  CHECK(f.tree->Close(std::vector<NodeId>(kMaxCloseBatch + 1, 5)).error() == Errno::kINVAL);
  CHECK(f.tree->GetAttr(f.root).ok());
}

TEST_CASE("only regular files are opened, only for reading") {
  Fixture f;
  REQUIRE(mkfifo((f.host / "root/fifo").c_str(), 0600) == 0);
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  (f.host / "root/socket").string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  REQUIRE(bind(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  CHECK(f.tree->Open(f.Find({"fifo"}), {}, O_RDONLY).error() == Errno::kNXIO);
  CHECK(f.tree->Open(f.Find({"socket"}), {}, O_RDONLY).error() == Errno::kNXIO);
  CHECK(f.tree->Open(f.Find({"dir"}), {}, O_RDONLY).error() == Errno::kISDIR);
  const NodeId file = f.Find({"dir", "file"});
  for (const uint32_t flags : {O_WRONLY, O_RDWR, O_TRUNC}) {
    CHECK(f.tree->Open(file, {}, flags).error() == Errno::kROFS);
  }
  for (const uint32_t flags : {uint32_t{O_PATH}, uint32_t{O_DIRECTORY}, uint32_t{O_CREAT},
                               uint32_t{O_TMPFILE}, uint32_t{O_ACCMODE}, uint32_t{1} << 31}) {
    CHECK(f.tree->Open(file, {}, flags).error() == Errno::kINVAL);
  }
}

TEST_CASE("kernel file systems are named but not entered") {
  const auto tree = Tree::Make(UniqueFd(open("/", O_PATH)), {}).value();
  const NodeId root = tree->Attach(0)->id;
  const WalkResult walked = tree->Walk(root, Names{"proc", "self", "environ"}).value();
  REQUIRE(walked.nodes.size() == 1);
  CHECK(walked.stopped == Errno::kACCES);
  CHECK(S_ISDIR(walked.nodes[0].attr.mode));
  CHECK(tree->ReadDir(walked.nodes[0].id, 0, 4096, EntryDetail::kNames).error() == Errno::kACCES);
  CHECK(tree->Walk(root, Names{"sys", "kernel"}).value().stopped == Errno::kACCES);
}

std::multiset<std::string> List(Tree& tree, NodeId id, uint32_t max_bytes, EntryDetail detail) {
  std::multiset<std::string> names;
  int64_t cookie = 0;
  while (true) {
    const DirectoryPage page = tree.ReadDir(id, cookie, max_bytes, detail).value();
    REQUIRE((page.end || !page.entries.empty()));
    for (const DirectoryEntry& entry : page.entries) names.insert(entry.name);
    if (page.end) return names;
    cookie = page.entries.back().next_cookie;
  }
}

TEST_CASE("pages of a directory") {
  Fixture f;
  std::multiset<std::string> expected;
  for (int i = 0; i < 500; ++i) {
    std::string name = "entry \xff\n" + std::to_string(i);
    f.host.File("root/dir/sub/" + name, "");
    expected.insert(std::move(name));
  }
  const NodeId sub = f.Find({"dir", "sub"});
  const EntryDetail detail =
      GENERATE(EntryDetail::kNames, EntryDetail::kAttributes, EntryDetail::kNodes);
  const uint32_t max_bytes = GENERATE(0u, 1000u, 64u * 1024, kMaxReadDirBytes);
  CHECK(List(*f.tree, sub, max_bytes, detail) == expected);
  CHECK(f.tree->ReadDir(sub, 0, kMaxReadDirBytes + 1, detail).error() == Errno::kINVAL);
  CHECK(f.tree->ReadDir(sub, -1, 100, detail).error() == Errno::kINVAL);
}

TEST_CASE("entries with nodes can be used as if walked to") {
  Fixture f;
  const DirectoryPage page =
      f.tree->ReadDir(f.Find({"dir"}), 0, kMaxReadDirBytes, EntryDetail::kNodes).value();
  REQUIRE(page.entries.size() == 2);
  for (const DirectoryEntry& entry : page.entries) {
    CHECK(f.tree->GetAttr(entry.id)->ino == entry.attr.ino);
    if (entry.name == "file") CHECK(Content(*f.tree->Open(entry.id, {}, 0)) == "content");
    if (entry.name == "sub") CHECK(S_ISDIR(entry.attr.mode));
    CHECK(f.tree->Close(std::vector{entry.id}).ok());
  }
}

TEST_CASE("a directory read keeps its place while entries go") {
  Fixture f;
  for (int i = 0; i < 50; ++i) f.host.File("root/dir/sub/" + std::to_string(i), "");
  const NodeId sub = f.Find({"dir", "sub"});
  const DirectoryPage first = f.tree->ReadDir(sub, 0, 200, EntryDetail::kNames).value();
  REQUIRE_FALSE(first.end);
  std::filesystem::remove_all(f.host / "root/dir/sub");
  const auto rest = f.tree->ReadDir(sub, first.entries.back().next_cookie, kMaxReadDirBytes,
                                    EntryDetail::kAttributes);
  CHECK((!rest.ok() || rest->entries.empty()));
}

TEST_CASE("a swapped directory never leads outside") {
  Fixture f;
  f.host.Directory("root/swap");
  f.host.File("root/swap/outside", "inside");
  std::atomic<bool> stop = false;
  std::thread hostile([&] {
    const auto a = f.host / "root/swap", b = f.host / "root/updir";
    while (!stop) renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  });
  int read = 0;
  for (int i = 0; i < 1000; ++i) {
    const WalkResult walked = f.Walk({"swap", "outside"});
    std::vector<NodeId> ids;
    for (const Node& node : walked.nodes) ids.push_back(node.id);
    if (walked.stopped == Errno{}) {
      const Result<OpenedFile> file = f.tree->Open(ids.back(), {}, 0);
      if (file.ok()) {
        ++read;
        if (Content(*file) != "inside") FAIL("read outside of the root");
      }
    }
    CHECK(f.tree->Close(ids).ok());
  }
  stop = true;
  hostile.join();
  CHECK(read > 0);
}

std::vector<ino_t> InodesOf(const std::vector<ListedDirectory>& listed) {
  std::vector<ino_t> inodes;
  for (const ListedDirectory& directory : listed) inodes.push_back(directory.attr.ino);
  return inodes;
}

TEST_CASE("a tree is listed depth first, whole directories only") {
  Fixture f;
  f.host.Directory("root/t/a/b");
  f.host.Directory("root/t/c");
  f.host.File("root/t/a/file", "12345");
  f.host.Symlink("root/t/a/link", "../../outside");
  const NodeId t = f.Find({"t"});
  const ino_t a = f.Walk({"t", "a"}).nodes[1].attr.ino;
  const ino_t b = f.Walk({"t", "a", "b"}).nodes[2].attr.ino;
  const ino_t c = f.Walk({"t", "c"}).nodes[1].attr.ino;
  const auto all = f.tree->ReadTree(t, Names{"a", "c"}, 10, kMaxReadDirBytes).value();
  CHECK(InodesOf(all) == std::vector<ino_t>{a, b, c});
  REQUIRE(all[0].entries.size() == 3);
  for (const DirectoryEntry& entry : all[0].entries) {
    if (entry.name == "file") CHECK(entry.attr.size == 5);
    CHECK(entry.target == (entry.name == "link" ? "../../outside" : ""));
    CHECK(entry.id == 0);
  }
  CHECK(all[1].entries.empty());
  const auto two = f.tree->ReadTree(t, Names{"a", "c"}, 2, kMaxReadDirBytes).value();
  CHECK(InodesOf(two) == std::vector<ino_t>{a, b});
  CHECK(f.tree->ReadTree(t, Names{"a"}, 10, 300)->empty());
}

TEST_CASE("a tree leaves out what is no directory, and never leaves the root") {
  Fixture f;
  f.host.Directory("outside_dir/x");
  f.host.Symlink("root/dir/away", "../../outside_dir");
  const auto listed =
      f.tree->ReadTree(f.root, Names{"none", "up", "updir", "loop", "dir"}, 10, 4096).value();
  CHECK(listed.size() == 2);  // dir, dir/sub
  CHECK(f.tree->ReadTree(f.root, Names{".."}, 10, 4096).error() == Errno::kINVAL);
  CHECK(f.tree->ReadTree(f.root, Names{"a/b"}, 10, 4096).error() == Errno::kINVAL);
  CHECK(f.tree->ReadTree(f.root, Names{"dir"}, 0, 4096).error() == Errno::kINVAL);
  CHECK(f.tree->ReadTree(f.root, Names{"dir", "dir"}, 1, 4096).error() == Errno::kINVAL);
  CHECK(f.tree->ReadTree(f.root, Names{"dir"}, 257, 4096).error() == Errno::kINVAL);
  CHECK(f.tree->ReadTree(f.root, Names{"dir"}, 1, kMaxReadDirBytes + 1).error() == Errno::kINVAL);
  CHECK(f.tree->ReadTree(f.Find({"up"}), Names{"x"}, 1, 4096).error() == Errno::kLOOP);
  CHECK(f.tree->ReadTree(f.Find({"dir", "file"}), Names{"x"}, 1, 4096).error() == Errno::kNOTDIR);
}

TEST_CASE("opening along a path") {
  Fixture f;
  CHECK(Content(*f.tree->Open(f.root, Names{"dir", "file"}, 0)) == "content");
  CHECK(f.tree->Open(f.root, Names{"dir", "none"}, 0).error() == Errno::kNOENT);
  CHECK(f.tree->Open(f.root, Names{"dir", "file", "x"}, 0).error() == Errno::kNOTDIR);
  CHECK(f.tree->Open(f.root, Names{"up"}, 0).error() == Errno::kLOOP);
  CHECK(f.tree->Open(f.root, Names{"updir", "outside"}, 0).error() == Errno::kLOOP);
  CHECK(f.tree->Open(f.root, Names{"..", "outside"}, 0).error() == Errno::kINVAL);
  CHECK(f.tree->Open(f.root, Names{"dir", ""}, 0).error() == Errno::kINVAL);
  CHECK(f.tree->Open(f.root, Names{"dir"}, 0).error() == Errno::kISDIR);
  CHECK(f.tree->Open(f.root, Names(129, "dir"), 0).error() == Errno::kINVAL);
}

}  // namespace
}  // namespace ringfence::gofer
