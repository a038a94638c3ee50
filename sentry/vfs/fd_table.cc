#include "sentry/vfs/fd_table.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>

namespace ringfence::sentry {
namespace {

// Linux's nr_open: no table gets larger, whatever the limit says.
constexpr uint32_t kMaxDescriptors = 1024 * 1024;

uint64_t NextOwnerId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

FdTable::FdTable() : owner_id_(NextOwnerId()) {}

FdTable::~FdTable() { CloseRange(0, kMaxDescriptors, false); }

std::shared_ptr<FdTable> FdTable::Clone() const {
  auto copy = std::make_shared<FdTable>();
  absl::MutexLock lock(&mutex_);
  absl::MutexLock copy_lock(&copy->mutex_);
  copy->entries_ = entries_;
  copy->first_free_ = first_free_;
  return copy;
}

FdTable::Entry* FdTable::FindLocked(Fd fd) {
  const auto index = static_cast<uint32_t>(ToInt(fd));
  if (index >= entries_.size() || entries_[index].file == nullptr) return nullptr;
  return &entries_[index];
}

const FdTable::Entry* FdTable::FindLocked(Fd fd) const {
  const auto index = static_cast<uint32_t>(ToInt(fd));
  if (index >= entries_.size() || entries_[index].file == nullptr) return nullptr;
  return &entries_[index];
}

Result<FileRef> FdTable::Get(Fd fd) const {
  absl::ReaderMutexLock lock(&mutex_);
  const Entry* entry = FindLocked(fd);
  if (entry == nullptr) return Errno::kBADF;
  return entry->file;
}

Result<FileRef> FdTable::GetUsable(Fd fd) const {
  FileRef file = TRY(Get(fd));
  if ((file->flags() & O_PATH) != 0) return Errno::kBADF;
  return file;
}

Result<Fd> FdTable::Install(FileRef file, bool cloexec, uint32_t limit, uint32_t minimum) {
  limit = std::min(limit, kMaxDescriptors);
  if (minimum >= limit) return minimum == 0 ? Errno::kMFILE : Errno::kINVAL;
  absl::MutexLock lock(&mutex_);
  uint32_t index = std::max(minimum, first_free_);
  while (index < entries_.size() && entries_[index].file != nullptr) ++index;
  if (minimum <= first_free_) first_free_ = index;  // all below are in use
  if (index >= limit) return Errno::kMFILE;
  if (index >= entries_.size()) entries_.resize(index + 1);
  entries_[index] = Entry{std::move(file), cloexec};
  if (index == first_free_) ++first_free_;
  return static_cast<Fd>(index);
}

Result<void> FdTable::InstallAt(Fd fd, FileRef file, bool cloexec, uint32_t limit) {
  const auto index = static_cast<uint32_t>(ToInt(fd));
  if (index >= std::min(limit, kMaxDescriptors)) return Errno::kBADF;
  FileRef replaced;
  {
    absl::MutexLock lock(&mutex_);
    if (index >= entries_.size()) entries_.resize(index + 1);
    replaced = std::exchange(entries_[index].file, std::move(file));
    entries_[index].cloexec = cloexec;
    if (index == first_free_) ++first_free_;
  }
  if (replaced != nullptr) replaced->Flush(owner_id_);
  return Ok();
}

FileRef FdTable::TakeLocked(uint32_t index) {
  first_free_ = std::min(first_free_, index);
  entries_[index].cloexec = false;
  return std::exchange(entries_[index].file, nullptr);
}

Result<void> FdTable::Close(Fd fd) {
  FileRef file;
  {
    absl::MutexLock lock(&mutex_);
    if (FindLocked(fd) == nullptr) return Errno::kBADF;
    file = TakeLocked(static_cast<uint32_t>(ToInt(fd)));
  }
  file->Flush(owner_id_);
  return Ok();
}

void FdTable::CloseRange(uint32_t first, uint32_t last, bool only_set_cloexec) {
  std::vector<FileRef> closed;
  {
    absl::MutexLock lock(&mutex_);
    for (uint64_t i = first; i <= last && i < entries_.size(); ++i) {
      if (entries_[i].file == nullptr) continue;
      if (only_set_cloexec) {
        entries_[i].cloexec = true;
      } else {
        closed.push_back(TakeLocked(static_cast<uint32_t>(i)));
      }
    }
  }
  for (const FileRef& file : closed) file->Flush(owner_id_);
}

void FdTable::CloseOnExec() {
  std::vector<FileRef> closed;
  {
    absl::MutexLock lock(&mutex_);
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].file != nullptr && entries_[i].cloexec) closed.push_back(TakeLocked(i));
    }
  }
  for (const FileRef& file : closed) file->Flush(owner_id_);
}

Result<bool> FdTable::GetCloexec(Fd fd) const {
  absl::ReaderMutexLock lock(&mutex_);
  const Entry* entry = FindLocked(fd);
  if (entry == nullptr) return Errno::kBADF;
  return entry->cloexec;
}

Result<void> FdTable::SetCloexec(Fd fd, bool cloexec) {
  absl::MutexLock lock(&mutex_);
  Entry* entry = FindLocked(fd);
  if (entry == nullptr) return Errno::kBADF;
  entry->cloexec = cloexec;
  return Ok();
}

std::vector<Fd> FdTable::List() const {
  std::vector<Fd> open;
  absl::ReaderMutexLock lock(&mutex_);
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].file != nullptr) open.push_back(static_cast<Fd>(i));
  }
  return open;
}

}  // namespace ringfence::sentry
