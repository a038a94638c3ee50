// What a gofer under test may reach and what it may not: exported trees in a temporary folder,
// beside files that nobody may touch.
#ifndef RINGFENCE_TEST_FUZZ_SCRATCH_H_
#define RINGFENCE_TEST_FUZZ_SCRATCH_H_

#include <string>
#include <vector>

#include "platform/base/unique_fd.h"

namespace ringfence::fuzz {

class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The trees that may be changed, as they were at first.
  void Reset();

  // O_PATH descriptors of what is exported.
  UniqueFd OpenRoot() const { return OpenPath("root"); }          // a directory, writable
  UniqueFd OpenReadOnly() const { return OpenPath("readonly"); }  // a directory, read-only
  UniqueFd OpenVolume() const { return OpenPath("volume"); }      // a regular file, writable

  // Aborts if anything that nobody may touch has changed: names, contents, attributes.
  void ExpectUntouched() const;
  // Aborts unless `fd` is a regular file of an exported tree, read-only if the tree is.
  void ExpectExported(int fd) const;

 private:
  struct Sight {
    std::string path;
    std::string state;
  };
  UniqueFd OpenPath(const std::string& name) const;
  static std::string StateOf(const std::string& path);
  void MakeTree() const;

  std::string base_;
  std::vector<Sight> untouchable_;
};

// Descriptors this process has open.
size_t CountDescriptors();

}  // namespace ringfence::fuzz

#endif  // RINGFENCE_TEST_FUZZ_SCRATCH_H_
