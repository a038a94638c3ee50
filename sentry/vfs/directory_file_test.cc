// getdents64(2), lseek(2), telldir(3) on an open directory.
#include "sentry/vfs/directory_file.h"

#include <dirent.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "sentry/vfs/testing.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

// Entries "e2" .. at every second position, so that a position is not an index.
class Sparse : public DirectoryFile {
 public:
  explicit Sparse(int count) : DirectoryFile(0), count_(count) {}
  Errno fail_with{};
  int fail_at = -1;

 protected:
  Result<void> ReadEntries(const CallContext&, int64_t position, EmitFn emit) override {
    for (int i = 0; i < count_; ++i) {
      const int64_t at = kFirstEntry + 2 * i;
      if (at < position) continue;
      if (i == fail_at) return fail_with;
      if (!emit(DirEntry{100, at + 2, DT_REG, "e" + std::to_string(i)})) break;
    }
    return Ok();
  }

 private:
  const int count_;
};

// At most `max` entries of one call.
std::vector<std::string> Read(File& file, size_t max, std::vector<int64_t>* positions = nullptr) {
  std::vector<std::string> names;
  CallContext ctx;
  const Result<void> done = file.ReadDir(ctx, [&](const DirEntry& entry) {
    if (names.size() == max) return false;
    names.push_back(entry.name);
    if (positions != nullptr) positions->push_back(entry.next_offset);
    return true;
  });
  if (!done.ok()) names.push_back(std::string(ErrnoName(done.error())));
  return names;
}

using Names = std::vector<std::string>;

TEST_CASE("an entry that did not fit comes with the next call") {
  Sparse d(3);
  CHECK(Read(d, 1) == Names{"."});
  CHECK(Read(d, 2) == Names{"..", "e0"});
  CHECK(Read(d, 0) == Names{});
  CHECK(Read(d, 10) == Names{"e1", "e2"});
  CHECK(Read(d, 10) == Names{});
}

TEST_CASE("every position that was told leads back to the entry after it") {
  Sparse d(5);
  std::vector<int64_t> positions;
  const Names all = Read(d, 100, &positions);
  REQUIRE(all.size() == 7);
  CallContext ctx;
  for (size_t i = 0; i < all.size(); ++i) {
    CHECK(d.Seek(ctx, positions[i], SEEK_SET).value() == positions[i]);
    CHECK(Read(d, 100) == Names(all.begin() + static_cast<ptrdiff_t>(i) + 1, all.end()));
  }
  CHECK(d.Seek(ctx, 0, SEEK_SET).ok());
  CHECK(Read(d, 100) == all);
}

TEST_CASE("seeking: to anywhere from 0 on, not from the end") {
  Sparse d(2);
  CallContext ctx;
  CHECK(d.Seek(ctx, INT64_MAX, SEEK_SET).value() == INT64_MAX);
  CHECK(Read(d, 10) == Names{});
  CHECK(d.Seek(ctx, 1, SEEK_CUR).error() == Errno::kOVERFLOW);
  CHECK(d.Seek(ctx, -1, SEEK_SET).error() == Errno::kINVAL);
  CHECK(d.Seek(ctx, 0, SEEK_END).error() == Errno::kINVAL);
  CHECK(d.Seek(ctx, 0, SEEK_DATA).error() == Errno::kINVAL);
  CHECK(d.Seek(ctx, 1, SEEK_SET).ok());
  CHECK(d.Seek(ctx, 0, SEEK_CUR).value() == 1);
  CHECK(Read(d, 1) == Names{".."});
  CHECK(d.Seek(ctx, -2, SEEK_CUR).value() == 0);
}

TEST_CASE("an error after some entries comes back with the next call") {
  Sparse d(4);
  d.fail_with = Errno::kIO;
  d.fail_at = 2;
  CHECK(Read(d, 10) == Names{".", "..", "e0", "e1"});
  CHECK(Read(d, 10) == Names{"EIO"});
  d.fail_at = -1;
  CHECK(Read(d, 10) == Names{"e2", "e3"});
}

TEST_CASE("dots show the directory and the one above, within the file system") {
  auto fs = std::make_shared<FakeFs>();
  fs->top->ino = 7;
  fs->top->Add("d")->ino = 8;
  const auto ns = MountNamespace::Create(fs, "x");
  FsContext context(ns->root(), ns->root(), 022);
  PathBase base;
  base.fs = &context;
  CallContext ctx;
  ctx.creds = std::make_shared<Credentials>();
  for (const auto& [path, self, above] : {std::tuple{"/d", 8u, 7u}, std::tuple{"/", 7u, 7u}}) {
    Sparse d(0);
    d.SetDentry(Vfs::Resolve(ctx, base, path).value());
    std::vector<uint64_t> inodes;
    CHECK(d.ReadDir(ctx, [&](const DirEntry& entry) {
             CHECK(entry.type == DT_DIR);
             inodes.push_back(entry.ino);
             return true;
           }).ok());
    CHECK(inodes == std::vector<uint64_t>{self, above});
  }
}

TEST_CASE("a directory writes and reads no data") {
  Sparse d(0);
  CallContext ctx;
  std::byte byte{};
  UserIo io(absl::Span<std::byte>(&byte, 1));
  CHECK(d.Read(ctx, io, nullptr).error() == Errno::kISDIR);
  CHECK(d.Write(ctx, io, nullptr).error() == Errno::kBADF);
}

}  // namespace
}  // namespace ringfence::sentry
