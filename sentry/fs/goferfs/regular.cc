// Regular files: their descriptors and mappings. What is opened of them is file.cc.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "sentry/fs/goferfs/file.h"
#include "sentry/fs/goferfs/inode.h"

namespace ringfence::sentry {
namespace {

// Of new files that nobody has opened yet: as many threads may create files at once.
constexpr size_t kMaxSpare = 8;

// A descriptor that reads, of a handle that can.
GoferRegular::Descriptor ReadableOf(const WriteHandleRef& handle) {
  if (handle == nullptr || !handle->readable()) return nullptr;
  return GoferRegular::Descriptor(handle, &handle->fd());
}

}  // namespace

WriteHandle::~WriteHandle() {
  if (const std::shared_ptr<GoferRegular> inode = inode_.lock()) inode->LastWriterGone(fd_.get());
}

GoferRegular::~GoferRegular() {
  Descriptor dropped;  // closed after the lock
  std::vector<WriteHandleRef> spare;
  absl::MutexLock lock(&state_->mutex);
  for (auto it = state_->spare.begin(); it != state_->spare.end();) {
    if (it->first != this) {
      ++it;
      continue;
    }
    spare.push_back(std::move(it->second));
    it = state_->spare.erase(it);
  }
  if (descriptor_ == nullptr) return;
  state_->with_descriptor.erase(position_);
  dropped = std::move(descriptor_);
}

Result<FileRef> GoferRegular::Open(const CallContext& ctx, uint32_t flags) {
  const uint32_t access = flags & O_ACCMODE;
  GoferFileDescriptors descriptors;
  if (access != O_RDONLY) descriptors.write = TRY(AcquireWrite(ctx));
  if (access != O_WRONLY) {
    descriptors.read = ReadableOf(descriptors.write);
    // A new file's own, which may be read although its mode says no.
    if (descriptors.read == nullptr) descriptors.read = ReadableOf(TakeSpare());
    // Now, so that what the host refuses is refused by open(2).
    if (descriptors.read == nullptr) descriptors.read = TRY(Acquire(ctx));
  }
  // Where files are not removed by us a descriptor can always be had again.
  if (!state_->changes()) descriptors = {};
  return NewGoferFile(std::static_pointer_cast<GoferRegular>(shared_from_this()),
                      std::move(descriptors), flags);
}

Result<GoferRegular::Descriptor> GoferRegular::Acquire(const CallContext& ctx) {
  {
    absl::MutexLock lock(&state_->mutex);
    if (descriptor_ != nullptr) {
      auto& list = state_->with_descriptor;
      list.splice(list.begin(), list, position_);
      return descriptor_;
    }
  }
  TRY(ctx.RequireBlocking());
  gofer::OpenedFile opened = TRY(OpenOnHost(ctx, O_RDONLY));
  Descriptor descriptor = std::make_shared<const UniqueFd>(std::move(opened.fd));
  Keep(descriptor);
  return descriptor;
}

// One call also where there is no node yet: the way from the directory's is short.
Result<gofer::OpenedFile> GoferRegular::OpenOnHost(const CallContext& ctx, uint32_t flags) {
  const NodeHandleRef node = KnownNode();
  if (node != nullptr) return state_->client().Open(node->id(), {}, flags);
  const std::optional<Place> where = place();
  if (!where) return Errno::kSTALE;
  const NodeHandleRef directory = TRY(where->directory->EnsureNode(ctx));
  const std::string_view name = where->name;
  gofer::OpenedFile opened = TRY(
      state_->client().Open(directory->id(), std::span<const std::string_view>(&name, 1), flags));
  if (!IsSame(opened.attr)) return Errno::kSTALE;
  return opened;
}

void GoferRegular::Keep(Descriptor descriptor) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  std::vector<Descriptor> dropped;  // closed after the lock
  absl::MutexLock lock(&state_->mutex);
  if (descriptor_ != nullptr) return;
  auto& list = state_->with_descriptor;
  while (list.size() >= state_->options.max_idle_descriptors && !list.empty()) {
    GoferRegular* oldest = list.back();
    list.pop_back();
    dropped.push_back(std::move(oldest->descriptor_));
  }
  descriptor_ = std::move(descriptor);
  position_ = list.insert(list.begin(), this);
}

