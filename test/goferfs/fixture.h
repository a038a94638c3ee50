// For tests: goferfs at the root of a mount namespace, on a directory of the host.
#ifndef RINGFENCE_TEST_GOFERFS_FIXTURE_H_
#define RINGFENCE_TEST_GOFERFS_FIXTURE_H_

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gofer/server/testing_temp_tree.h"
#include "gofer/server/tree.h"
#include "platform/fake/fake_platform.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/testing/fixture.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

// A gofer without a process. Counts the calls by name; answers EIO once `lost` is set.
class CountingClient final : public gofer::Client {
 public:
  explicit CountingClient(std::unique_ptr<gofer::Tree> tree) : tree_(std::move(tree)) {}

  Result<gofer::Node> Attach(uint32_t tree) override {
    TRY(Count("Attach"));
    return tree_->Attach(tree);
  }
  Result<gofer::WalkResult> Walk(gofer::NodeId node,
                                 std::span<const std::string_view> components) override {
    TRY(Count("Walk"));
    return tree_->Walk(node, components);
  }
  Result<gofer::Attributes> GetAttr(gofer::NodeId node) override {
    TRY(Count("GetAttr"));
    return tree_->GetAttr(node);
  }
  Result<std::string> ReadLink(gofer::NodeId node) override {
    TRY(Count("ReadLink"));
    return tree_->ReadLink(node);
  }
  Result<gofer::OpenedFile> Open(gofer::NodeId node, std::span<const std::string_view> components,
                                 uint32_t flags) override {
    TRY(Count("Open"));
    return tree_->Open(node, components, flags);
  }
  Result<gofer::DirectoryPage> ReadDir(gofer::NodeId node, int64_t cookie, uint32_t max_bytes,
                                       gofer::EntryDetail detail) override {
    TRY(Count("ReadDir"));
    return tree_->ReadDir(node, cookie, max_bytes, detail);
  }
  Result<std::vector<gofer::ListedDirectory>> ReadTree(gofer::NodeId node,
                                                       std::span<const std::string_view> names,
                                                       size_t max_directories,
                                                       uint32_t max_bytes) override {
    TRY(Count("ReadTree"));
    auto listed = TRY(tree_->ReadTree(node, names, max_directories, max_bytes));
    directories_ahead += listed.size();
    return listed;
  }
  Result<gofer::FsAttributes> StatFs(gofer::NodeId node) override {
    TRY(Count("StatFs"));
    return tree_->StatFs(node);
  }
  Result<gofer::MadeObject> Make(gofer::NodeId directory, std::string_view name,
                                 const gofer::NewObject& object, AlsoOpen open,
                                 uint32_t open_flags) override {
    TRY(Count("Make"));
    return tree_->Make(directory, name, object, open, open_flags);
  }
  Result<gofer::LinkedFile> Link(gofer::NodeId node, gofer::NodeId directory,
                                 std::string_view name) override {
    TRY(Count("Link"));
    return tree_->Link(node, directory, name);
  }
  Result<gofer::Attributes> Unlink(gofer::NodeId directory, std::string_view name,
                                   Victim victim) override {
    TRY(Count("Unlink"));
    return tree_->Unlink(directory, name, victim);
  }
  Result<gofer::RenamedDirectories> Rename(const RenameArgs& args) override {
    TRY(Count("Rename"));
    return tree_->Rename(args);
  }
  Result<gofer::Attributes> SetAttr(gofer::NodeId node,
                                    const gofer::AttributeChange& change) override {
    TRY(Count("SetAttr"));
    return tree_->SetAttr(node, change);
  }
  Result<void> Sync(gofer::NodeId node) override {
    TRY(Count("Sync"));
    return tree_->Sync(node);
  }
  Result<std::string> GetXattr(gofer::NodeId node, std::string_view name) override {
    TRY(Count("GetXattr"));
    return tree_->GetXattr(node, name);
  }
  Result<std::vector<std::string>> ListXattr(gofer::NodeId node) override {
    TRY(Count("ListXattr"));
    return tree_->ListXattr(node);
  }
  Result<void> SetXattr(gofer::NodeId node, std::string_view name, std::string_view value,
                        uint32_t flags) override {
    TRY(Count("SetXattr"));
    return tree_->SetXattr(node, name, value, flags);
  }
  Result<void> RemoveXattr(gofer::NodeId node, std::string_view name) override {
    TRY(Count("RemoveXattr"));
    return tree_->RemoveXattr(node, name);
  }
  void Close(std::span<const gofer::NodeId> nodes) override { CHECK(tree_->Close(nodes).ok()); }

