// A running sandbox's socket in the run directory (places.h), for `ringfence debug`. A client of
// the same user or root sends one byte: 'l' is answered with a line about the sandbox, 't' with
// what its tasks do, which is asked of the sentry. One client at a time; who does not read is
// dropped when the next one comes. At most 4 MiB are kept for a client.
//
// Threads: the supervisor's. Never blocks.
#ifndef RINGFENCE_RUNTIME_SANDBOX_DEBUG_SERVER_H_
#define RINGFENCE_RUNTIME_SANDBOX_DEBUG_SERVER_H_

#include <poll.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "platform/base/unique_fd.h"

namespace ringfence::runtime {

class DebugServer {
 public:
  // `title`: the command, one line.
  explicit DebugServer(std::string title) : title_(std::move(title)) {}
  ~DebugServer();
  DebugServer(const DebugServer&) = delete;
  DebugServer& operator=(const DebugServer&) = delete;

  // Without it the sandbox runs all the same.
  absl::Status Listen(const std::string& directory, const std::string& id);

  static constexpr size_t kPolls = 2;
  void AddPolls(std::vector<pollfd>* polls) const;
  // True: the sentry is to be asked for a report, whose lines go to AddLine and End.
  bool Polled(const std::vector<pollfd>& polls, size_t first);
  void AddLine(std::string_view line);
  void End();

 private:
  void Accept();
  bool ReadRequest();
  void Flush();
  void Drop();

  const std::string title_;
  std::string path_;
  UniqueFd listener_, client_;
  std::string answer_;
  bool asked_ = false;      // the client has said what it wants
  bool complete_ = false;   // the answer is
  bool reporting_ = false;  // the sentry has not said End yet
};

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_SANDBOX_DEBUG_SERVER_H_
