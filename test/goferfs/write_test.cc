// Writing through a gofer: what the sandbox sees and what the host has afterwards.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "platform/mem/safe_copy.h"
#include "test/goferfs/fixture.h"

namespace ringfence::sentry {
namespace {

SetAttrRequest Mode(uint32_t mode) {
  SetAttrRequest request;
  request.mode = mode;
  return request;
}

struct Writable : GoferFixture {
  Writable() {
    host.Directory("dir/sub");
    host.File("dir/file", "content");
    host.File("file", "0123456789");
    ctx.creds = std::make_shared<Credentials>(Mine());
    owner = GENERATE(GoferFs::Owner::kSandbox, GoferFs::Owner::kShared);
    MountWritable(owner);
  }
  // The ids that files made here really get, whoever runs the test.
  static Credentials Mine() {
    Credentials creds;
    creds.ruid = creds.euid = creds.suid = creds.fsuid = getuid();
    creds.rgid = creds.egid = creds.sgid = creds.fsgid = getgid();
    return creds;
  }
  struct stat HostStat(const std::string& name) const {
    struct stat s = {};
    lstat((host / name).c_str(), &s);
    return s;
  }
  bool OnlyHere() const { return owner == GoferFs::Owner::kSandbox; }
  GoferFs::Owner owner;
};

TEST_CASE("create, write, read back, append, truncate") {
  Writable f;
  const FileRef file = f.Open("/dir/new", O_RDWR | O_CREAT | O_EXCL, 0640).value();
  CHECK(f.HostStat("dir/new").st_mode == (S_IFREG | 0640));
  CHECK(WriteTo(f.ctx, *file, "hello").value() == 5);
  CHECK(f.Stat("/dir/new")->size == 5);
  CHECK(f.OnHost("dir/new") == "hello");
  CHECK(file->Seek(f.ctx, 1, SEEK_SET).value() == 1);
  CHECK(ReadFrom(f.ctx, *file, 3).value() == "ell");
  const FileRef appends = f.Open("/dir/new", O_WRONLY | O_APPEND).value();
  CHECK(WriteTo(f.ctx, *appends, " world").ok());
  CHECK(appends->Seek(f.ctx, 0, SEEK_CUR).value() == 11);
  CHECK(f.OnHost("dir/new") == "hello world");
  CHECK(f.Stat("/dir/new")->size == 11);
  CHECK(file->Truncate(f.ctx, 4).ok());
  CHECK(f.Stat("/dir/new")->size == 4);
  const int64_t hole = 100;
  CHECK(WriteTo(f.ctx, *file, "x", &hole).ok());
  CHECK(f.Stat("/dir/new")->size == 101);
  CHECK(file->Allocate(f.ctx, FALLOC_FL_KEEP_SIZE, 0, 4096).ok());
  CHECK(f.Stat("/dir/new")->size == 101);
  CHECK(file->Sync(f.ctx, false).ok());
  CHECK(f.WriteFile("/dir/new", "short").ok());
  CHECK(f.OnHost("dir/new") == "short");
  CHECK(ErrorOf(f.Open("/dir/new", O_RDWR | O_CREAT | O_EXCL)) == Errno::kEXIST);
}

TEST_CASE("sizes and times stay right after the last writer has gone") {
  Writable f;
  CHECK(f.List("/dir")->size() == 2);
  CHECK(f.Stat("/dir/file")->size == 7);
  CHECK(f.WriteFile("/dir/file", "longer than before").ok());
  CHECK(f.Stat("/dir/file")->size == 18);
  CHECK(f.Stat("/dir/file")->mtime.nsec == f.HostStat("dir/file").st_mtim.tv_nsec);
  // Also for an inode that is made anew from what a listing said before.
  f.ns.reset();
  f.context.reset();
  f.MountWritable(f.owner);
  CHECK(f.Stat("/dir/file")->size == 18);
}

TEST_CASE("a file that the listing knows is not believed after it was written") {
  Writable f;
  CHECK(f.List("/dir")->size() == 2);
  const InodeRef dir = Vfs::Resolve(f.ctx, f.base, "/dir").value()->inode();
  {
    const InodeRef inode = dir->Lookup(f.ctx, "file").value();
    const FileRef file = inode->Open(f.ctx, O_RDWR).value();
    const int64_t at = 0;
    CHECK(WriteTo(f.ctx, *file, "much longer than before", &at).ok());
  }
  CHECK(dir->Lookup(f.ctx, "file").value()->GetAttr(f.ctx)->size == 23);
  CHECK(dir->Link(f.ctx, "second", *dir->Lookup(f.ctx, "file").value()).ok());
  CHECK(dir->Lookup(f.ctx, "file").value()->GetAttr(f.ctx)->nlink == 2);
  CHECK(dir->Lookup(f.ctx, "file").value() == dir->Lookup(f.ctx, "second").value());
}

TEST_CASE("directories change as they do on Linux") {
  Writable f;
  CHECK(f.List("/dir")->size() == 2);
  CHECK(Vfs::Mkdir(f.ctx, f.base, "/dir/d", 0777).ok());
  CHECK(f.HostStat("dir/d").st_mode == (S_IFDIR | 0755));
  CHECK(f.Stat("/dir")->nlink == f.HostStat("dir").st_nlink);
  CHECK(f.Stat("/dir")->mtime.nsec == f.HostStat("dir").st_mtim.tv_nsec);
  CHECK(Vfs::Symlink(f.ctx, "../file", f.base, "/dir/link").ok());
  CHECK(f.Contents("/dir/link").value() == "0123456789");
  CHECK(Vfs::Link(f.ctx, f.base, "/file", f.base, "/dir/hard", 0).ok());
  CHECK(f.Stat("/file")->nlink == 2);
  CHECK(f.Stat("/file")->ino == f.Stat("/dir/hard")->ino);
  std::vector<std::string> names = f.List("/dir").value();
  CHECK(std::set<std::string>(names.begin(), names.end()) ==
        std::set<std::string>{"d", "file", "hard", "link", "sub"});
  CHECK(Vfs::Unlink(f.ctx, f.base, "/dir/hard").ok());
  CHECK(f.Stat("/file")->nlink == 1);
  CHECK(ErrorOf(Vfs::Rmdir(f.ctx, f.base, "/dir")) == Errno::kNOTEMPTY);
  CHECK(Vfs::Rmdir(f.ctx, f.base, "/dir/d").ok());
  CHECK(ErrorOf(f.Stat("/dir/d")) == Errno::kNOENT);
  CHECK(ErrorOf(Vfs::Mkdir(f.ctx, f.base, "/dir/sub", 0755)) == Errno::kEXIST);
  CHECK(f.List("/dir")->size() == 3);
}

TEST_CASE("renames") {
  Writable f;
  CHECK(f.List("/")->size() == 2);
  CHECK(f.List("/dir")->size() == 2);
  CHECK(Vfs::Rename(f.ctx, f.base, "/dir/file", f.base, "/dir/sub/file2", 0).ok());
  CHECK(ErrorOf(f.Stat("/dir/file")) == Errno::kNOENT);
  CHECK(f.Contents("/dir/sub/file2").value() == "content");
  CHECK(Vfs::Rename(f.ctx, f.base, "/dir", f.base, "/moved", 0).ok());
  CHECK(f.Contents("/moved/sub/file2").value() == "content");
  CHECK(f.OnHost("moved/sub/file2") == "content");
  CHECK(Vfs::Rename(f.ctx, f.base, "/moved/sub/file2", f.base, "/file", RENAME_EXCHANGE).ok());
  CHECK(f.Contents("/file").value() == "content");
  CHECK(f.Contents("/moved/sub/file2").value() == "0123456789");
  CHECK(Vfs::Rename(f.ctx, f.base, "/file", f.base, "/moved/sub/file2", 0).ok());
  CHECK(f.Contents("/moved/sub/file2").value() == "content");
  CHECK(ErrorOf(f.Stat("/file")) == Errno::kNOENT);
  CHECK(ErrorOf(Vfs::Rename(f.ctx, f.base, "/moved", f.base, "/moved/sub/x", 0)) == Errno::kINVAL);
  // A listing answers for the new names, too, and what was only listed is found where it is now.
  CHECK(f.List("/moved/sub").value() == std::vector<std::string>{"file2"});
  CHECK(Vfs::SetAttr(f.ctx, Vfs::Resolve(f.ctx, f.base, "/moved/sub/file2").value(), Mode(0600))
            .ok());
  CHECK(f.HostStat("moved/sub/file2").st_mode == (S_IFREG | 0600));
}

TEST_CASE("a listed file that was renamed before anybody opened it") {
  Writable f;
  CHECK(f.List("/dir")->size() == 2);
  CHECK(f.Stat("/dir/file").ok());
  CHECK(f.Stat("/dir/sub").ok());
  CHECK(Vfs::Rename(f.ctx, f.base, "/dir/sub", f.base, "/dir/sub2", 0).ok());
  CHECK(Vfs::Rename(f.ctx, f.base, "/dir/file", f.base, "/dir/sub2/file", 0).ok());
  CHECK(f.WriteFile("/dir/sub2/file", "new").ok());
  CHECK(f.OnHost("dir/sub2/file") == "new");
}

TEST_CASE("files without a name: removed while open, and O_TMPFILE") {
  Writable f;
  const FileRef file = f.Open("/dir/file", O_RDWR).value();
  CHECK(Vfs::Unlink(f.ctx, f.base, "/dir/file").ok());
  CHECK(ReadFrom(f.ctx, *file, 10).value() == "content");
  CHECK(WriteTo(f.ctx, *file, "+").ok());
  CHECK(file->GetAttr(f.ctx)->size == 8);
  CHECK(file->GetAttr(f.ctx)->nlink == 0);
  CHECK(file->Truncate(f.ctx, 2).ok());
  CHECK(file->GetAttr(f.ctx)->size == 2);
  const FileRef reader = f.Open("/file").value();
  CHECK(Vfs::Unlink(f.ctx, f.base, "/file").ok());
  CHECK(f.WriteFile("/file", "another").ok());
  CHECK(ReadFrom(f.ctx, *reader, 20).value() == "0123456789");
  CHECK(reader->GetAttr(f.ctx)->nlink == 0);
  const FileRef unnamed = f.Open("/dir", O_TMPFILE | O_RDWR, 0600).value();
  CHECK(WriteTo(f.ctx, *unnamed, "data").ok());
  CHECK(unnamed->GetAttr(f.ctx)->nlink == 0);
  const InodeRef dir = Vfs::Resolve(f.ctx, f.base, "/dir").value()->inode();
  CHECK(dir->Link(f.ctx, "named", *unnamed->inode()).ok());
  CHECK(f.OnHost("dir/named") == "data");
}

TEST_CASE("attributes") {
  Writable f;
  const DentryRef file = Vfs::Resolve(f.ctx, f.base, "/dir/file").value();
  CHECK(Vfs::SetAttr(f.ctx, file, Mode(0600)).ok());
  CHECK(f.Stat("/dir/file")->mode == (S_IFREG | 0600));
  SetAttrRequest times;
  times.atime = Timespec{1000, 1};
  times.mtime = Timespec{-5, 7};
  CHECK(Vfs::SetAttr(f.ctx, file, times).ok());
  CHECK(f.HostStat("dir/file").st_mtim.tv_sec == -5);
  CHECK(f.Stat("/dir/file")->mtime.sec == -5);
  SetAttrRequest size;
  size.size = 3;
  CHECK(Vfs::SetAttr(f.ctx, file, size).ok());
  CHECK(f.OnHost("dir/file") == "con");
  CHECK(f.Stat("/dir/file")->size == 3);
  const DentryRef dir = Vfs::Resolve(f.ctx, f.base, "/dir").value();
  CHECK(Vfs::SetAttr(f.ctx, dir, Mode(0711)).ok());
  CHECK(f.Stat("/dir")->mode == (S_IFDIR | 0711));
}

TEST_CASE("a mapping that is written lands in the file") {
  Writable f;
  const FileRef file = f.Open("/file", O_RDWR).value();
  const MappableRef mappable = file->GetMappable(f.ctx, true).value();
  const FrameRun run = mappable->GetFrames(0, 1, Access::kWrite).value();
  platform::GuestMemory& memory = f.platform.memory();
  CHECK(platform::SafeCopy(memory.HostAddress(run.first), "MAPPED", 6) == 6);
  CHECK(mappable->SyncPages(0, 1).ok());
  CHECK(f.OnHost("file") == "MAPPED6789");
  CHECK(ReadFrom(f.ctx, *file, 20).value() == "MAPPED6789");
  memory.Unref(run);
  // One for reading shows the same.
  const MappableRef read = f.Open("/file").value()->GetMappable(f.ctx, false).value();
  const FrameRun seen = read->GetFrames(0, 1, Access::kRead).value();
  char buffer[6];
  CHECK(platform::SafeCopy(buffer, memory.HostAddress(seen.first), 6) == 6);
  CHECK(std::string(buffer, 6) == "MAPPED");
  CHECK(ErrorOf(read->GetFrames(0, 1, Access::kWrite)) == Errno::kACCES);
  memory.Unref(seen);
  CHECK(ErrorOf(f.Open("/file").value()->GetMappable(f.ctx, true)) == Errno::kACCES);
}

TEST_CASE("text that a shared mapping may store to is not copied, before and after") {
  GoferFixture f;
  f.host.File("text", std::string(kPageSize, 'x'));
  GoferFs::Options options;
  options.access = GoferFs::Access::kReadWrite;
  options.chunks = std::make_shared<ChunkCache>(
      &f.platform.memory(), ChunkCache::Options{.copies = true, .hot = 1, .settled_ns = 0});
  f.Mount(options);
  platform::GuestMemory& memory = f.platform.memory();
  const auto copied = [&] {
    const MappableRef text = f.Open("/text").value()->GetMappable(f.ctx, false).value();
    memory.Unref(text->GetPrivateFrames(0, 1, true).value());
    return memory.GetStats().copied_bytes;
  };
  const bool before = GENERATE(false, true);
  if (before) CHECK(copied() == kPageSize);
  const FileRef file = f.Open("/text", O_RDWR).value();
  const MappableRef stores = file->GetMappable(f.ctx, true).value();
  CHECK(memory.GetStats().copied_bytes == 0);
  CHECK(copied() == 0);
}

TEST_CASE("nothing keeps a file open for writing that nobody here writes") {
  Writable f;
  std::filesystem::copy_file("/bin/true", f.host / "program");
  CHECK(f.WriteFile("/script", "x").ok());
  {
    const FileRef file = f.Open("/program", O_RDWR).value();
    const MappableRef mappable = file->GetMappable(f.ctx, true).value();
    f.platform.memory().Unref(mappable->GetFrames(0, 1, Access::kWrite).value());
    // ETXTBSY
    CHECK(system(((f.host / "program").string() + " 2>/dev/null").c_str()) != 0);
  }
  CHECK(system((f.host / "program").c_str()) == 0);
}

TEST_CASE("limits of the caller") {
  Writable f;
  const FileRef file = f.Open("/file", O_RDWR).value();
  f.ctx.file_size_limit = 12;
  const int64_t near = 10, beyond = 12;
  CHECK(WriteTo(f.ctx, *file, "abcdef", &near).value() == 2);
  CHECK(ErrorOf(WriteTo(f.ctx, *file, "x", &beyond)) == Errno::kFBIG);
  CHECK(f.Stat("/file")->size == 12);
}

TEST_CASE("the host's refusals are passed on") {
  Writable f;
  const FileRef file = f.Open("/file", O_RDWR).value();
  CHECK(ErrorOf(file->Truncate(f.ctx, uint64_t{1} << 62)) == Errno::kFBIG);
  CHECK(ErrorOf(file->Truncate(f.ctx, ~uint64_t{0})) == Errno::kINVAL);
  CHECK(ErrorOf(file->Allocate(f.ctx, 0, -1, 10)) == Errno::kINVAL);
  CHECK(ErrorOf(file->Seek(f.ctx, -1, SEEK_SET)) == Errno::kINVAL);
  const int64_t negative = -1;
  CHECK(ErrorOf(WriteTo(f.ctx, *file, "x", &negative)) == Errno::kINVAL);
  CHECK(ErrorOf(Vfs::Mknod(f.ctx, f.base, "/device", S_IFCHR | 0666, 0x103)) == Errno::kPERM);
  CHECK(ErrorOf(f.Open("/" + std::string(255, 'x') + "/y", O_CREAT | O_RDWR)) == Errno::kNOENT);
}

TEST_CASE("fifos are the sandbox's own, sockets are inert") {
  Writable f;
  CHECK(Vfs::Mknod(f.ctx, f.base, "/fifo", S_IFIFO | 0600, 0).ok());
  const FileRef both = f.Open("/fifo", O_RDWR).value();
  CHECK(WriteTo(f.ctx, *both, "through").ok());
  CHECK(ReadFrom(f.ctx, *f.Open("/fifo", O_RDONLY | O_NONBLOCK).value(), 10).value() == "through");
  CHECK(Vfs::Mknod(f.ctx, f.base, "/socket", S_IFSOCK | 0600, 0).ok());
  CHECK(ErrorOf(f.Open("/socket")) == Errno::kNXIO);
}

TEST_CASE("extended attributes") {
  Writable f;
  const InodeRef file = Vfs::Resolve(f.ctx, f.base, "/dir/file").value()->inode();
  const Result<void> set = file->SetXattr(f.ctx, "user.a", "1", 0);
  if (ErrorOf(set) == Errno::kOPNOTSUPP) return;  // the temporary directory has none
  CHECK(set.ok());
  CHECK(file->GetXattr(f.ctx, "user.a").value() == "1");
  CHECK(file->ListXattr(f.ctx).value() == std::vector<std::string>{"user.a"});
  CHECK(file->RemoveXattr(f.ctx, "user.a").ok());
  CHECK(ErrorOf(file->GetXattr(f.ctx, "user.a")) == Errno::kNODATA);
  CHECK(ErrorOf(file->SetXattr(f.ctx, "trusted.x", "1", 0)) == Errno::kOPNOTSUPP);
}

TEST_CASE("an upper layer's attributes are overlayfs's own on the host") {
  GoferFixture f;
  f.host.Directory("d");
  GoferFs::Options options;
  options.access = GoferFs::Access::kReadWrite;
  options.is_overlay_upper = true;
  f.Mount(options);
  const InodeRef dir = Vfs::Resolve(f.ctx, f.base, "/d").value()->inode();
  const Result<void> set = dir->SetXattr(f.ctx, "trusted.overlay.opaque", "y", 0);
  if (ErrorOf(set) == Errno::kOPNOTSUPP) return;
  CHECK(set.ok());
  char value[8] = {};
  CHECK(getxattr((f.host / "d").c_str(), "user.overlay.opaque", value, sizeof(value)) == 1);
  CHECK(dir->GetXattr(f.ctx, "trusted.overlay.opaque").value() == "y");
  CHECK(dir->ListXattr(f.ctx).value() == std::vector<std::string>{"trusted.overlay.opaque"});
  // The sandbox's programs cannot forge them.
  CHECK(ErrorOf(dir->SetXattr(f.ctx, "user.overlay.opaque", "n", 0)) == Errno::kOPNOTSUPP);
}

TEST_CASE("deep trees can be made and given back") {
  Writable f;
  std::string path;
  for (int i = 0; i < 300; ++i) {
    path += "/d";
    REQUIRE(Vfs::Mkdir(f.ctx, f.base, path, 0755).ok());
    REQUIRE(f.List(path).ok());
  }
  for (int i = 0; i < 300; ++i) {
    REQUIRE(Vfs::Rmdir(f.ctx, f.base, path).ok());
    path.resize(path.size() - 2);
  }
}

TEST_CASE("a lost gofer is EIO, and open files go on") {
  Writable f;
  const FileRef file = f.Open("/file", O_RDWR).value();
  f.client->lost = true;
  CHECK(ErrorOf(Vfs::Mkdir(f.ctx, f.base, "/x", 0755)) == Errno::kIO);
  CHECK(ErrorOf(f.Open("/y", O_CREAT | O_RDWR)) == Errno::kIO);
  CHECK(ErrorOf(Vfs::Unlink(f.ctx, f.base, "/dir")) != Errno{});
  CHECK(WriteTo(f.ctx, *file, "still").ok());
  CHECK(file->GetAttr(f.ctx)->size == 10);
}

}  // namespace
}  // namespace ringfence::sentry
