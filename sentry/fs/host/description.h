// HostDescription: the host descriptor behind one or more HostFiles; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_HOST_DESCRIPTION_H_
#define RINGFENCE_SENTRY_FS_HOST_DESCRIPTION_H_

#include <atomic>

#include "sentry/fs/host/host_file.h"

namespace ringfence::sentry {

class HostDescription : public Notifier::Listener {
 public:
  enum class Kind { kRegular, kTerminal, kStream };  // kStream: pipe, socket, character device

  HostDescription(UniqueFd fd, HostFileOptions options, uint32_t mode, bool is_terminal);
  ~HostDescription() override;

  int fd() const { return fd_.get(); }
  const UniqueFd& unique_fd() const { return fd_; }
  Kind kind() const { return kind_; }
  uint32_t file_type() const { return file_type_; }
  const std::string& name() const { return options_.name; }
  JobControl* job_control() const { return options_.job_control.get(); }
  const std::shared_ptr<ChunkCache>& chunks() const { return options_.chunks; }

  // EAGAIN: would block, and the queue will be told when not. `offset` -1 is the file's own.
  Result<size_t> Read(const CallContext& ctx, UserIo& io, int64_t offset);
  Result<size_t> Write(const CallContext& ctx, UserIo& io, int64_t offset);
  // What is ready now; what is not is watched.
  EventMask Poll();
  WaitQueue& wait_queue() { return wait_queue_; }

  void OnHostEvents(EventMask events) override;

 private:
  enum class Direction { kRead, kWrite };
  Result<size_t> Transfer(const CallContext& ctx, UserIo& io, int64_t offset, Direction direction);
  Result<size_t> TransferPolled(const CallContext& ctx, UserIo& io, int64_t offset,
                                Direction direction);
  Result<size_t> Once(UserIo& io, size_t n, int64_t offset, Direction direction, int flags);
  EventMask ReadyNow() const;
  void Watch(EventMask events);

  const UniqueFd fd_;
  const HostFileOptions options_;
  const uint32_t file_type_;
  const Kind kind_;
  std::atomic<bool> nowait_{true};  // until the host says it does not know RWF_NOWAIT here
  uint64_t watch_id_ = 0;
  absl::Mutex mutex_;
  EventMask watched_ ABSL_GUARDED_BY(mutex_) = 0;
  WaitQueue wait_queue_;
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_HOST_DESCRIPTION_H_
