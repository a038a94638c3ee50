// Changes: what they do, and what a hostile sentry cannot make them do.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gofer/server/testing_temp_tree.h"
#include "gofer/server/tree.h"

namespace ringfence::gofer {
namespace {

using Open = Client::AlsoOpen;
using Victim = Client::Victim;

struct Fixture {
  Fixture() {
    host.Directory("root/dir/sub");
    host.File("root/dir/file", "content");
    host.Directory("other");
    host.File("other/file", "other");
    host.File("outside", "secret");
    host.Symlink("root/up", "..");
    host.Directory("readonly/dir");
    host.File("readonly/file", "content");
    std::vector<Export> exports;
    exports.push_back({host.Open("root"), Access::kReadWrite});
    exports.push_back({host.Open("other"), Access::kReadWrite});
    exports.push_back({host.Open("readonly"), Access::kReadOnly});
    tree = Tree::Make(std::move(exports), {}).value();
    root = tree->Attach(0)->id;
    other = tree->Attach(1)->id;
    readonly = tree->Attach(2)->id;
  }
  NodeId Find(NodeId from, std::vector<std::string_view> names) {
    const WalkResult walked = tree->Walk(from, names).value();
    REQUIRE(walked.stopped == Errno{});
    return walked.nodes.back().id;
  }
  NodeId Dir() { return Find(root, {"dir"}); }
  NewObject Object(uint32_t mode) const { return {.mode = mode, .uid = getuid(), .gid = getgid()}; }
  Errno MakeError(NodeId dir, std::string_view name, const NewObject& object) {
    return tree->Make(dir, name, object, Open::kNo, 0).error();
  }
  std::string Content(const std::string& name) const {
    std::ifstream in(host / name, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }
  struct stat Stat(const std::string& name) const {
    struct stat s = {};
    REQUIRE(lstat((host / name).c_str(), &s) == 0);
    return s;
  }
  bool Exists(const std::string& name) const {
    struct stat s;
    return lstat((host / name).c_str(), &s) == 0;
  }

  TempTree host;
  std::unique_ptr<Tree> tree;
  NodeId root, other, readonly;
};

TEST_CASE("create and open in one call, with the exact mode") {
  Fixture f;
  const mode_t old = umask(077);
  Result<MadeObject> made =
      f.tree->Make(f.Dir(), "new", f.Object(S_IFREG | 04766), Open::kYes, O_RDWR);
  umask(old);
  REQUIRE(made.ok());
  CHECK((f.Stat("root/dir/new").st_mode & 07777) == 04766);
  CHECK(made->node.attr.mode == (S_IFREG | 04766));
  CHECK(made->node.attr.ino == f.Stat("root/dir/new").st_ino);
  CHECK(made->directory.ino == f.Stat("root/dir").st_ino);
  REQUIRE(pwrite(made->fd.get(), "data", 4, 0) == 4);
  CHECK(f.Content("root/dir/new") == "data");
  CHECK(f.tree->GetAttr(made->node.id)->size == 4);
  CHECK(f.tree->Make(f.Dir(), "new", f.Object(S_IFREG | 0600), Open::kYes, O_RDWR).error() ==
        Errno::kEXIST);
}

TEST_CASE("the owner is the one asked for, or nothing is made") {
  Fixture f;
  NewObject object = f.Object(S_IFREG | 0644);
  object.uid = 12345;
  object.gid = 54321;
  const bool privileged = geteuid() == 0;
  for (const uint32_t type : {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO}) {
    object.mode = type | 0644;
    object.target = "x";
    const Result<MadeObject> made = f.tree->Make(f.Dir(), "owned", object, Open::kNo, 0);
    CHECK(made.ok() == privileged);
    CHECK(f.Exists("root/dir/owned") == privileged);
    if (!privileged) continue;
    CHECK(f.Stat("root/dir/owned").st_uid == 12345);
    CHECK(f.Stat("root/dir/owned").st_gid == 54321);
    CHECK(made->node.attr.uid == 12345);
    std::filesystem::remove(f.host / "root/dir/owned");
  }
}

TEST_CASE("an owner that chown(2) takes for none is refused") {
  Fixture f;
  for (const uint32_t type : {S_IFREG, S_IFDIR, S_IFIFO}) {
    NewObject object = f.Object(type | 0644);
    object.uid = ~uint32_t{0};
    CHECK(f.MakeError(f.Dir(), "owned", object) == Errno::kINVAL);
    object = f.Object(type | 0644);
    object.gid = ~uint32_t{0};
    CHECK(f.MakeError(f.Dir(), "owned", object) == Errno::kINVAL);
    CHECK_FALSE(f.Exists("root/dir/owned"));
  }
}

TEST_CASE("directories, symlinks, fifos, sockets and whiteouts") {
  Fixture f;
  CHECK(f.tree->Make(f.root, "d", f.Object(S_IFDIR | 01777), Open::kNo, 0).ok());
  CHECK((f.Stat("root/d").st_mode & 07777) == 01777);
  NewObject link = f.Object(S_IFLNK | 0777);
  link.target = "../anywhere";
  CHECK(f.tree->Make(f.root, "l", link, Open::kNo, 0).ok());
  CHECK(std::filesystem::read_symlink(f.host / "root/l") == "../anywhere");
  CHECK(f.tree->Make(f.root, "p", f.Object(S_IFIFO | 0640), Open::kNo, 0).ok());
  CHECK(f.Stat("root/p").st_mode == (S_IFIFO | 0640));
  CHECK(f.tree->Make(f.root, "s", f.Object(S_IFSOCK | 0700), Open::kNo, 0).ok());
  if (geteuid() == 0) {
    CHECK(f.tree->Make(f.root, "w", f.Object(S_IFCHR | 0), Open::kNo, 0).ok());
    CHECK(f.Stat("root/w").st_rdev == 0);
  }
}

TEST_CASE("devices, odd types and odd modes are refused") {
  Fixture f;
  NewObject device = f.Object(S_IFCHR | 0666);
  device.rdev = 0x103;
  CHECK(f.MakeError(f.root, "x", device) == Errno::kPERM);
  CHECK(f.MakeError(f.root, "x", f.Object(S_IFBLK | 0666)) == Errno::kPERM);
  CHECK(f.MakeError(f.root, "x", f.Object(0666)) == Errno::kINVAL);
  CHECK(f.MakeError(f.root, "x", f.Object(0170000)) == Errno::kINVAL);
  CHECK(f.MakeError(f.root, "x", f.Object(0x80000000 | S_IFREG)) == Errno::kINVAL);
  CHECK(f.MakeError(f.root, "x", f.Object(S_IFLNK | 0777)) == Errno::kINVAL);
  CHECK(f.tree->Make(f.root, "x", f.Object(S_IFDIR | 0755), Open::kYes, 0).error() ==
        Errno::kINVAL);
  CHECK_FALSE(f.Exists("root/x"));
}

TEST_CASE("names cannot escape") {
  Fixture f;
  const NodeId dir = f.Dir();
  const NodeId file = f.Find(f.root, {"dir", "file"});
  const std::string too_long(256, 'x'), nul("a\0b", 3);
  for (const std::string_view name :
       {std::string_view(".."), std::string_view("."), std::string_view("../outside2"),
        std::string_view("/tmp/x"), std::string_view("sub/x"), std::string_view(too_long),
        std::string_view(nul)}) {
    CHECK(f.MakeError(dir, name, f.Object(S_IFREG | 0644)) == Errno::kINVAL);
    CHECK(f.MakeError(dir, name, f.Object(S_IFDIR | 0755)) == Errno::kINVAL);
    CHECK(f.tree->Link(file, dir, name).error() == Errno::kINVAL);
    CHECK(f.tree->Unlink(dir, name, Victim::kFile).error() == Errno::kINVAL);
    CHECK(f.tree->Unlink(dir, name, Victim::kDirectory).error() == Errno::kINVAL);
    CHECK(f.tree->Rename({dir, "file", dir, name}).error() == Errno::kINVAL);
    CHECK(f.tree->Rename({dir, name, dir, "file"}).error() == Errno::kINVAL);
  }
  CHECK(f.MakeError(dir, "", f.Object(S_IFDIR | 0755)) == Errno::kINVAL);
  // A symlink is an entry and never a way.
  const NodeId up = f.Find(f.root, {"up"});
  CHECK(f.MakeError(up, "x", f.Object(S_IFREG | 0644)) == Errno::kNOTDIR);
  CHECK(f.MakeError(f.root, "up", f.Object(S_IFREG | 0644)) == Errno::kEXIST);
  CHECK(f.tree->Open(f.root, std::vector<std::string_view>{"up"}, O_RDWR | O_TRUNC).error() ==
        Errno::kLOOP);
  CHECK(f.Content("outside") == "secret");
}

TEST_CASE("a tree that is served read-only does not change, and gives no writable descriptor") {
  Fixture f;
  const NodeId dir = f.Find(f.readonly, {"dir"});
  const NodeId file = f.Find(f.readonly, {"file"});
  CHECK(f.MakeError(dir, "x", f.Object(S_IFREG | 0644)) == Errno::kROFS);
  CHECK(f.MakeError(dir, "x", f.Object(S_IFDIR | 0755)) == Errno::kROFS);
  CHECK(f.MakeError(dir, "", f.Object(S_IFREG | 0600)) == Errno::kROFS);
  CHECK(f.tree->Link(file, dir, "x").error() == Errno::kROFS);
  CHECK(f.tree->Unlink(f.readonly, "file", Victim::kFile).error() == Errno::kROFS);
  CHECK(f.tree->Unlink(f.readonly, "dir", Victim::kDirectory).error() == Errno::kROFS);
  CHECK(f.tree->Rename({f.readonly, "file", dir, "x"}).error() == Errno::kROFS);
  CHECK(f.tree->SetAttr(file, {.mode = 0777}).error() == Errno::kROFS);
  CHECK(f.tree->SetAttr(file, {.size = 0}).error() == Errno::kROFS);
  CHECK(f.tree->SetXattr(file, "user.x", "1", 0).error() == Errno::kROFS);
  CHECK(f.tree->RemoveXattr(file, "user.x").error() == Errno::kROFS);
  for (const uint32_t flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_APPEND}) {
    CHECK(f.tree->Open(file, {}, flags).error() == Errno::kROFS);
  }
  const Result<OpenedFile> opened = f.tree->Open(file, {}, O_RDONLY);
  REQUIRE(opened.ok());
  CHECK((fcntl(opened->fd.get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK(f.tree->Sync(file).ok());
  CHECK(f.Content("readonly/file") == "content");
}

TEST_CASE("nothing moves or is linked from one tree to another") {
  Fixture f;
  const NodeId file = f.Find(f.root, {"dir", "file"});
  CHECK(f.tree->Rename({f.Dir(), "file", f.other, "moved"}).error() == Errno::kXDEV);
  CHECK(f.tree->Link(file, f.other, "linked").error() == Errno::kXDEV);
  // Out of a read-only one not even by the back door.
  CHECK(f.tree->Rename({f.readonly, "file", f.root, "x"}).error() == Errno::kROFS);
  CHECK(f.tree->Link(f.Find(f.readonly, {"file"}), f.root, "x").error() == Errno::kXDEV);
  CHECK(f.Exists("root/dir/file"));
  CHECK_FALSE(f.Exists("other/moved"));
}

TEST_CASE("open for writing: access mode, truncation, append") {
  Fixture f;
  const NodeId file = f.Find(f.root, {"dir", "file"});
  const Result<OpenedFile> appends = f.tree->Open(file, {}, O_WRONLY | O_APPEND);
  REQUIRE(appends.ok());
  REQUIRE(write(appends->fd.get(), "+", 1) == 1);
  CHECK(f.Content("root/dir/file") == "content+");
  const Result<OpenedFile> truncated = f.tree->Open(file, {}, O_RDWR | O_TRUNC);
  REQUIRE(truncated.ok());
  CHECK(truncated->attr.size == 0);
  CHECK(f.Content("root/dir/file").empty());
  for (const uint32_t flags : {O_CREAT | O_RDWR, O_EXCL | O_RDWR, O_TMPFILE | O_RDWR, O_PATH,
                               O_DIRECTORY, O_ACCMODE, 0x40000000 | O_RDWR}) {
    CHECK(f.tree->Open(file, {}, flags).error() == Errno::kINVAL);
  }
}

TEST_CASE("fifos, sockets, devices and directories are never opened for writing") {
  Fixture f;
  REQUIRE(mkfifo((f.host / "root/fifo").c_str(), 0600) == 0);
  CHECK(f.tree->Open(f.Find(f.root, {"fifo"}), {}, O_RDWR).error() == Errno::kNXIO);
  CHECK(f.tree->SetAttr(f.Find(f.root, {"fifo"}), {.size = 0}).error() == Errno::kINVAL);
  CHECK(f.tree->SetXattr(f.Find(f.root, {"fifo"}), "user.x", "1", 0).error() == Errno::kOPNOTSUPP);
  CHECK(f.tree->Sync(f.Find(f.root, {"fifo"})).error() == Errno::kINVAL);
  CHECK(f.tree->Open(f.Dir(), {}, O_RDWR).error() == Errno::kISDIR);
  CHECK(f.tree->SetAttr(f.Dir(), {.size = 0}).error() == Errno::kINVAL);
}

TEST_CASE("link, unlink, rmdir") {
  Fixture f;
  const NodeId file = f.Find(f.root, {"dir", "file"});
  const Result<LinkedFile> linked = f.tree->Link(file, f.root, "hard");
  REQUIRE(linked.ok());
  CHECK(linked->attr.nlink == 2);
  CHECK(f.tree->Link(file, f.root, "hard").error() == Errno::kEXIST);
  CHECK(f.tree->Link(f.Dir(), f.root, "d2").error() == Errno::kPERM);
  CHECK(f.tree->Unlink(f.Dir(), "file", Victim::kFile).ok());
  CHECK(f.tree->Unlink(f.Dir(), "file", Victim::kFile).error() == Errno::kNOENT);
  CHECK(f.tree->GetAttr(file)->nlink == 1);
  CHECK(f.tree->Unlink(f.root, "dir", Victim::kFile).error() == Errno::kISDIR);
  CHECK(f.tree->Unlink(f.root, "dir", Victim::kDirectory).error() == Errno::kNOTEMPTY);
  CHECK(f.tree->Unlink(f.root, "hard", Victim::kDirectory).error() == Errno::kNOTDIR);
  CHECK(f.tree->Unlink(f.Dir(), "sub", Victim::kDirectory).ok());
  // The link itself, not where it leads.
  CHECK(f.tree->Unlink(f.root, "up", Victim::kFile).ok());
  CHECK(f.Content("outside") == "secret");
  // A symlink gets a second name, not its target.
  f.host.Symlink("root/l", "../outside");
  CHECK(f.tree->Link(f.Find(f.root, {"l"}), f.root, "l2").ok());
  CHECK(S_ISLNK(f.Stat("root/l2").st_mode));
}

TEST_CASE("a file without a name, and its first one") {
  Fixture f;
  const Result<MadeObject> made =
      f.tree->Make(f.root, "", f.Object(S_IFREG | 0640), Open::kYes, O_RDWR);
  REQUIRE(made.ok());
  CHECK(made->node.attr.nlink == 0);
  REQUIRE(pwrite(made->fd.get(), "data", 4, 0) == 4);
  CHECK(f.tree->Link(made->node.id, f.root, "named").ok());
  CHECK(f.Content("root/named") == "data");
  CHECK((f.Stat("root/named").st_mode & 07777) == 0640);
}

TEST_CASE("nodes follow their names") {
  TempTree host;
  host.Directory("a/b");
  host.Directory("c");
  host.File("a/b/file", "content");
  host.File("x", "x");
  host.File("y", "y");
  // So few descriptors that every node is looked for by name again.
  const auto tree = Tree::Make(host.Open(), {.descriptors = 1}, Access::kReadWrite).value();
  const NodeId root = tree->Attach(0)->id;
  const auto find = [&](std::vector<std::string_view> names) {
    return tree->Walk(root, names)->nodes.back().id;
  };
  const NodeId a = find({"a"}), b = find({"a", "b"});
  const NodeId c = find({"c"}), x = find({"x"}), y = find({"y"});
  CHECK(tree->Rename({.old_directory = a,
                      .old_name = "b",
                      .new_directory = c,
                      .new_name = "b2",
                      .moved = b})
            .ok());
  CHECK(tree->GetAttr(c).ok());
  CHECK(tree->Make(b, "made", {.mode = S_IFREG | 0600, .uid = getuid(), .gid = getgid()}, Open::kNo,
                   0)
            .ok());
  CHECK(std::filesystem::exists(host / "c/b2/made"));
  CHECK(tree->Rename({.old_directory = root,
                      .old_name = "x",
                      .new_directory = root,
                      .new_name = "y",
                      .flags = RENAME_EXCHANGE,
                      .moved = x,
                      .exchanged = y})
            .ok());
  for (int i = 0; i < 2; ++i) {
    CHECK(tree->GetAttr(x)->ino == tree->GetAttr(find({"y"}))->ino);
    CHECK(tree->GetAttr(y)->ino == tree->GetAttr(find({"x"}))->ino);
  }
  CHECK(tree->Rename({.old_directory = root,
                      .old_name = "x",
                      .new_directory = root,
                      .new_name = "y",
                      .flags = RENAME_NOREPLACE})
            .error() == Errno::kEXIST);
  CHECK(tree->Rename({.old_directory = root,
                      .old_name = "x",
                      .new_directory = root,
                      .new_name = "y",
                      .flags = RENAME_WHITEOUT})
            .error() == Errno::kINVAL);
}

TEST_CASE("renames of the host and of the sentry together make no cycle of nodes") {
  TempTree host;
  host.Directory("a/b");
  host.Directory("c");
  const auto tree = Tree::Make(host.Open(), {.descriptors = 1}, Access::kReadWrite).value();
  const NodeId root = tree->Attach(0)->id;
  const std::vector<std::string_view> to_a = {"a"}, to_b = {"b"}, to_c = {"c"};
  const NodeId a = tree->Walk(root, to_a)->nodes.back().id;
  const NodeId b = tree->Walk(a, to_b)->nodes.back().id;
  // For the table b is below a. The host moves it out, then a goes below it.
  std::filesystem::rename(host / "a/b", host / "b");
  CHECK(tree->Rename({.old_directory = root,
                      .old_name = "a",
                      .new_directory = b,
                      .new_name = "a",
                      .moved = a})
            .ok());
  CHECK(std::filesystem::exists(host / "b/a"));
  CHECK(tree->Walk(root, to_c).ok());  // takes the only descriptor
  const Result<Attributes> lost = tree->GetAttr(b);
  REQUIRE_FALSE(lost.ok());
  CHECK(lost.error() == Errno::kSTALE);
}

TEST_CASE("a node that did not move does not follow, whatever the sentry says") {
  Fixture f;
  const NodeId dir = f.Dir();
  CHECK(f.tree
            ->Rename({.old_directory = dir,
                      .old_name = "file",
                      .new_directory = f.root,
                      .new_name = "file2",
                      .moved = dir,
                      .exchanged = 999})
            .ok());
  CHECK(f.tree->Walk(dir, std::vector<std::string_view>{"sub"})->stopped == Errno{});
  CHECK(f.tree
            ->Rename({.old_directory = f.root,
                      .old_name = "file2",
                      .new_directory = dir,
                      .new_name = "file",
                      .moved = f.root})
            .ok());
  CHECK(f.tree->GetAttr(f.root).ok());
}

TEST_CASE("attributes") {
  Fixture f;
  const NodeId file = f.Find(f.root, {"dir", "file"});
  const Result<Attributes> attr =
      f.tree->SetAttr(file, {.mode = 0604,
                             .size = 3,
                             .atime = AttributeChange::When{.now = false, .time = {1000, 5}},
                             .mtime = AttributeChange::When{.now = false, .time = {-7, 9}}});
  REQUIRE(attr.ok());
  CHECK((attr->mode & 07777) == 0604);
  CHECK(attr->size == 3);
  CHECK(attr->atime.sec == 1000);
  CHECK(attr->mtime.sec == -7);
  CHECK(attr->mtime.nsec == 9);
  CHECK(f.Content("root/dir/file") == "con");
  CHECK(f.tree->SetAttr(file, {.mtime = AttributeChange::When{.now = true}})->mtime.sec > 1000);
  CHECK(f.tree->SetAttr(file, {.mode = 010000}).error() == Errno::kINVAL);
  CHECK(f.tree->SetAttr(file, {.size = ~uint64_t{0}}).error() == Errno::kINVAL);
  CHECK(f.tree->SetAttr(file, {.size = uint64_t{1} << 63}).error() == Errno::kINVAL);
  CHECK(f.tree
            ->SetAttr(file,
                      {.mtime = AttributeChange::When{.now = false, .time = {0, 1'000'000'000}}})
            .error() == Errno::kINVAL);
  CHECK(f.tree->SetAttr(f.Find(f.root, {"up"}), {.mode = 0600}).error() == Errno::kOPNOTSUPP);
  CHECK(f.tree
            ->SetAttr(f.Find(f.root, {"up"}),
                      {.mtime = AttributeChange::When{.now = false, .time = {5, 0}}})
            ->mtime.sec == 5);
  CHECK(f.tree->SetAttr(file, {.uid = getuid(), .gid = getgid()}).ok());
  CHECK(f.tree->SetAttr(f.Dir(), {.mode = 02755})->mode == (S_IFDIR | 02755));
}

TEST_CASE("extended attributes") {
  Fixture f;
  const NodeId file = f.Find(f.root, {"dir", "file"});
  const Result<void> set = f.tree->SetXattr(file, "user.a", std::string("x\0y", 3), 0);
  if (set.error() == Errno::kOPNOTSUPP) return;  // the temporary directory has none
  REQUIRE(set.ok());
  CHECK(f.tree->GetXattr(file, "user.a").value() == std::string("x\0y", 3));
  CHECK(f.tree->SetXattr(file, "user.a", "1", XATTR_CREATE).error() == Errno::kEXIST);
  CHECK(f.tree->SetXattr(file, "user.b", "1", XATTR_REPLACE).error() == Errno::kNODATA);
  CHECK(f.tree->SetXattr(f.Dir(), "user.overlay.opaque", "y", 0).ok());
  CHECK(f.tree->ListXattr(file).value() == std::vector<std::string>{"user.a"});
  CHECK(f.tree->ListXattr(f.Dir()).value() == std::vector<std::string>{"user.overlay.opaque"});
  CHECK(f.tree->RemoveXattr(file, "user.a").ok());
  CHECK(f.tree->RemoveXattr(file, "user.a").error() == Errno::kNODATA);
  CHECK(f.tree->GetXattr(file, "user.a").error() == Errno::kNODATA);
}

TEST_CASE("extended attributes that are none of the sandbox's") {
  Fixture f;
  const NodeId file = f.Find(f.root, {"dir", "file"});
  for (const char* name : {"security.capability", "trusted.overlay.opaque",
                           "system.posix_acl_access", "user.", "none"}) {
    CHECK(f.tree->SetXattr(file, name, "1", 0).error() == Errno::kOPNOTSUPP);
    CHECK(f.tree->RemoveXattr(file, name).error() == Errno::kOPNOTSUPP);
    CHECK(f.tree->GetXattr(file, name).error() == Errno::kNODATA);
  }
  CHECK(f.tree->SetXattr(file, "user.big", std::string(65537, 'x'), 0).error() == Errno::k2BIG);
  CHECK(f.tree->SetXattr(file, "user.flags", "1", 4).error() == Errno::kINVAL);
  CHECK(f.tree->SetXattr(file, "user." + std::string(251, 'x'), "1", 0).error() == Errno::kRANGE);
  CHECK(f.tree->SetXattr(file, std::string_view("user.\0", 6), "1", 0).error() == Errno::kRANGE);
  CHECK(f.tree->SetXattr(file, "", "1", 0).error() == Errno::kRANGE);
}

TEST_CASE("a tree whose root is a file") {
  TempTree host;
  host.File("file", "content");
  const auto tree = Tree::Make(host.Open("file"), {}, Access::kReadWrite).value();
  const Result<Node> root = tree->Attach(0);
  REQUIRE(root.ok());
  CHECK(S_ISREG(root->attr.mode));
  CHECK(tree->Open(root->id, {}, O_RDWR).ok());
  CHECK(tree->SetAttr(root->id, {.size = 1})->size == 1);
  const std::vector<std::string_view> below = {"x"};
  CHECK(tree->Walk(root->id, below)->stopped == Errno::kNOTDIR);
  CHECK(tree->Make(root->id, "x", {.mode = S_IFREG | 0600}, Open::kNo, 0).error() ==
        Errno::kNOTDIR);
  CHECK(tree->Attach(1).error() == Errno::kINVAL);
  REQUIRE(mkfifo((host / "fifo").c_str(), 0600) == 0);
  CHECK(Tree::Make(host.Open("fifo"), {}).error() == Errno::kNOTDIR);
}

TEST_CASE("what the host's kernel shows is not changed") {
  std::vector<Export> exports;
  exports.push_back({UniqueFd(open("/proc", O_PATH)), Access::kReadWrite});
  exports.push_back({UniqueFd(open("/", O_PATH)), Access::kReadWrite});
  const auto tree = Tree::Make(std::move(exports), {}).value();
  const NodeId proc = tree->Attach(0)->id;
  CHECK(tree->Make(proc, "x", {.mode = S_IFDIR | 0755}, Open::kNo, 0).error() == Errno::kACCES);
  CHECK(tree->Unlink(proc, "x", Victim::kFile).error() == Errno::kACCES);
  CHECK(tree->SetAttr(proc, {.mode = 0755}).error() == Errno::kACCES);
  CHECK(tree->Sync(proc).error() == Errno::kACCES);
  CHECK(tree->GetXattr(proc, "user.x").error() == Errno::kACCES);
}

}  // namespace
}  // namespace ringfence::gofer
