// Reads many directories of a tree at once, depth first: what Client::ReadTree gives.
//
// Threads: one.
#ifndef RINGFENCE_GOFER_SERVER_TREE_READER_H_
#define RINGFENCE_GOFER_SERVER_TREE_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gofer/client/client.h"

namespace ringfence::gofer {

class TreeReader {
 public:
  TreeReader(size_t max_directories, size_t max_bytes)
      : max_directories_(max_directories), max_bytes_(max_bytes) {}

  // Reads `name` in `parent`, a directory on `device` and on no kernel file system, and what is
  // below it. False: there is no room for more.
  bool Read(int parent, uint64_t device, const std::string& name) {
    return Read(parent, device, name, 0);
  }
  std::vector<ListedDirectory> Take() && { return std::move(listed_); }

 private:
  bool Read(int parent, uint64_t device, const std::string& name, int depth);
  // All entries, or nothing when they do not fit or cannot be read.
  std::optional<std::vector<DirectoryEntry>> ReadAll(int fd, bool* full);

  const size_t max_directories_, max_bytes_;
  size_t bytes_ = 0;
  std::vector<ListedDirectory> listed_;
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_TREE_READER_H_