Result<WriteHandleRef> GoferRegular::AcquireWrite(const CallContext& ctx) {
  if (!state_->writable()) return Errno::kROFS;
  if (WriteHandleRef spare = TakeSpare()) return spare;
  {
    absl::MutexLock lock(&mutex_);
    if (WriteHandleRef known = writer_.lock()) return known;
  }
  TRY(ctx.RequireBlocking());
  state_->MarkDirty(KnownAttributes());
  bool readable = true;
  Result<gofer::OpenedFile> opened = OpenOnHost(ctx, O_RDWR);
  if (!opened.ok() && opened.error() == Errno::kACCES) {
    // The caller may, but the gofer may not read it.
    readable = false;
    opened = OpenOnHost(ctx, O_WRONLY);
  }
  if (!opened.ok()) return opened.error();
  auto self = std::static_pointer_cast<GoferRegular>(shared_from_this());
  auto handle = std::make_shared<const WriteHandle>(std::move(opened->fd), readable, self);
  absl::MutexLock lock(&mutex_);
  writer_ = handle;
  return WriteHandleRef(std::move(handle));
}

void GoferRegular::SetSpare(UniqueFd fd) {
  auto self = std::static_pointer_cast<GoferRegular>(shared_from_this());
  auto handle = std::make_shared<const WriteHandle>(std::move(fd), true, self);
  {
    absl::MutexLock lock(&mutex_);
    writer_ = handle;
  }
  WriteHandleRef dropped;  // after the lock
  absl::MutexLock lock(&state_->mutex);
  state_->spare.emplace_front(this, std::move(handle));
  if (state_->spare.size() <= kMaxSpare) return;
  dropped = std::move(state_->spare.back().second);
  state_->spare.pop_back();
}

WriteHandleRef GoferRegular::TakeSpare() {
  absl::MutexLock lock(&state_->mutex);
  for (auto it = state_->spare.begin(); it != state_->spare.end(); ++it) {
    if (it->first != this) continue;
    WriteHandleRef handle = std::move(it->second);
    state_->spare.erase(it);
    return handle;
  }
  return nullptr;
}

void GoferRegular::LastWriterGone(int fd) {
  state_->MarkDirty(KnownAttributes());
  const GoferState::Ticket ticket = state_->BeginChange();
  LearnFrom(fd);
  state_->EndChange(ticket);
}

std::shared_ptr<const UniqueFd> GoferRegular::DescriptorForAttributes() {
  if (!state_->changes()) return nullptr;
  WriteHandleRef writer;
  {
    absl::MutexLock lock(&mutex_);
    writer = writer_.lock();
  }
  if (writer != nullptr) return Descriptor(writer, &writer->fd());
  if (!state_->shared()) return nullptr;
  absl::MutexLock lock(&state_->mutex);
  return descriptor_;
}

Result<void> GoferRegular::SetAttr(const CallContext& ctx, const SetAttrRequest& request) {
  WriteHandleRef writer;
  {
    absl::MutexLock lock(&mutex_);
    writer = writer_.lock();
  }
  if (!request.size || writer == nullptr) return GoferInode::SetAttr(ctx, request);
  // Through a descriptor that is there: no call, and it works for what has no name any more.
  TRY(ctx.RequireBlocking());
  if (*request.size > INT64_MAX) return Errno::kINVAL;
  if (ftruncate(writer->fd().get(), static_cast<off_t>(*request.size)) != 0) {
    return LastHostErrno();
  }
  SetAttrRequest rest = request;
  rest.size.reset();
  rest.mtime_now = false;
  const bool more = rest.mode || rest.uid || rest.gid || rest.atime || rest.mtime || rest.atime_now;
  return more ? GoferInode::SetAttr(ctx, rest) : Ok();
}

Result<MappableRef> GoferRegular::GetMappable(const CallContext& ctx, Descriptor fd,
                                              std::string name) {
  if (state_->options.chunks == nullptr) return Errno::kNODEV;
  if (fd == nullptr) fd = TRY(Acquire(ctx));
  absl::MutexLock lock(&mutex_);
  if (pages_ == nullptr) {
    pages_ = std::make_shared<FdPages>(state_->options.chunks, false, device_, key_.ino);
    if (!writable_pages_.expired()) pages_->KeepLive();
  }
  return pages_->Use(std::move(fd), std::move(name));
}

Result<MappableRef> GoferRegular::GetWritableMappable(const WriteHandleRef& handle,
                                                      std::string name) {
  if (state_->options.chunks == nullptr) return Errno::kNODEV;
  if (!handle->readable()) return Errno::kACCES;
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<FdPages> pages = writable_pages_.lock();
  if (pages == nullptr) {
    pages = std::make_shared<FdPages>(state_->options.chunks, true, device_, key_.ino);
    writable_pages_ = pages;
    if (pages_ != nullptr) pages_->KeepLive();
  }
  return pages->Use(Descriptor(handle, &handle->fd()), std::move(name));
}

}  // namespace ringfence::sentry
