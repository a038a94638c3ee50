#include "runtime/sandbox/debug_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "runtime/sandbox/debug_socket.h"
#include "runtime/sandbox/places.h"

namespace ringfence::runtime {
namespace {

constexpr size_t kMaxAnswer = 4 << 20;

bool MayAsk(int client) {
  ucred peer;
  socklen_t size = sizeof(peer);
  if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

}  // namespace

DebugServer::~DebugServer() {
  if (!path_.empty()) unlink(path_.c_str());
}

absl::Status DebugServer::Listen(const std::string& directory, const std::string& id) {
  absl::Status made = MakeRunDirectory(directory);
  if (!made.ok()) return made;
  const std::string path = absl::StrCat(directory, "/", id, ".sock");
  absl::StatusOr<UniqueFd> listener = ListenAt(path);
  if (!listener.ok()) return listener.status();
  path_ = path;
  listener_ = *std::move(listener);
  return absl::OkStatus();
}

void DebugServer::AddPolls(std::vector<pollfd>* polls) const {
  const bool writes = asked_ && !answer_.empty();
  const bool waits_for_sentry = asked_ && answer_.empty();
  polls->push_back(
      {.fd = listener_.valid() ? listener_.get() : -1, .events = POLLIN, .revents = 0});
  polls->push_back({.fd = client_.valid() && !waits_for_sentry ? client_.get() : -1,
                    .events = static_cast<short>(writes ? POLLOUT : POLLIN),
                    .revents = 0});
}

bool DebugServer::Polled(const std::vector<pollfd>& polls, size_t first) {
  bool wanted = false;
  if (polls[first + 1].revents != 0 && client_.valid()) {
    if (asked_) {
      Flush();
    } else {
      wanted = ReadRequest();
    }
  }
  if (polls[first].revents != 0) Accept();
  return wanted;
}

void DebugServer::Accept() {
  UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // While the sentry still answers the last one nobody could tell whose lines come.
  if (!client.valid() || !MayAsk(client.get()) || reporting_) return;
  Drop();
  client_ = std::move(client);
}

bool DebugServer::ReadRequest() {
  char request;
  const ssize_t got = recv(client_.get(), &request, 1, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got != 1 || (request != 'l' && request != 't')) {
    Drop();
    return false;
  }
  asked_ = true;
  if (request == 'l') {
    answer_ = title_ + "\n";
    complete_ = true;
    Flush();
    return false;
  }
  reporting_ = true;
  return true;
}

void DebugServer::AddLine(std::string_view line) {
  if (!reporting_ || !client_.valid() || answer_.size() + line.size() > kMaxAnswer) return;
  answer_.append(line);
  answer_ += '\n';
}

void DebugServer::End() {
  reporting_ = false;
  complete_ = true;
  if (client_.valid()) Flush();
}

void DebugServer::Flush() {
  while (!answer_.empty()) {
    const ssize_t sent = send(client_.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) Drop();
      return;
    }
    answer_.erase(0, static_cast<size_t>(sent));
  }
  if (complete_) Drop();
}

void DebugServer::Drop() {
  client_.Reset();
  answer_.clear();
  asked_ = complete_ = false;
}

}  // namespace ringfence::runtime
