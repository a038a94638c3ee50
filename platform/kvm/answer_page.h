// Answers: the calls that the guest of one context answers itself, and where a running guest finds
// them.
//
// Each vCPU has one page that its guests can read and not write (AnswerPage), at the same address
// in all address spaces. It shows the answers of the context that has the vCPU, and nothing while
// nobody has it: no task ever sees another one's. The trampoline looks a call's number up in it.
//
// An entry is one aligned word, so a guest sees an answer as it was or as it is.
//
// Threads: any. mu_ is a leaf.
#ifndef RINGFENCE_PLATFORM_KVM_ANSWER_PAGE_H_
#define RINGFENCE_PLATFORM_KVM_ANSWER_PAGE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "platform/kvm/call_page_layout.h"

namespace ringfence::kvm {

struct AnswerPage {
  static constexpr uint64_t kKnown = uint64_t{1} << ANSWER_KNOWN_BIT;
  static constexpr uint64_t kLook = uint64_t{1} << ANSWER_LOOK_BIT;
  // By number: 0 = ask the sentry, kKnown with the answer below, or kLook with the number of looks
  // that a FUTEX_WAIT may take below. The last stands for all numbers that are greater, and is 0.
  std::atomic<uint64_t> entries[ANSWER_LAST + 1];
};
static_assert(sizeof(AnswerPage) == 4096);

class Answers {
 public:
  static constexpr size_t kMax = 16;  // calls; more are not answered

  // As platform::Context::SetAnswer and EnableAnswers.
  void Set(uint64_t number, std::optional<uint32_t> value);
  void Enable(bool on);

  // How often a FUTEX_WAIT looks before it asks; 0: futex(2) always asks.
  void SetLooks(uint32_t looks);

  // The context has got a vCPU, whose page shows nothing; it is about to lose it.
  void Attach(AnswerPage* page);
  void Detach();

 private:
  struct Answer {
    uint64_t number;
    uint64_t entry;
  };
  void SetEntry(uint64_t number, uint64_t entry);
  void ShowAll(bool on) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  std::array<Answer, kMax> answers_ ABSL_GUARDED_BY(mu_);
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
  bool on_ ABSL_GUARDED_BY(mu_) = true;
  AnswerPage* page_ ABSL_GUARDED_BY(mu_) = nullptr;  // null: on no vCPU
};

}  // namespace ringfence::kvm

#endif  // RINGFENCE_PLATFORM_KVM_ANSWER_PAGE_H_
