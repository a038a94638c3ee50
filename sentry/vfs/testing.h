// For unit tests: a file system of directories and plain objects in memory that counts what it is
// asked, and an open file that counts what happens to it.
#ifndef RINGFENCE_SENTRY_VFS_TESTING_H_
#define RINGFENCE_SENTRY_VFS_TESTING_H_

#include <sys/stat.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

class FakeInode : public Inode {
 public:
  FakeInode(FileSystem* fs, uint32_t mode) : Inode(fs), mode_(mode) {}
  Result<Attributes> GetAttr(const CallContext&) override {
    Attributes attributes;
    attributes.mode = mode_;
    attributes.ino = ino;
    return attributes;
  }
  uint32_t type() const override { return mode_ & S_IFMT; }
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kNXIO; }
  Result<InodeRef> Lookup(const CallContext&, std::string_view name) override {
    ++lookups;
    if (during_lookup) std::exchange(during_lookup, nullptr)();
    const auto found = children.find(name);
    if (found == children.end()) return Errno::kNOENT;
    return InodeRef(found->second);
  }
  bool CacheLookups() const override { return cache; }

  std::shared_ptr<FakeInode> Add(const std::string& name, uint32_t mode = S_IFDIR | 0755) {
    return children[name] = std::make_shared<FakeInode>(fs(), mode);
  }

  std::map<std::string, std::shared_ptr<FakeInode>, std::less<>> children;
  int lookups = 0;
  uint64_t ino = 1;
  bool cache = true;
  std::function<void()> during_lookup;  // once

 private:
  const uint32_t mode_;
};

class FakeFs : public FileSystem {
 public:
  std::string_view type() const override { return "fake"; }
  InodeRef root() override { return top; }
  Result<FsAttributes> StatFs(const CallContext&) override { return FsAttributes{}; }
  bool read_only() const override { return is_read_only; }

  const std::shared_ptr<FakeInode> top = std::make_shared<FakeInode>(this, S_IFDIR | 0755);
  bool is_read_only = false;
};

// Counts outlive the file.
struct FileCounts {
  int flushed = 0, dropped = 0;
  uint64_t owner = 0;  // of the latest flush
};
class FakeFile : public File {
 public:
  explicit FakeFile(FileCounts* counts, uint32_t flags = 0) : File(flags), counts_(counts) {}
  ~FakeFile() override { ++counts_->dropped; }
  Result<size_t> Read(const CallContext&, UserIo&, const int64_t*) override { return size_t{0}; }
  Result<size_t> Write(const CallContext&, UserIo&, const int64_t*) override { return size_t{0}; }
  void Flush(uint64_t owner) override {
    ++counts_->flushed;
    counts_->owner = owner;
  }

 private:
  FileCounts* const counts_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_TESTING_H_
