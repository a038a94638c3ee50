#include "platform/kvm/answer_page.h"

#include <algorithm>

namespace ringfence::kvm {

void Answers::ShowAll(bool on) {
  if (page_ == nullptr) return;
  for (size_t i = 0; i < count_; ++i) {
    page_->entries[answers_[i].number].store(on ? answers_[i].entry : 0, std::memory_order_release);
  }
}

void Answers::Set(uint64_t number, std::optional<uint32_t> value) {
  if (number >= ANSWER_LAST) return;
  SetEntry(number, value.has_value() ? AnswerPage::kKnown | *value : 0);
}

void Answers::SetLooks(uint32_t looks) {
  SetEntry(ANSWER_FUTEX, looks == 0 ? 0 : AnswerPage::kLook | looks);
}

void Answers::SetEntry(uint64_t number, uint64_t entry) {
  absl::MutexLock lock(&mu_);
  const auto end = answers_.begin() + count_;
  const auto known =
      std::find_if(answers_.begin(), end, [&](const Answer& a) { return a.number == number; });
  if (known != end) {
    known->entry = entry;
  } else {
    if (count_ == kMax) return;
    answers_[count_++] = {number, entry};
  }
  if (page_ != nullptr && on_) page_->entries[number].store(entry, std::memory_order_release);
}

void Answers::Enable(bool on) {
  absl::MutexLock lock(&mu_);
  if (on_ == on) return;
  on_ = on;
  ShowAll(on);
}

void Answers::Attach(AnswerPage* page) {
  absl::MutexLock lock(&mu_);
  page_ = page;
  if (on_) ShowAll(true);
}

void Answers::Detach() {
  absl::MutexLock lock(&mu_);
  ShowAll(false);
  page_ = nullptr;
}

}  // namespace ringfence::kvm
