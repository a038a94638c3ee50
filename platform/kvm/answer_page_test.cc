// What a page of answers shows of the contexts that have its vCPU, one after the other.
#include "platform/kvm/answer_page.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>

namespace ringfence::kvm {
namespace {

size_t Shown(const AnswerPage& page) {
  return static_cast<size_t>(std::count_if(std::begin(page.entries), std::end(page.entries),
                                           [](const auto& entry) { return entry != 0; }));
}

TEST_CASE("a page shows the answers of the context that has the vCPU, and nothing without one") {
  auto page = std::make_unique<AnswerPage>();
  Answers first, second;
  first.Set(39, 7);
  first.Set(102, 0);
  second.Set(39, 8);
  second.Set(186, 0xffffffff);
  CHECK(Shown(*page) == 0);
  first.Attach(page.get());
  CHECK(page->entries[39] == (AnswerPage::kKnown | 7));
  CHECK(page->entries[102] == AnswerPage::kKnown);
  CHECK(Shown(*page) == 2);
  second.Set(39, 9);  // has no page
  CHECK(page->entries[39] == (AnswerPage::kKnown | 7));
  first.Detach();
  CHECK(Shown(*page) == 0);
  second.Attach(page.get());
  first.Set(102, 1);
  CHECK(page->entries[39] == (AnswerPage::kKnown | 9));
  CHECK(page->entries[186] == (AnswerPage::kKnown | 0xffffffff));
  CHECK(Shown(*page) == 2);
}

TEST_CASE("answers change, go and are switched off at once") {
  auto page = std::make_unique<AnswerPage>();
  Answers answers;
  answers.Attach(page.get());
  answers.Set(39, 7);
  answers.Set(39, 8);
  CHECK(page->entries[39] == (AnswerPage::kKnown | 8));
  answers.Set(39, std::nullopt);
  CHECK(Shown(*page) == 0);
  answers.Set(39, 9);
  answers.Enable(false);
  answers.Set(110, 1);
  CHECK(Shown(*page) == 0);
  answers.Detach();
  answers.Attach(page.get());
  CHECK(Shown(*page) == 0);
  answers.Enable(true);
  CHECK(page->entries[39] == (AnswerPage::kKnown | 9));
  CHECK(page->entries[110] == (AnswerPage::kKnown | 1));
}

TEST_CASE("numbers that the page has no room for, and too many, are not answered") {
  auto page = std::make_unique<AnswerPage>();
  Answers answers;
  answers.Attach(page.get());
  for (const uint64_t number : {uint64_t{ANSWER_LAST}, uint64_t{ANSWER_LAST} + 1, ~uint64_t{0}}) {
    answers.Set(number, 1);
  }
  CHECK(Shown(*page) == 0);
  for (uint64_t number = 0; number < 2 * Answers::kMax; ++number) answers.Set(number, 1);
  CHECK(Shown(*page) == Answers::kMax);
}

}  // namespace
}  // namespace ringfence::kvm
