#include "sentry/fs/host/notifier.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace ringfence::sentry {
namespace {

absl::Status HostError(const char* what) {
  return absl::InternalError(std::string(what) + ": " + std::strerror(errno));
}

}  // namespace

Notifier::Notifier(UniqueFd epoll, UniqueFd stop)
    : epoll_(std::move(epoll)), stop_(std::move(stop)) {}

absl::StatusOr<std::shared_ptr<Notifier>> Notifier::Create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return HostError("epoll_create1");
  UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return HostError("eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, stop.get(), &event) != 0) {
    return HostError("epoll_ctl");
  }
  std::shared_ptr<Notifier> notifier(new Notifier(std::move(epoll), std::move(stop)));
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  notifier->thread_ = std::thread([raw = notifier.get()] { raw->Run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return notifier;
}

Notifier::~Notifier() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void Notifier::Run() {
  pthread_setname_np(pthread_self(), "host-notifier");
  std::array<epoll_event, 32> events;
  for (;;) {
    const int n = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (n < 0 && errno != EINTR) return;
    absl::MutexLock lock(&mutex_);
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == 0) return;
      auto it = listeners_.find(events[i].data.u64);
      if (it != listeners_.end()) it->second->OnHostEvents(events[i].events);
    }
  }
}

uint64_t Notifier::Add(int fd, Listener* listener) {
  absl::MutexLock lock(&mutex_);
  const uint64_t id = next_id_++;
  epoll_event event{};
  event.events = EPOLLONESHOT;  // hang-ups and errors are always reported, once
  event.data.u64 = id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return 0;
  listeners_[id] = listener;
  return id;
}

void Notifier::Remove(uint64_t id, int fd) {
  epoll_event unused{};
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, &unused);
  absl::MutexLock lock(&mutex_);
  listeners_.erase(id);
}

void Notifier::Arm(uint64_t id, int fd, EventMask events) {
  epoll_event event{};
  event.events = events | EPOLLONESHOT;
  event.data.u64 = id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

}  // namespace ringfence::sentry
