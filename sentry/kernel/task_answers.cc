// What a task's guest answers itself, without the sentry (platform::Context::SetAnswer): who it is.
// Each change of that is told here before the call that makes it returns.
#include "sentry/kernel/arch_call.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"

namespace ringfence::sentry {

void Task::AnswerPlaceLocked() {
  if (context_ == nullptr) return;
  const ThreadGroup& group = *group_;
  const auto answer = [this](uint64_t number, int32_t id) {
    context_->SetAnswer(number, static_cast<uint32_t>(id));
  };
  answer(kIdentityCalls.getpid, group.tgid_);
  answer(kIdentityCalls.gettid, tid());
  answer(kIdentityCalls.getppid, group.parent_ == nullptr ? 0 : group.parent_->tgid_);
  answer(kIdentityCalls.getpgrp, group.process_group_->id());
}

void Task::AnswerCredentials(const Credentials& creds) {
  if (context_ == nullptr) return;
  context_->SetAnswer(kIdentityCalls.getuid, creds.ruid);
  context_->SetAnswer(kIdentityCalls.geteuid, creds.euid);
  context_->SetAnswer(kIdentityCalls.getgid, creds.rgid);
  context_->SetAnswer(kIdentityCalls.getegid, creds.egid);
}

void Task::SetTraced(bool traced) {
  traced_.store(traced, std::memory_order_relaxed);
  if (context_ != nullptr) context_->EnableAnswers(!traced);
}

void ThreadGroup::AnswerPlaceLocked() {
  for (Task* task : tasks_) task->AnswerPlaceLocked();
}

}  // namespace ringfence::sentry
