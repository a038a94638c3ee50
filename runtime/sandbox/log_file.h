// The default log: one file for all sandboxes of a user (places.h), made with the first line. Each
// line begins with the time and the sandbox. A file of 8 MiB is moved to ringfence.log.1 first; a
// sandbox writes at most 1 MiB.
#ifndef RINGFENCE_RUNTIME_SANDBOX_LOG_FILE_H_
#define RINGFENCE_RUNTIME_SANDBOX_LOG_FILE_H_

#include <string>
#include <string_view>
#include <utility>

#include "platform/base/unique_fd.h"

namespace ringfence::runtime {

class LogFile {
 public:
  LogFile(std::string path, std::string id) : path_(std::move(path)), id_(std::move(id)) {}
  // Never fails: a log that cannot be written is not written.
  void Write(std::string_view line);

 private:
  void Open();

  const std::string path_, id_;
  UniqueFd fd_;
  bool tried_ = false;
  size_t written_ = 0;
};

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_LOG_FILE_H_
