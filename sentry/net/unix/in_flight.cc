#include "sentry/net/unix/in_flight.h"

#include <algorithm>

#include "sentry/net/socket_file.h"
#include "sentry/net/unix/unix_socket.h"

namespace ringfence::sentry {
namespace {

UnixSocket* UnixSocketOf(const FileRef& file) {
  SocketFile* const socket = file->AsSocket();
  return socket == nullptr ? nullptr : socket->socket().AsUnix();
}

}  // namespace

// A chain of sockets, each in flight to the next, would otherwise end in as many nested calls.
void DropFiles(std::vector<FileRef> files) {
  static thread_local std::vector<FileRef>* pending = nullptr;
  if (pending != nullptr) {
    std::move(files.begin(), files.end(), std::back_inserter(*pending));
    return;
  }
  pending = &files;
  while (!files.empty()) {
    FileRef last = std::move(files.back());
    files.pop_back();
    last.reset();
  }
  pending = nullptr;
}

FlyingFiles::~FlyingFiles() {
  if (!files_.empty()) DropFiles(Take());
}

std::vector<FileRef> FlyingFiles::Take() {
  if (!files_.empty()) owner_->Remove(files_);
  return std::exchange(files_, {});
}

uint64_t InFlight::files() const {
  absl::MutexLock lock(&mutex_);
  return files_;
}

Result<FlyingFiles> InFlight::Add(const std::vector<FileRef>& files, uint64_t limit) {
  if (files.empty()) return FlyingFiles();
  std::vector<FlyingFiles> garbage;  // dropped without the lock
  absl::MutexLock lock(&mutex_);
  if (files_ >= std::min(limit, kMaxFiles)) return Errno::kTOOMANYREFS;
  files_ += files.size();
  for (const FileRef& file : files) {
    if (UnixSocketOf(file) == nullptr) continue;
    Flight& flight = sockets_[file.get()];
    flight.file = file;
    ++flight.messages;
  }
  if (sockets_.size() >= next_collect_) garbage = CollectLocked(nullptr);
  return FlyingFiles(this, files);
}

void InFlight::Remove(const std::vector<FileRef>& files) {
  absl::MutexLock lock(&mutex_);
  files_ -= files.size();
  for (const FileRef& file : files) {
    const auto found = sockets_.find(file.get());
    if (found != sockets_.end() && --found->second.messages == 0) sockets_.erase(found);
  }
}

void InFlight::Closed(const File* closing) {
  std::vector<FlyingFiles> garbage;
  absl::MutexLock lock(&mutex_);
  if (sockets_.empty()) return;
  if (sockets_.size() >= kAlwaysCollect && sockets_.size() < next_collect_) return;
  garbage = CollectLocked(closing);
}

// Sockets that only messages refer to, and which of them has messages with which.
class InFlight::Graph {
 public:
  Graph(const Flights& sockets, const File* closing) {
    for (const auto& [file, flight] : sockets) {
      const auto references = static_cast<uint64_t>(flight.file.use_count());
      if (references != flight.messages + (file == closing ? 1 : 0)) continue;
      index_.emplace(file, nodes_.size());
      nodes_.push_back({file->AsSocket()->socket().AsUnix(), flight.messages, {}, false});
    }
    for (Node& node : nodes_) Scan(&node);
  }

  // What nobody can reach: a count that messages of the graph do not explain is somebody's.
  std::vector<UnixSocket*> Unreachable() {
    std::vector<size_t> open;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].outside == 0) continue;
      nodes_[i].reached = true;
      open.push_back(i);
    }
    while (!open.empty()) {
      const size_t from = open.back();
      open.pop_back();
      for (const size_t to : nodes_[from].carries) {
        if (nodes_[to].reached) continue;
        nodes_[to].reached = true;
        open.push_back(to);
      }
    }
    std::vector<UnixSocket*> result;
    for (const Node& node : nodes_) {
      if (!node.reached) result.push_back(node.socket);
    }
    return result;
  }

 private:
  struct Node {
    UnixSocket* socket;
    uint64_t outside;  // references from messages outside of the graph
    std::vector<size_t> carries;
    bool reached;
  };

  void Scan(Node* node) {
    node->socket->VisitFiles([&](const FileRef& file) {
      const auto found = index_.find(file.get());
      if (found == index_.end()) return;
      node->carries.push_back(found->second);
      --nodes_[found->second].outside;
    });
  }

  std::vector<Node> nodes_;
  std::unordered_map<const File*, size_t> index_;
};

std::vector<FlyingFiles> InFlight::CollectLocked(const File* closing) {
  std::vector<FlyingFiles> garbage;
  for (UnixSocket* socket : Graph(sockets_, closing).Unreachable()) {
    socket->TakeFiles(&garbage);
  }
  next_collect_ = std::max(kAlwaysCollect, sockets_.size() * 2);
  return garbage;
}

}  // namespace ringfence::sentry
