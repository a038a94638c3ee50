// A directory for tests, removed at the end.
#ifndef RINGFENCE_GOFER_SERVER_TESTING_TEMP_TREE_H_
#define RINGFENCE_GOFER_SERVER_TESTING_TEMP_TREE_H_

#include <fcntl.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "platform/base/unique_fd.h"

namespace ringfence::gofer {

class TempTree {
 public:
  TempTree() {
    std::string pattern = std::filesystem::temp_directory_path() / "gofer_test_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempTree() { std::filesystem::remove_all(path_); }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

  void File(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  void Directory(const std::string& name) const {
    std::filesystem::create_directories(path_ / name);
  }
  void Symlink(const std::string& name, const std::string& target) const {
    std::filesystem::create_symlink(target, path_ / name);
  }
  UniqueFd Open(const std::string& name = "") const {
    return UniqueFd(open((path_ / name).c_str(), O_PATH | O_CLOEXEC));
  }

 private:
  std::filesystem::path path_;
};

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_SERVER_TESTING_TEMP_TREE_H_
