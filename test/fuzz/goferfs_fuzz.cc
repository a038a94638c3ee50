// A hostile gofer: goferfs, and an overlay on it, over the client that checks what comes over gRPC.
// The front of the input is what a program does with the files, the back what the gofer answers.
// Whatever that is, calls end, nothing crashes, and a guest sees only what Linux could show it.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gofer/client/grpc_client_stub.h"
#include "platform/fake/fake_platform.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/testing/fixture.h"
#include "test/fuzz/expect.h"
#include "test/fuzz/hostile_gofer.h"
#include "test/fuzz/input.h"

namespace ringfence::fuzz {
namespace {

using namespace sentry;

constexpr size_t kMaxCalls = 64;
constexpr size_t kMaxOpen = 6;
constexpr size_t kMaxRead = 4096;
constexpr int64_t kMaxFile = 64 * 1024;
// Files kept open with two descriptors each, spare and idle ones, the client's socket and the
// objects' data.
constexpr size_t kMaxIdle = 4;
constexpr const char* kNames[] = {"a", "b", "c", "f", "l", "p", "new", "..", "."};
constexpr uint32_t kOpenFlags[] = {O_RDONLY,
                                   O_RDWR,
                                   O_WRONLY,
                                   O_RDWR | O_CREAT,
                                   O_RDWR | O_CREAT | O_EXCL,
                                   O_WRONLY | O_CREAT | O_TRUNC,
                                   O_RDONLY | O_DIRECTORY,
                                   O_RDWR | O_TMPFILE,
                                   O_WRONLY | O_APPEND,
                                   O_PATH,
                                   O_RDONLY | O_NOFOLLOW,
                                   O_RDWR | O_NONBLOCK,
                                   O_RDWR | O_SYNC};

platform::FakePlatform& ThePlatform() {
  static platform::FakePlatform fake;
  return fake;
}

size_t CountDescriptors() {
  // The lowest that is free stands for how many there are: what this file opens it closes again.
  return static_cast<size_t>(UniqueFd(dup(STDERR_FILENO)).get());
}

class Program {
 public:
  Program(Choices calls, const PathBase& base) : calls_(calls), base_(base) {}

  void Run() {
    for (size_t n = 0; n < kMaxCalls && !calls_.done(); ++n) Step();
  }

 private:
  // Errors that a guest may see; a call on a service thread may also be sent to the task's own.
  template <typename T>
  bool Done(const Result<T>& result, std::string_view what) {
    if (result.ok()) return true;
    if (!ctx_.may_block && result.error() == Errno::kWOULDBLOCK_RETRY_ON_TASK) return false;
    ExpectGuestErrno(result.error(), what);
    return false;
  }

  std::string Path() {
    const uint8_t how = calls_.Byte();
    std::string path;
    for (int n = how >> 6; n >= 0; --n) {
      path.append("/").append(calls_.OneOf(kNames));
    }
    // At the bounds of names.
    if ((how & 63) == 63) path.append(calls_.Below(3), 'n').append(254, 'n');
    return path;
  }

  void Step() {
    static constexpr void (Program::*kCalls[])() = {
        &Program::Stat,     &Program::Open,      &Program::List,      &Program::Mkdir,
        &Program::Unlink,   &Program::Rmdir,     &Program::Rename,    &Program::Link,
        &Program::Symlink,  &Program::Mknod,     &Program::ReadLink,  &Program::SetAttr,
        &Program::GetXattr, &Program::ListXattr, &Program::SetXattr,  &Program::RemoveXattr,
        &Program::StatFs,   &Program::Access,    &Program::ReadFile,  &Program::WriteFile,
        &Program::Seek,     &Program::Truncate,  &Program::Map,       &Program::Sync,
        &Program::FileStat, &Program::Close,     &Program::ListAgain, &Program::Socket};
    const uint8_t what = calls_.Byte();
    // As on a service thread; then again, as the task's own.
    ctx_.may_block = what < 0xc0;
    (this->*kCalls[what % std::size(kCalls)])();
    ctx_.may_block = true;
  }

