// A gofer that answers nonsense which is well-formed (the client checks the rest, see
// gofer/client/grpc_client_test): whatever it says, calls of the VFS end, with an error or not, and
// nothing crashes.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <memory>
#include <random>
#include <string>

#include "test/goferfs/fixture.h"

namespace ringfence::sentry {
namespace {

class LyingClient final : public gofer::Client {
 public:
  LyingClient(std::shared_ptr<CountingClient> honest, uint32_t seed)
      : honest_(std::move(honest)), random_(seed) {}

  Result<gofer::Node> Attach(uint32_t tree) override { return honest_->Attach(tree); }
  Result<gofer::WalkResult> Walk(gofer::NodeId node,
                                 std::span<const std::string_view> components) override {
    TRY(Maybe());
    Result<gofer::WalkResult> walked = honest_->Walk(node, components);
    if (!walked.ok()) return walked;
    for (gofer::Node& n : walked->nodes) Lie(&n);
    if (Below(8) == 0 && !walked->nodes.empty()) {
      walked->nodes.pop_back();
      walked->stopped = AnyError();
    }
    return walked;
  }
  Result<gofer::Attributes> GetAttr(gofer::NodeId node) override {
    TRY(Maybe());
    return Lied(honest_->GetAttr(node));
  }
  Result<std::string> ReadLink(gofer::NodeId node) override {
    TRY(Maybe());
    if (Below(2) == 0) return std::string(1 + Below(4000), 'x');
    return honest_->ReadLink(node);
  }
  Result<gofer::OpenedFile> Open(gofer::NodeId node, std::span<const std::string_view> components,
                                 uint32_t flags) override {
    TRY(Maybe());
    if (Below(4) == 0) return gofer::OpenedFile{.fd = Memory(), .attr = Any()};
    return honest_->Open(node, components, flags);
  }
  Result<gofer::DirectoryPage> ReadDir(gofer::NodeId node, int64_t cookie, uint32_t max_bytes,
                                       gofer::EntryDetail detail) override {
    TRY(Maybe());
    Result<gofer::DirectoryPage> page = honest_->ReadDir(node, cookie, max_bytes, detail);
    if (!page.ok()) return page;
    Lie(&page->entries);
    // Not for ever: a directory of endless pages ends at a bound, but not soon.
    page->end = Below(16) != 0;
    if (page->entries.empty()) page->end = true;
    return page;
  }
  Result<std::vector<gofer::ListedDirectory>> ReadTree(gofer::NodeId node,
                                                       std::span<const std::string_view> names,
                                                       size_t max_directories,
                                                       uint32_t max_bytes) override {
    TRY(Maybe());
    auto listed = honest_->ReadTree(node, names, max_directories, max_bytes);
    if (!listed.ok()) return listed;
    for (gofer::ListedDirectory& directory : *listed) {
      Lie(&directory.attr);
      Lie(&directory.entries);
    }
    return listed;
  }
  Result<gofer::FsAttributes> StatFs(gofer::NodeId node) override {
    TRY(Maybe());
    return honest_->StatFs(node);
  }
  void Close(std::span<const gofer::NodeId>) override {}
  Result<gofer::MadeObject> Make(gofer::NodeId directory, std::string_view name,
                                 const gofer::NewObject& object, AlsoOpen open,
                                 uint32_t open_flags) override {
    TRY(Maybe());
    Result<gofer::MadeObject> made = honest_->Make(directory, name, object, open, open_flags);
    if (!made.ok()) return made;
    // The client lets only the right type through.
    const uint32_t type = made->node.attr.mode & S_IFMT;
    Lie(&made->node);
    made->node.attr.mode = type | (made->node.attr.mode & 07777);
    if (Below(8) == 0 && open == AlsoOpen::kYes) made->fd = Memory();
    Lie(&made->directory);
    return made;
  }
  Result<gofer::LinkedFile> Link(gofer::NodeId node, gofer::NodeId directory,
                                 std::string_view name) override {
    TRY(Maybe());
    Result<gofer::LinkedFile> linked = honest_->Link(node, directory, name);
    if (linked.ok()) Lie(&linked->attr);
    return linked;
  }
  Result<gofer::Attributes> Unlink(gofer::NodeId directory, std::string_view name,
                                   Victim victim) override {
    TRY(Maybe());
    if (Below(8) == 0) return Any();  // done, it says
    return Lied(honest_->Unlink(directory, name, victim));
  }
  Result<gofer::RenamedDirectories> Rename(const RenameArgs& args) override {
    TRY(Maybe());
    if (Below(8) == 0) return gofer::RenamedDirectories{Any(), Any()};
    return honest_->Rename(args);
  }
  Result<gofer::Attributes> SetAttr(gofer::NodeId node,
                                    const gofer::AttributeChange& change) override {
    TRY(Maybe());
    return Lied(honest_->SetAttr(node, change));
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }
  Errno AnyError() {
    static constexpr Errno kErrors[] = {Errno::kIO,    Errno::kNOENT,  Errno::kSTALE,
                                        Errno::kEXIST, Errno::kNOTDIR, Errno::kAGAIN};
    return kErrors[Below(std::size(kErrors))];
  }
  Result<void> Maybe() { return Below(16) == 0 ? Result<void>(AnyError()) : Ok(); }
  UniqueFd Memory() { return UniqueFd(memfd_create("nonsense", MFD_CLOEXEC)); }
  gofer::Attributes Any() {
    static constexpr uint32_t kTypes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR, S_IFSOCK};
    return {.dev = Below(3),
            .ino = Below(20),
            .mode = kTypes[Below(std::size(kTypes))] | static_cast<uint32_t>(Below(010000)),
            .nlink = Below(3),
            .size = random_()};
  }
  void Lie(gofer::Attributes* attr) {
    if (Below(8) == 0) *attr = Any();
    if (Below(8) == 0) attr->size = random_();
    if (Below(8) == 0) attr->nlink = Below(3) == 0 ? random_() : 0;
  }
  void Lie(gofer::Node* node) {
    Lie(&node->attr);
    if (Below(8) == 0) node->id = 1 + Below(50);
    if (!S_ISLNK(node->attr.mode)) node->target.clear();
  }
  void Lie(std::vector<gofer::DirectoryEntry>* entries) {
    for (gofer::DirectoryEntry& entry : *entries) {
      Lie(&entry.attr);
      if (Below(8) == 0) entry.name = std::string(1 + Below(255), 'n');
      if (Below(16) == 0) entry.next_cookie = static_cast<int64_t>(random_());
      if (!S_ISLNK(entry.attr.mode)) entry.target.clear();
    }
    const std::vector<gofer::DirectoryEntry> once = *entries;
    if (Below(8) == 0) entries->insert(entries->end(), once.begin(), once.end());
  }
  Result<gofer::Attributes> Lied(Result<gofer::Attributes> attr) {
    if (attr.ok()) Lie(&*attr);
    return attr;
  }

