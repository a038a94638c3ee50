// What goferfs says, keeps and does when the host changes its files.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "platform/mem/safe_copy.h"
#include "test/goferfs/fixture.h"

namespace ringfence::sentry {
namespace {

TEST_CASE("attributes are the host's, device numbers the sandbox's") {
  GoferFixture f;
  f.host.File("file", "12345");
  f.host.Directory("dir");
  f.Mount();
  struct stat host;
  REQUIRE(stat((f.host / "file").c_str(), &host) == 0);
  const Attributes file = f.Stat("/file").value();
  CHECK(file.ino == host.st_ino);
  CHECK(file.mode == host.st_mode);
  CHECK(file.size == 5);
  CHECK(file.mtime.sec == host.st_mtim.tv_sec);
  CHECK(file.mtime.nsec == host.st_mtim.tv_nsec);
  CHECK(file.dev == f.Stat("/")->dev);
  CHECK(file.dev == f.ns->root()->inode()->fs()->device_id());
}

TEST_CASE("everything that would change a file is EROFS") {
  GoferFixture f;
  f.host.File("file", "x");
  f.host.Directory("dir");
  f.Mount();
  CHECK(ErrorOf(f.Open("/file", O_WRONLY)) == Errno::kROFS);
  CHECK(ErrorOf(f.Open("/file", O_RDWR)) == Errno::kROFS);
  CHECK(ErrorOf(f.Open("/file", O_RDONLY | O_TRUNC)) == Errno::kROFS);
  CHECK(ErrorOf(f.Open("/new", O_CREAT | O_RDONLY)) == Errno::kROFS);
  CHECK(f.Open("/file", O_CREAT | O_RDONLY).ok());
  CHECK(ErrorOf(f.Open("/dir", O_TMPFILE | O_RDWR)) == Errno::kROFS);
  CHECK(ErrorOf(Vfs::Mkdir(f.ctx, f.base, "/new", 0755)) == Errno::kROFS);
  CHECK(ErrorOf(Vfs::Mkdir(f.ctx, f.base, "/dir", 0755)) == Errno::kEXIST);
  CHECK(ErrorOf(Vfs::Unlink(f.ctx, f.base, "/file")) == Errno::kROFS);
  CHECK(ErrorOf(Vfs::Rmdir(f.ctx, f.base, "/dir")) == Errno::kROFS);
  CHECK(ErrorOf(Vfs::Symlink(f.ctx, "x", f.base, "/new")) == Errno::kROFS);
  CHECK(ErrorOf(Vfs::Link(f.ctx, f.base, "/file", f.base, "/new", 0)) == Errno::kROFS);
  CHECK(ErrorOf(Vfs::Rename(f.ctx, f.base, "/file", f.base, "/new", 0)) == Errno::kROFS);
  SetAttrRequest request;
  request.mode = 0600;
  const DentryRef file = Vfs::Resolve(f.ctx, f.base, "/file").value();
  CHECK(ErrorOf(Vfs::SetAttr(f.ctx, file, request)) == Errno::kROFS);
}

TEST_CASE("fifos, sockets and devices are shown and never opened") {
  GoferFixture f;
  REQUIRE(mkfifo((f.host / "fifo").c_str(), 0644) == 0);
  const bool device = mknod((f.host / "null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0;
  f.Mount();
  CHECK(S_ISFIFO(f.Stat("/fifo")->mode));
  CHECK(ErrorOf(f.Open("/fifo", O_RDONLY | O_NONBLOCK)) == Errno::kNXIO);
  if (device) {
    CHECK(f.Stat("/null")->rdev == makedev(1, 3));
    CHECK(ErrorOf(f.Open("/null")) == Errno::kNXIO);
  }
  CHECK(f.client->TakeCalls()["Open"] == 0);
}

TEST_CASE("reading: offsets, seeking, the end") {
  GoferFixture f;
  f.host.File("file", "0123456789");
  f.Mount();
  const FileRef file = f.Open("/file").value();
  CHECK(ReadFrom(f.ctx, *file, 3).value() == "012");
  CHECK(ReadFrom(f.ctx, *file, 3).value() == "345");
  const int64_t at = 8;
  CHECK(ReadFrom(f.ctx, *file, 5, &at).value() == "89");
  CHECK(file->Seek(f.ctx, 0, SEEK_CUR).value() == 6);
  CHECK(file->Seek(f.ctx, -1, SEEK_END).value() == 9);
  CHECK(ReadFrom(f.ctx, *file, 5).value() == "9");
  CHECK(ReadFrom(f.ctx, *file, 5)->empty());
  CHECK(file->Seek(f.ctx, 100, SEEK_SET).value() == 100);
  CHECK(ReadFrom(f.ctx, *file, 5)->empty());
  CHECK(file->Seek(f.ctx, -1, SEEK_SET).error() == Errno::kINVAL);
  CHECK(file->Seek(f.ctx, INT64_MAX, SEEK_CUR).error() == Errno::kINVAL);
  CHECK(file->Seek(f.ctx, 10, SEEK_DATA).error() == Errno::kNXIO);
  CHECK(file->Seek(f.ctx, 0, 9).error() == Errno::kINVAL);
  const int64_t before = -1;
  CHECK(ReadFrom(f.ctx, *file, 1, &before).error() == Errno::kINVAL);
}

TEST_CASE("two openings of a file share a descriptor and no offset") {
  GoferFixture f;
  f.host.File("file", "abc");
  f.Mount();
  const FileRef one = f.Open("/file").value(), two = f.Open("/file").value();
  CHECK(ReadFrom(f.ctx, *one, 2).value() == "ab");
  CHECK(ReadFrom(f.ctx, *two, 2).value() == "ab");
  CHECK(f.client->TakeCalls()["Open"] == 1);
}

TEST_CASE("a service thread is sent away before a call, and served from what is known") {
  GoferFixture f;
  f.host.Directory("dir/sub");
  f.host.File("dir/file", "abc");
  f.Mount();
  const Errno later = Errno::kWOULDBLOCK_RETRY_ON_TASK;
  f.ctx.may_block = false;
  CHECK(ErrorOf(f.Stat("/dir")) == later);
  CHECK(f.client->TakeCalls().empty());
  f.ctx.may_block = true;
  CHECK(f.List("/dir").ok());
  f.client->TakeCalls();
  f.ctx.may_block = false;
  CHECK(f.Stat("/dir/file").ok());
  CHECK(ErrorOf(f.Stat("/dir/none")) == Errno::kNOENT);
  CHECK(f.List("/dir")->size() == 2);
  CHECK(ErrorOf(f.List("/dir/sub")) == later);
  CHECK(ErrorOf(f.Open("/dir/file")) == later);
  CHECK(f.client->TakeCalls().empty());
  f.ctx.may_block = true;
  CHECK(f.Open("/dir/file").ok());
  f.ctx.may_block = false;
  CHECK(f.Contents("/dir/file").value() == "abc");
}

TEST_CASE("a listing ahead answers a service thread too") {
  GoferFixture f;
  for (int i = 0; i < 8; ++i) f.host.Directory("dir/" + std::to_string(i));
  f.Mount();
  const std::vector<std::string> names = f.List("/dir").value();
  size_t ahead = 0;
  for (const std::string& name : names) {
    f.ctx.may_block = false;
    const bool known = f.List("/dir/" + name).ok();
    f.ctx.may_block = true;
    ahead += known;
    if (!known) CHECK(f.List("/dir/" + name).ok());
  }
  CHECK(ahead >= 5);
}

TEST_CASE("a directory that does not fit into a reply is listed page by page") {
  GoferFixture f;
  std::vector<std::string> expected;
  f.host.Directory("dir/big");
  for (int i = 0; i < 3000; ++i) {
    expected.push_back("a-rather-long-name-of-a-file-" + std::to_string(i));
    f.host.File("dir/" + expected.back(), "");
    f.host.File("dir/big/" + expected.back(), "");
  }
  expected.push_back("big");
  f.Mount();
  std::vector<std::string> names = f.List("/dir").value();
  std::sort(names.begin(), names.end());
  std::sort(expected.begin(), expected.end());
  CHECK(names == expected);
  CHECK(f.client->TakeCalls()["ReadDir"] > 1);
  // Below a listed directory: asked for ahead first, which gives nothing.
  CHECK(f.List("/dir/big")->size() == 3000);
  const Calls calls = f.client->TakeCalls();
  CHECK(calls.at("ReadTree") == 1);
  CHECK(calls.at("ReadDir") > 1);
}

TEST_CASE("listings that do not fit into memory's share are asked for again") {
  GoferFixture f;
  for (int d = 0; d < 4; ++d) {
    f.host.Directory("d" + std::to_string(d));
    for (int i = 0; i < 20; ++i) {
      f.host.File("d" + std::to_string(d) + "/" + std::to_string(i), "");
    }
  }
  GoferFs::Options options;
  options.max_listed_entries = 80;  // the root's 4 and three of the others
  f.Mount(options);
  CHECK(f.List("/")->size() == 4);
  for (int round = 0; round < 3; ++round) {
    for (int d = 0; d < 4; ++d) CHECK(f.List("/d" + std::to_string(d))->size() == 20);
  }
  CHECK(f.client->TakeCalls()["ReadTree"] + f.client->TakeCalls()["ReadDir"] > 4);
}

TEST_CASE("descriptors are bounded; the least recently used are opened again") {
  GoferFixture f;
  for (int i = 0; i < 10; ++i) f.host.File(std::to_string(i), std::to_string(i));
  GoferFs::Options options;
  options.max_idle_descriptors = 3;
  f.Mount(options);
  std::vector<FileRef> open;
  for (int i = 0; i < 10; ++i) open.push_back(f.Open("/" + std::to_string(i)).value());
  CHECK(f.client->TakeCalls()["Open"] == 10);
  CHECK(ReadFrom(f.ctx, *open[9], 5).value() == "9");
  CHECK(ReadFrom(f.ctx, *open[7], 5).value() == "7");
  CHECK(f.client->TakeCalls().empty());
  // An open file goes on with a new descriptor where it was.
  CHECK(ReadFrom(f.ctx, *open[0], 5).value() == "0");
  CHECK(f.client->TakeCalls() == Calls{{"Open", 1}});
  CHECK(ReadFrom(f.ctx, *open[7], 5)->empty());
  CHECK(ReadFrom(f.ctx, *open[9], 5)->empty());
  CHECK(f.client->TakeCalls().empty());
}

TEST_CASE("a file that was replaced since it was listed is ESTALE, one that is gone ENOENT") {
  GoferFixture f;
  f.host.Directory("dir");
  f.host.File("dir/replaced", "old");
  f.host.File("dir/gone", "old");
  f.host.File("dir/stays", "old");
  f.Mount();
  CHECK(f.List("/dir")->size() == 3);
  f.host.File("other", "new");
  std::filesystem::rename(f.host / "other", f.host / "dir/replaced");
  std::filesystem::remove(f.host / "dir/gone");
  CHECK(ErrorOf(f.Contents("/dir/replaced")) == Errno::kSTALE);
  CHECK(ErrorOf(f.Contents("/dir/gone")) == Errno::kNOENT);
  CHECK(f.Contents("/dir/stays").value() == "old");
}

TEST_CASE("a directory that was replaced since it was listed is ESTALE") {
  GoferFixture f;
  f.host.Directory("dir/sub");
  f.host.File("dir/sub/file", "old");
  f.host.Directory("other");
  f.host.File("other/file", "new");
  f.Mount();
  CHECK(f.List("/dir")->size() == 1);
  std::filesystem::rename(f.host / "dir/sub", f.host / "moved");
  std::filesystem::rename(f.host / "other", f.host / "dir/sub");
  CHECK(ErrorOf(f.List("/dir/sub")) == Errno::kSTALE);
  CHECK(ErrorOf(f.Contents("/dir/sub/file")) == Errno::kSTALE);
  CHECK(f.client->nodes() <= 3);
}

TEST_CASE("what is open stays what it was") {
  GoferFixture f;
  f.host.File("file", "old");
  f.Mount();
  const FileRef file = f.Open("/file").value();
  std::filesystem::remove(f.host / "file");
  f.host.File("file", "new");
  CHECK(ReadFrom(f.ctx, *file, 10).value() == "old");
}

TEST_CASE("a lost gofer is EIO for what is not known") {
  GoferFixture f;
  f.host.Directory("dir");
  f.host.File("file", "abc");
  f.Mount();
  const FileRef file = f.Open("/file").value();
  f.client->lost = true;
  CHECK(ReadFrom(f.ctx, *file, 10).value() == "abc");
  CHECK(f.Stat("/file").ok());
  CHECK(ErrorOf(f.Stat("/dir")) == Errno::kIO);
  CHECK(ErrorOf(f.List("/")) == Errno::kIO);
  f.client->lost = false;
  CHECK(f.List("/")->size() == 2);  // errors are not kept
}

TEST_CASE("symlinks: followed by the walk, said by readlink, not opened") {
  GoferFixture f;
  f.host.Directory("real");
  f.host.File("real/file", "abc");
  f.host.Symlink("link", "real");
  f.host.Symlink("absolute", "/real/file");
  f.host.Symlink("dangling", "none");
  f.host.Symlink("up", "../../../../etc");
  f.Mount();
  CHECK(f.Contents("/link/file").value() == "abc");
  CHECK(f.Contents("/absolute").value() == "abc");
  CHECK(ErrorOf(f.Contents("/dangling")) == Errno::kNOENT);
  CHECK(ErrorOf(f.Contents("/up/passwd")) == Errno::kNOENT);  // the sandbox's root is the end
  CHECK(ErrorOf(f.Open("/link", O_RDONLY | O_NOFOLLOW)) == Errno::kLOOP);
  CHECK(Vfs::ReadLink(f.ctx, f.base, "/link").value() == "real");
  CHECK(ErrorOf(Vfs::ReadLink(f.ctx, f.base, "/real")) == Errno::kINVAL);
}

// ---- mappings ----

struct MappedFixture : GoferFixture {
  void Mount() {
    platform::InstallSafeCopyHandler();
    GoferFs::Options options;
    options.chunks =
        std::make_shared<ChunkCache>(&platform.memory(), ChunkCache::Options{.max_chunks = 4});
    chunks = options.chunks;
    GoferFixture::Mount(options);
  }
  void MakeFile(const std::string& name, size_t pages) {
    host.File(name, std::string(pages * kPageSize, 'x'));
  }
  // The first byte of a page as a guest would see it, or 0 when it cannot be read.
  char FirstByte(Frame frame) {
    char byte = 0;
    platform::SafeCopy(&byte, platform.memory().HostAddress(frame), 1);
    return byte;
  }
  std::shared_ptr<ChunkCache> chunks;
};

TEST_CASE("mapped pages are the host's") {
  MappedFixture f;
  f.MakeFile("file", 3);
  f.Mount();
  const FileRef file = f.Open("/file").value();
  CHECK(file->GetMappable(f.ctx, true).error() == Errno::kACCES);
  const MappableRef mappable = file->GetMappable(f.ctx, false).value();
  CHECK(mappable->MappedName() == "/file");
  CHECK(mappable->InodeNumber() == f.Stat("/file")->ino);
  const FrameRun run = mappable->GetFrames(1, 100, Access::kRead).value();
  CHECK(run.count == 2);
  CHECK(f.FirstByte(run.first) == 'x');
  CHECK(mappable->GetFrames(3, 1, Access::kRead).error() == Errno::kFAULT);
  CHECK(mappable->GetFrames(0, 1, Access::kWrite).error() == Errno::kACCES);
  f.platform.memory().Unref(run);
}

TEST_CASE("a file truncated while it is mapped: no pages, no crash, and pages again") {
  MappedFixture f;
  f.MakeFile("file", 3);
  f.Mount();
  const MappableRef mappable = f.Open("/file").value()->GetMappable(f.ctx, false).value();
  const FrameRun run = mappable->GetFrames(0, 3, Access::kRead).value();
  CHECK(f.FirstByte(Frame{run.first.index + 2}) == 'x');
  std::filesystem::resize_file(f.host / "file", kPageSize);
  CHECK(f.FirstByte(run.first) == 'x');
  CHECK(f.FirstByte(Frame{run.first.index + 2}) == 0);
  CHECK(mappable->GetFrames(2, 1, Access::kRead).error() == Errno::kFAULT);
  const FrameRun left = mappable->GetFrames(0, 3, Access::kRead).value();
  CHECK(left.count == 1);
  std::filesystem::resize_file(f.host / "file", 2 * kPageSize + 1);
  const FrameRun grown = mappable->GetFrames(2, 1, Access::kRead).value();
  CHECK(grown.count == 1);
  for (const FrameRun& r : {run, left, grown}) f.platform.memory().Unref(r);
}

TEST_CASE("a mapping keeps its file when descriptors are short and the name is gone") {
  MappedFixture f;
  f.MakeFile("file", 600);
  f.Mount();
  const MappableRef mappable = f.Open("/file").value()->GetMappable(f.ctx, false).value();
  std::filesystem::remove(f.host / "file");
  const FrameRun run = mappable->GetFrames(599, 1, Access::kRead).value();
  CHECK(f.FirstByte(run.first) == 'x');
  f.platform.memory().Unref(run);
}

// The last mapping of a file went while another thread had asked for the object but not mapped it
// yet: the descriptor went with it, and every fault of the new mapping was SIGBUS.
TEST_CASE("an object asked for before the last mapping goes can be mapped after it") {
  MappedFixture f;
  f.MakeFile("file", 1);
  f.Mount();
  const FileRef file = f.Open("/file").value();
  MappableRef old = file->GetMappable(f.ctx, false).value();
  old->AddMapping(nullptr, VirtRange{}, 0);
  const MappableRef fresh = file->GetMappable(f.ctx, false).value();
  old->RemoveMapping(nullptr, VirtRange{}, 0);
  old.reset();
  fresh->AddMapping(nullptr, VirtRange{}, 0);
  const Result<FrameRun> run = fresh->GetFrames(0, 1, Access::kRead);
  REQUIRE(run.ok());
  f.platform.memory().Unref(*run);
}

TEST_CASE("host mappings are bounded: those no guest maps go first") {
  MappedFixture f;
  std::vector<MappableRef> mappables;
  for (int i = 0; i < 8; ++i) f.MakeFile(std::to_string(i), 1);
  f.Mount();
  std::vector<FrameRun> held;
  for (int i = 0; i < 8; ++i) {
    const FileRef file = f.Open("/" + std::to_string(i)).value();
    mappables.push_back(file->GetMappable(f.ctx, false).value());
    const FrameRun run = mappables.back()->GetFrames(0, 1, Access::kRead).value();
    if (i < 2) {
      held.push_back(run);
    } else {
      f.platform.memory().Unref(run);
    }
  }
  CHECK(f.chunks->size() <= 4);
  for (const FrameRun& run : held) {
    CHECK(f.FirstByte(run.first) == 'x');
    f.platform.memory().Unref(run);
  }
}

}  // namespace
}  // namespace ringfence::sentry