  void Check(const Attributes& attr, uint32_t type) {
    const auto is_time = [](const Timespec& t) { return t.nsec >= 0 && t.nsec < 1'000'000'000; };
    Expect((attr.mode & S_IFMT) == type && type != 0, "a file has its type");
    Expect((attr.mode & ~uint32_t{S_IFMT | 07777}) == 0, "a mode has no other bits");
    Expect(attr.size <= INT64_MAX, "sizes fit off_t");
    Expect(is_time(attr.atime) && is_time(attr.mtime) && is_time(attr.ctime), "nanoseconds");
  }

  Result<DentryRef> Find() {
    ResolveFlags flags;
    flags.follow_last = calls_.OneIn(2);
    return Vfs::Resolve(ctx_, base_, Path(), flags);
  }
  void Stat() {
    const Result<DentryRef> dentry = Find();
    if (!Done(dentry, "lookup")) return;
    const InodeRef& inode = (*dentry)->inode();
    const Result<Attributes> attr = inode->GetAttr(ctx_);
    if (Done(attr, "stat")) Check(*attr, inode->type());
  }
  void Open() {
    const uint32_t flags = calls_.OneOf(kOpenFlags);
    const Result<FileRef> file = Vfs::Open(ctx_, base_, Path(), flags, 0644);
    if (!Done(file, "open")) return;
    if (open_.size() >= kMaxOpen) open_.erase(open_.begin());
    open_.push_back(*file);
  }
  void Read(File& directory) {
    const Result<void> read = directory.ReadDir(ctx_, [](const DirEntry& entry) {
      const std::string& name = entry.name;
      Expect(!name.empty() && name.size() <= 255, "names have 1 to 255 bytes");
      Expect(name.find('/') == name.npos && name.find('\0') == name.npos, "names are components");
      return true;
    });
    Done(read, "readdir");
  }
  void List() {
    const Result<FileRef> file = Vfs::Open(ctx_, base_, Path(), O_RDONLY | O_DIRECTORY, 0);
    if (!Done(file, "opendir")) return;
    Read(**file);
  }
  void Mkdir() { Done(Vfs::Mkdir(ctx_, base_, Path(), 0755), "mkdir"); }
  void Unlink() { Done(Vfs::Unlink(ctx_, base_, Path()), "unlink"); }
  void Rmdir() { Done(Vfs::Rmdir(ctx_, base_, Path()), "rmdir"); }
  void Rename() {
    static constexpr uint32_t kFlags[] = {0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT};
    const uint32_t flags = calls_.OneOf(kFlags);
    const std::string from = Path();
    Done(Vfs::Rename(ctx_, base_, from, base_, Path(), flags), "rename");
  }
  void Link() {
    const int flags = calls_.OneIn(2) ? AT_SYMLINK_FOLLOW : 0;
    const std::string from = Path();
    Done(Vfs::Link(ctx_, base_, from, base_, Path(), flags), "link");
  }
  void Symlink() {
    const std::string target = Path();
    Done(Vfs::Symlink(ctx_, target, base_, Path()), "symlink");
  }
  void Mknod() {
    static constexpr uint32_t kModes[] = {S_IFREG | 0644, S_IFIFO | 0644, S_IFCHR | 0644,
                                          S_IFSOCK | 0644};
    const uint32_t mode = calls_.OneOf(kModes);
    Done(Vfs::Mknod(ctx_, base_, Path(), mode, 0), "mknod");
  }
  void Socket() { Done(Vfs::MakeSocket(ctx_, base_, Path(), 0755), "bind"); }
  void ReadLink() {
    const Result<std::string> target = Vfs::ReadLink(ctx_, base_, Path());
    if (Done(target, "readlink")) {
      Expect(!target->empty() && target->size() < 4096, "symlinks have 1 to 4095 bytes");
    }
  }
  void SetAttr() {
    const Result<DentryRef> dentry = Find();
    if (!Done(dentry, "lookup")) return;
    SetAttrRequest request;
    const uint8_t which = calls_.Byte();
    if ((which & 1) != 0) request.mode = calls_.Number32() & 07777;
    if ((which & 2) != 0) request.uid = calls_.Number32();
    if ((which & 4) != 0) request.size = calls_.Number() % kMaxFile;
    if ((which & 8) != 0) request.mtime_now = true;
    if ((which & 16) != 0) request.atime = Timespec{.sec = 1, .nsec = 1};
    Done(Vfs::SetAttr(ctx_, *dentry, request), "setattr");
  }
  std::string XattrName() {
    static constexpr const char* kXattrs[] = {"user.a", "user.", "trusted.overlay.opaque",
                                              "user.overlay.opaque"};
    return calls_.OneOf(kXattrs);
  }
  void GetXattr() {
    const Result<DentryRef> dentry = Find();
    if (!Done(dentry, "lookup")) return;
    const Result<std::string> value = (*dentry)->inode()->GetXattr(ctx_, XattrName());
    if (Done(value, "getxattr")) Expect(value->size() <= 65536, "values have a bound");
  }
  void ListXattr() {
    const Result<DentryRef> dentry = Find();
    if (!Done(dentry, "lookup")) return;
    const auto names = (*dentry)->inode()->ListXattr(ctx_);
    if (!Done(names, "listxattr")) return;
    for (const std::string& name : *names) {
      Expect(!name.empty() && name.size() <= 255, "names of attributes have 1 to 255 bytes");
    }
  }
  void SetXattr() {
    const Result<DentryRef> dentry = Find();
    if (!Done(dentry, "lookup")) return;
    Done((*dentry)->inode()->SetXattr(ctx_, XattrName(), "value", 0), "setxattr");
  }
  void RemoveXattr() {
    const Result<DentryRef> dentry = Find();
    if (!Done(dentry, "lookup")) return;
    Done((*dentry)->inode()->RemoveXattr(ctx_, XattrName()), "removexattr");
  }
  void StatFs() { Done(base_.fs->root()->inode()->fs()->StatFs(ctx_), "statfs"); }
  void Access() {
    const Result<DentryRef> dentry = Find();
    if (Done(dentry, "lookup")) {
      Done(Vfs::CheckAccess(ctx_, *dentry, static_cast<uint32_t>(calls_.Below(8))), "access");
    }
  }

  // --- open files, which outlive what happens to their names ---
  File* Opened() {
    const uint8_t which = calls_.Byte();
    if (open_.empty()) return nullptr;
    return open_[which % open_.size()].get();
  }
  // Reads of a pipe wait for a writer; there are no other threads here.
  static bool MayTransfer(const File& file) {
    const InodeRef inode = file.inode();
    return inode != nullptr && inode->type() == S_IFREG;
  }
  void ReadFile() {
    File* file = Opened();
    if (file == nullptr || !MayTransfer(*file) || (file->flags() & O_ACCMODE) == O_WRONLY) return;
    const int64_t offset = static_cast<int64_t>(calls_.Number());
    const bool at = calls_.OneIn(2);
    const Result<std::string> data = ReadFrom(ctx_, *file, kMaxRead, at ? &offset : nullptr);
    if (Done(data, "read")) Expect(data->size() <= kMaxRead, "no more than was asked for");
  }
  void WriteFile() {
    File* file = Opened();
    if (file == nullptr || !MayTransfer(*file) || (file->flags() & O_ACCMODE) == O_RDONLY) return;
    const int64_t offset = static_cast<int64_t>(calls_.Number()) % kMaxFile;
    const bool at = calls_.OneIn(2);
    Done(WriteTo(ctx_, *file, "some text", at ? &offset : nullptr), "write");
  }
  void Seek() {
    File* file = Opened();
    if (file == nullptr) return;
    const auto offset = static_cast<int64_t>(calls_.Number() % kMaxFile);
    const Result<int64_t> position = file->Seek(ctx_, offset, static_cast<int>(calls_.Below(6)));
    if (Done(position, "seek")) Expect(*position >= 0, "positions are not negative");
  }
  void Truncate() {
    File* file = Opened();
    if (file == nullptr) return;
    Done(file->Truncate(ctx_, calls_.Number() % kMaxFile), "ftruncate");
    Done(file->Allocate(ctx_, static_cast<int>(calls_.Below(4)), 0, 4096), "fallocate");
  }
  void Map() {
    File* file = Opened();
    if (file == nullptr) return;
    const bool writable = calls_.OneIn(2);
    const Result<MappableRef> mappable = file->GetMappable(ctx_, writable);
    if (!Done(mappable, "mmap")) return;
    const uint64_t page = calls_.Number() % (uint64_t{1} << 51);
    const auto access = writable ? ringfence::Access::kWrite : ringfence::Access::kRead;
    const uint64_t count = 1 + calls_.Below(4);
    const Result<FrameRun> frames = page % 3 == 0
                                        ? (*mappable)->GetPrivateFrames(page, count, page % 2 == 0)
                                        : (*mappable)->GetFrames(page, count, access);
    if (Done(frames, "fault")) ThePlatform().memory().Unref(*frames);
    (void)(*mappable)->MappedName();
  }
  void Sync() {
    File* file = Opened();
    if (file != nullptr) Done(file->Sync(ctx_, calls_.OneIn(2)), "fsync");
  }
  void FileStat() {
    File* file = Opened();
    if (file == nullptr) return;
    const Result<Attributes> attr = file->GetAttr(ctx_);
    if (Done(attr, "fstat") && file->inode() != nullptr) Check(*attr, file->inode()->type());
  }
  void Close() {
    if (!open_.empty())
      open_.erase(open_.begin() + static_cast<ptrdiff_t>(calls_.Below(kMaxOpen) % open_.size()));
  }
  void ListAgain() {
    File* file = Opened();
    if (file == nullptr || (file->flags() & O_PATH) != 0) return;
    if (file->inode() == nullptr || file->inode()->type() != S_IFDIR) return;
    if (calls_.OneIn(2))
      Done(file->Seek(ctx_, static_cast<int64_t>(calls_.Number()), SEEK_SET), "seekdir");
    Read(*file);
  }

  Choices calls_;
  const PathBase base_;
  CallContext ctx_ = RootContext();
  std::vector<FileRef> open_;
};

// What the first byte of an input chooses.
constexpr uint8_t kShared = 1, kReadOnly = 2, kOverlay = 4, kUnderUpper = 8;

std::shared_ptr<FileSystem> MakeFileSystem(uint8_t options,
                                           const std::shared_ptr<gofer::Client>& client) {
  GoferFs::Options goferfs;
  goferfs.client = client;
  goferfs.owner = (options & kShared) != 0 ? GoferFs::Owner::kShared : GoferFs::Owner::kSandbox;
  const bool is_lower = (options & kOverlay) != 0 && (options & kUnderUpper) == 0;
  const bool read_only = (options & kReadOnly) != 0 || is_lower;
  goferfs.access = read_only ? GoferFs::Access::kReadOnly : GoferFs::Access::kReadWrite;
  goferfs.is_overlay_upper = (options & kOverlay) != 0 && !is_lower;
  goferfs.chunks = std::make_shared<ChunkCache>(&ThePlatform().memory());
  goferfs.max_idle_descriptors = kMaxIdle;
  goferfs.max_listed_entries = 64;
  Result<std::shared_ptr<GoferFs>> fs = GoferFs::Create(goferfs);
  if (!fs.ok()) return nullptr;
  if ((options & kOverlay) == 0) return *fs;
  Tmpfs::Options memory;
  memory.memory = &ThePlatform().memory();
  memory.max_bytes = 1 << 20;
  std::shared_ptr<FileSystem> other = Tmpfs::Create(memory);
  auto overlay = is_lower ? OverlayFs::Create({.lower = *fs, .upper = other})
                          : OverlayFs::Create({.lower = other, .upper = *fs});
  return overlay.ok() ? *overlay : std::shared_ptr<FileSystem>();
}

void RunOne(const uint8_t* data, size_t size) {
  ThePlatform();
  const size_t before = CountDescriptors();
  {
    InputBytes bytes = {{data, size}};
    Choices calls(&bytes, Choices::End::kFront), answers(&bytes, Choices::End::kBack);
    const uint8_t options = calls.Byte();
    auto [receiver, sender] = gofer::MakeFdChannel().value();
    std::shared_ptr<gofer::Client> client =
        gofer::NewClientOnStub(std::make_unique<HostileGofer>(answers, std::move(sender)),
                               std::move(receiver), [](std::string_view) {});
    if (const std::shared_ptr<FileSystem> fs = MakeFileSystem(options, client)) {
      auto ns = MountNamespace::Create(fs, "gofer");
      const FsContext context(ns->root(), ns->root(), 022);
      Program(calls, {.fs = &context, .start = nullptr}).Run();
    }
  }
  Expect(CountDescriptors() == before, "all descriptors are given back");
}

}  // namespace
}  // namespace ringfence::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ringfence::fuzz::RunOne(data, size);
  return 0;
}
