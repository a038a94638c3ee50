#include "sentry/syscalls/table.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

using enum ArgKind;
constexpr Support kFull = Support::kFull;
constexpr Support kPartial = Support::kPartial;

constexpr ServingThread kAny = ServingThread::kAny;
constexpr ServingThread kOwn = ServingThread::kOwn;

constexpr SyscallRow kRows[] = {
#define ROW(number, name, handler, support, thread, note, ...) \
  {number, #name, handler, support, thread, Errno{}, note, {__VA_ARGS__}},
#define ABSENT(number, name, error, note, ...) \
  {number, #name, nullptr, Support::kNone, kOwn, Errno::error, note, {__VA_ARGS__}},
#include "sentry/syscalls/table.inc"
#undef ROW
#undef ABSENT
};
constexpr int kRowCount = sizeof(kRows) / sizeof(kRows[0]);

using Index = std::array<int16_t, kMaxSyscall + 1>;

constexpr Index MakeIndex() {
  Index index;
  index.fill(-1);
  for (int i = 0; i < kRowCount; ++i) index[kRows[i].number] = static_cast<int16_t>(i);
  return index;
}

constexpr Index kIndex = MakeIndex();

constexpr bool Ascending() {
  for (int i = 1; i < kRowCount; ++i) {
    if (kRows[i - 1].number >= kRows[i].number) return false;
  }
  return true;
}
static_assert(Ascending(), "rows of the table must be sorted by number");

const char* SupportName(Support support) {
  switch (support) {
    case Support::kFull:
      return "full";
    case Support::kPartial:
      return "partial";
    case Support::kNone:
      return "none";
  }
  return "";
}

}  // namespace

int SyscallRow::arg_count() const {
  int n = 0;
  while (n < 6 && args[n] != ArgKind::kNone) ++n;
  return n;
}

bool SyscallRow::returns_address() const {
  const std::string_view n = name;
  return n == "mmap" || n == "mremap" || n == "brk" || n == "shmat";
}

absl::Span<const SyscallRow> SyscallRows() { return kRows; }

// Linux takes the low half of the register.
int FindSyscall(uint64_t number) {
  const auto low = static_cast<uint32_t>(number);
  return low <= kMaxSyscall ? kIndex[low] : -1;
}

std::string CompatibilityPage() {
  int count[3] = {0, 0, 0};
  for (const SyscallRow& row : kRows) ++count[static_cast<int>(row.support)];
  std::string out = absl::StrCat(
      "# System calls of x86-64\n\n"
      "Generated from sentry/syscalls/arch/x86_64/table_x86_64.inc by `make docs`.\n\n",
      count[0], " full, ", count[1], " partial, ", count[2],
      " not implemented. A call that is not implemented answers with the errno named in its row, "
      "is counted and logged once. \"Service thread\": may be answered without a VM exit.\n\n"
      "| number | name | support | service thread | note |\n| ---: | --- | --- | --- | --- |\n");
  for (const SyscallRow& row : kRows) {
    std::string note = row.note;
    if (row.handler == nullptr) {
      note = absl::StrCat(std::string(ErrnoName(row.absent)), note.empty() ? "" : ": ", note);
    }
    absl::StrAppend(&out, "| ", row.number, " | ", row.name, " | ", SupportName(row.support), " | ",
                    row.thread == ServingThread::kAny ? "yes" : "", " | ", note, " |\n");
  }
  return out;
}

}  // namespace ringfence::sentry
