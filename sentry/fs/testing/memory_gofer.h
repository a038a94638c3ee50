// For tests: a gofer without a process, server or host files. It has directories and empty files.
#ifndef RINGFENCE_SENTRY_FS_TESTING_MEMORY_GOFER_H_
#define RINGFENCE_SENTRY_FS_TESTING_MEMORY_GOFER_H_

#include <sys/stat.h>

#include <map>
#include <string>

#include "gofer/client/client.h"

namespace ringfence::sentry {

// Paths begin with '/'; the root is there from the start. Used by one thread.
class MemoryGofer final : public gofer::Client {
 public:
  void AddDirectory(std::string path, uint32_t mode = 0755) { modes_[path] = S_IFDIR | mode; }
  void AddFile(std::string path, uint32_t mode) { modes_[path] = S_IFREG | mode; }
  bool lost = false;  // every call answers EIO

  Result<gofer::Node> Attach(uint32_t) override {
    if (lost) return Errno::kIO;
    return NodeAt("");
  }

  Result<gofer::WalkResult> Walk(gofer::NodeId node,
                                 std::span<const std::string_view> components) override {
    std::string path = TRY(PathOf(node));
    gofer::WalkResult result;
    for (const std::string_view name : components) {
      if (!S_ISDIR(modes_[path])) {
        result.stopped = Errno::kNOTDIR;
        break;
      }
      path.append("/").append(name);
      if (!modes_.contains(path)) {
        result.stopped = Errno::kNOENT;
        break;
      }
      result.nodes.push_back(NodeAt(path));
    }
    return result;
  }

  Result<gofer::Attributes> GetAttr(gofer::NodeId node) override {
    return AttributesOf(TRY(PathOf(node)));
  }

  Result<std::string> ReadLink(gofer::NodeId) override { return Errno::kINVAL; }
  Result<gofer::OpenedFile> Open(gofer::NodeId, std::span<const std::string_view>,
                                 uint32_t) override {
    return Errno::kNXIO;
  }
  Result<gofer::DirectoryPage> ReadDir(gofer::NodeId, int64_t, uint32_t,
                                       gofer::EntryDetail) override {
    return gofer::DirectoryPage{.entries = {}, .end = true};
  }
  Result<std::vector<gofer::ListedDirectory>> ReadTree(gofer::NodeId,
                                                       std::span<const std::string_view>, size_t,
                                                       uint32_t) override {
    return std::vector<gofer::ListedDirectory>();
  }
  Result<gofer::FsAttributes> StatFs(gofer::NodeId) override { return gofer::FsAttributes{}; }
  void Close(std::span<const gofer::NodeId> nodes) override {
    for (const gofer::NodeId id : nodes) nodes_.erase(id);
  }

 private:
  Result<std::string> PathOf(gofer::NodeId node) const {
    if (lost) return Errno::kIO;
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return Errno::kINVAL;
    return found->second;
  }
  gofer::Attributes AttributesOf(const std::string& path) {
    gofer::Attributes attr;
    attr.dev = 1;
    attr.ino = static_cast<uint64_t>(std::distance(modes_.begin(), modes_.find(path))) + 1;
    attr.mode = modes_[path];
    attr.nlink = 1;
    return attr;
  }
  gofer::Node NodeAt(const std::string& path) {
    nodes_[++last_id_] = path;
    return {.id = last_id_, .attr = AttributesOf(path)};
  }

  std::map<std::string, uint32_t> modes_ = {{"", S_IFDIR | 0755}};
  std::map<gofer::NodeId, std::string> nodes_;
  gofer::NodeId last_id_ = 0;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_TESTING_MEMORY_GOFER_H_
