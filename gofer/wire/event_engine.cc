#include "gofer/wire/event_engine.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ringfence::gofer {
namespace {

using grpc_event_engine::experimental::EndpointConfig;
using grpc_event_engine::experimental::EventEngine;
using grpc_event_engine::experimental::MemoryAllocator;
using grpc_event_engine::experimental::MemoryAllocatorFactory;

// Tasks by the time they are due, run one after the other by the thread that is in Main.
class Agenda {
 public:
  using Task = absl::AnyInvocable<void()>;

  int64_t Add(absl::Time due, Task task) {
    absl::MutexLock lock(&mutex_);
    const int64_t id = next_id_++;
    tasks_.emplace(Key{due, id}, std::move(task));
    due_.emplace(id, due);
    return id;
  }

  // False when it runs or has run.
  bool Remove(int64_t id) {
    Task removed;  // destroyed without the lock: it may own what calls back
    absl::MutexLock lock(&mutex_);
    const auto due = due_.find(id);
    if (due == due_.end()) return false;
    const auto task = tasks_.find(Key{due->second, id});
    removed = std::move(task->second);
    tasks_.erase(task);
    due_.erase(due);
    return true;
  }

  // Runs what is due until Stop.
  void Main() {
    Task task;
    while (Take(&task)) {
      task();
      task = nullptr;
    }
  }

  void Stop() {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }

 private:
  using Key = std::pair<absl::Time, int64_t>;

  // Waits until one is due; false: stopped.
  bool Take(Task* task) {
    absl::MutexLock lock(&mutex_);
    while (!stop_) {
      awaited_ = tasks_.empty() ? absl::InfiniteFuture() : tasks_.begin()->first.first;
      if (awaited_ <= absl::Now()) {
        const auto first = tasks_.begin();
        *task = std::move(first->second);
        due_.erase(first->first.second);
        tasks_.erase(first);
        return true;
      }
      mutex_.AwaitWithDeadline(absl::Condition(this, &Agenda::HasNews), awaited_);
    }
    return false;
  }

  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || (!tasks_.empty() && tasks_.begin()->first.first < awaited_);
  }

  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time awaited_ ABSL_GUARDED_BY(mutex_);  // when the task is due for which Take waits
  std::map<Key, Task> tasks_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, absl::Time> due_ ABSL_GUARDED_BY(mutex_);
};

class LocalEventEngine final : public EventEngine {
 public:
  absl::StatusOr<std::unique_ptr<Listener>> CreateListener(
      Listener::AcceptCallback, absl::AnyInvocable<void(absl::Status)>, const EndpointConfig&,
      std::unique_ptr<MemoryAllocatorFactory>) override {
    return NoNetwork();
  }
  ConnectionHandle Connect(OnConnectCallback on_connect, const ResolvedAddress&,
                           const EndpointConfig&, MemoryAllocator, Duration) override {
    Run([on_connect = std::move(on_connect)]() mutable { on_connect(NoNetwork()); });
    return {{-1, -1}};
  }
  bool CancelConnect(ConnectionHandle) override { return false; }
  std::unique_ptr<DNSResolver> GetDNSResolver(const DNSResolver::ResolverOptions&) override {
    return nullptr;
  }

  ~LocalEventEngine() override {
    agenda_->Stop();
    absl::MutexLock lock(&mutex_);
    if (!thread_.joinable()) return;
    // A task may have held the last reference.
    if (thread_.get_id() == std::this_thread::get_id()) {
      thread_.detach();
    } else {
      thread_.join();
    }
  }

  bool IsWorkerThread() override {
    absl::MutexLock lock(&mutex_);
    return thread_.get_id() == std::this_thread::get_id();
  }
  void Run(Closure* closure) override {
    Run([closure] { closure->Run(); });
  }
  void Run(absl::AnyInvocable<void()> closure) override {
    Add(absl::InfinitePast(), std::move(closure));
  }
  TaskHandle RunAfter(Duration when, Closure* closure) override {
    return RunAfter(when, [closure] { closure->Run(); });
  }
  TaskHandle RunAfter(Duration when, absl::AnyInvocable<void()> closure) override {
    return {{Add(absl::Now() + absl::FromChrono(when), std::move(closure)), 0}};
  }
  bool Cancel(TaskHandle handle) override { return agenda_->Remove(handle.keys[0]); }

 private:
  static absl::Status NoNetwork() {
    return absl::UnimplementedError("a sandbox's processes have no network");
  }

  int64_t Add(absl::Time due, Agenda::Task task) {
    absl::MutexLock lock(&mutex_);
    if (!thread_.joinable()) thread_ = std::thread([agenda = agenda_] { agenda->Main(); });
    return agenda_->Add(due, std::move(task));
  }

  const std::shared_ptr<Agenda> agenda_ = std::make_shared<Agenda>();
  absl::Mutex mutex_;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<EventEngine> NewEventEngine() { return std::make_unique<LocalEventEngine>(); }

}  // namespace ringfence::gofer