  // Since the last time, for example {{"Walk", 2}}.
  std::map<std::string, int> TakeCalls() { return std::exchange(calls_, {}); }
  size_t nodes() { return tree_->nodes().node_count(); }

  bool lost = false;
  size_t directories_ahead = 0;  // listed by ReadTree

 private:
  Result<void> Count(const char* name) {
    ++calls_[name];
    return lost ? Result<void>(Errno::kIO) : Ok();
  }
  const std::unique_ptr<gofer::Tree> tree_;
  std::map<std::string, int> calls_;
};

using Calls = std::map<std::string, int>;

struct GoferFixture {
  GoferFixture() = default;

  // After the host's files have been made.
  void Mount(GoferFs::Options options = {}) {
    const bool writable = options.access == GoferFs::Access::kReadWrite;
    client = std::make_shared<CountingClient>(
        gofer::Tree::Make(host.Open(), limits,
                          writable ? gofer::Access::kReadWrite : gofer::Access::kReadOnly)
            .value());
    options.client = client;
    ns = MountNamespace::Create(GoferFs::Create(options).value(), "gofer");
    context = std::make_shared<FsContext>(ns->root(), ns->root(), 022);
    base.fs = context.get();
    client->TakeCalls();
  }

  void MountWritable(GoferFs::Owner owner = GoferFs::Owner::kSandbox) {
    GoferFs::Options options;
    options.access = GoferFs::Access::kReadWrite;
    options.owner = owner;
    options.chunks = std::make_shared<ChunkCache>(&platform.memory());
    Mount(options);
  }

  Result<FileRef> Open(std::string_view path, uint32_t flags = O_RDONLY, uint32_t mode = 0644) {
    return Vfs::Open(ctx, base, path, flags, mode);
  }
  Result<void> WriteFile(std::string_view path, std::string_view text) {
    const FileRef file = TRY(Open(path, O_WRONLY | O_CREAT | O_TRUNC));
    TRY(WriteTo(ctx, *file, text));
    return Ok();
  }
  std::string OnHost(const std::string& name) const {
    std::ifstream in(host / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Result<std::string> Contents(std::string_view path) {
    const FileRef file = TRY(Open(path));
    return ReadFrom(ctx, *file, 1 << 16);
  }
  Result<Attributes> Stat(std::string_view path) {
    ResolveFlags flags;
    flags.follow_last = false;
    const DentryRef dentry = TRY(Vfs::Resolve(ctx, base, path, flags));
    return dentry->inode()->GetAttr(ctx);
  }
  Result<std::vector<std::string>> List(std::string_view path) {
    std::vector<std::string> names;
    const FileRef file = TRY(Open(path, O_RDONLY | O_DIRECTORY));
    TRY(file->ReadDir(ctx, [&](const DirEntry& entry) {
      if (entry.name != "." && entry.name != "..") names.push_back(entry.name);
      return true;
    }));
    return names;
  }

  platform::FakePlatform platform;  // outlives the mappings of files
  gofer::NodeTableLimits limits;
  gofer::TempTree host;
  std::shared_ptr<CountingClient> client;
  std::shared_ptr<MountNamespace> ns;
  std::shared_ptr<FsContext> context;
  PathBase base;
  CallContext ctx = RootContext();
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_TEST_GOFERFS_FIXTURE_H_