  const std::shared_ptr<CountingClient> honest_;
  std::mt19937_64 random_;
};

class Program {
 public:
  Program(GoferFixture* f, uint32_t seed) : f_(f), random_(seed) {}
  void Step() {
    const std::string a = Path(), b = Path();
    switch (random_() % 12) {
      case 0:
        return (void)f_->Stat(a);
      case 1:
        return (void)f_->List(a);
      case 2:
        return (void)f_->Contents(a);
      case 3:
        return (void)f_->WriteFile(a, "some text");
      case 4:
        return (void)Vfs::Mkdir(f_->ctx, f_->base, a, 0755);
      case 5:
        return (void)Vfs::Unlink(f_->ctx, f_->base, a);
      case 6:
        return (void)Vfs::Rmdir(f_->ctx, f_->base, a);
      case 7:
        return (void)Vfs::Rename(f_->ctx, f_->base, a, f_->base, b,
                                 random_() % 3 == 0 ? RENAME_EXCHANGE : 0);
      case 8:
        return (void)Vfs::Link(f_->ctx, f_->base, a, f_->base, b, 0);
      case 9:
        return (void)Vfs::Symlink(f_->ctx, b, f_->base, a);
      case 10:
        return Keep(a);
      default:
        return Change(a);
    }
  }

 private:
  std::string Path() {
    static const char* const kNames[] = {"a", "b", "c", "link", "n", ".."};
    std::string path;
    for (uint64_t n = 1 + random_() % 3; n > 0; --n) {
      path.append("/").append(kNames[random_() % std::size(kNames)]);
    }
    return path;
  }
  // Open files outlive what happens to their names.
  void Keep(const std::string& path) {
    const Result<FileRef> file = f_->Open(path, random_() % 2 == 0 ? O_RDWR : O_RDONLY);
    if (!file.ok()) return;
    if (kept_.size() >= 20) kept_.erase(kept_.begin());
    kept_.push_back(*file);
    for (const FileRef& open : kept_) {
      (void)open->GetAttr(f_->ctx);
      (void)WriteTo(f_->ctx, *open, "x");
      (void)open->Truncate(f_->ctx, random_() % 100);
      (void)open->GetMappable(f_->ctx, random_() % 2 == 0);
    }
  }
  void Change(const std::string& path) {
    const Result<DentryRef> dentry = Vfs::Resolve(f_->ctx, f_->base, path);
    if (!dentry.ok()) return;
    SetAttrRequest request;
    request.mode = random_() % 01000;
    if (random_() % 2 == 0) request.size = random_() % 100;
    (void)Vfs::SetAttr(f_->ctx, *dentry, request);
  }

  GoferFixture* f_;
  std::mt19937_64 random_;
  std::vector<FileRef> kept_;
};

TEST_CASE("well-formed nonsense") {
  for (const auto owner : {GoferFs::Owner::kSandbox, GoferFs::Owner::kShared}) {
    for (uint32_t seed = 1; seed <= 20; ++seed) {
      GoferFixture f;
      f.host.Directory("a/b/c");
      f.host.Directory("b");
      f.host.File("a/c", "content");
      f.host.Symlink("link", "a/b");
      GoferFs::Options options;
      options.access = GoferFs::Access::kReadWrite;
      options.owner = owner;
      options.chunks = std::make_shared<ChunkCache>(&f.platform.memory());
      auto honest = std::make_shared<CountingClient>(
          gofer::Tree::Make(f.host.Open(), {}, gofer::Access::kReadWrite).value());
      options.client = std::make_shared<LyingClient>(honest, seed);
      f.ns = MountNamespace::Create(GoferFs::Create(options).value(), "gofer");
      f.context = std::make_shared<FsContext>(f.ns->root(), f.ns->root(), 022);
      f.base.fs = f.context.get();
      Program program(&f, seed);
      for (int i = 0; i < 3000; ++i) program.Step();
    }
  }
  SUCCEED();
}

}  // namespace
}  // namespace ringfence::sentry
