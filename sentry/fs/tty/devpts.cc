#include "sentry/fs/tty/devpts.h"

#include <sys/sysmacros.h>

#include "sentry/fs/tty/tty_file.h"
#include "sentry/fs/tty/tty_inode.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kMajor = 136;  // UNIX98_PTY_SLAVE_MAJOR

}  // namespace

std::shared_ptr<Devpts> Devpts::Create(Options options) {
  std::shared_ptr<Devpts> fs(new Devpts(std::move(options)));
  fs->root_ = MakeDevptsRoot(fs.get());
  return fs;
}

uint64_t Devpts::DeviceOf(uint32_t index) { return makedev(kMajor, index); }

uint32_t Devpts::count() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<uint32_t>(terminals_.size());
}

std::vector<uint32_t> Devpts::Indexes() const {
  absl::MutexLock lock(&mutex_);
  std::vector<uint32_t> indexes;
  for (const auto& [index, inode] : terminals_) indexes.push_back(index);
  return indexes;
}

std::shared_ptr<TtyInode> Devpts::Find(uint32_t index) const {
  absl::MutexLock lock(&mutex_);
  const auto found = terminals_.find(index);
  return found == terminals_.end() ? nullptr : found->second;
}

std::optional<uint32_t> Devpts::FreeIndexLocked() const {
  if (terminals_.size() >= kMaxTerminals) return std::nullopt;
  uint32_t index = 0;
  for (const auto& [taken, inode] : terminals_) {
    if (taken != index) break;
    ++index;
  }
  return index;
}

Result<TerminalRef> Devpts::NewTerminal(const Credentials& owner, const Termios& settings,
                                        const WindowSize& size) {
  uint32_t index;
  {
    absl::MutexLock lock(&mutex_);
    const std::optional<uint32_t> free = FreeIndexLocked();
    if (!free) return Errno::kNOSPC;
    index = *free;
    terminals_[index] = nullptr;  // taken; Find says that there is none yet
  }
  Terminal::Options options;
  options.index = index;
  if (options_.new_job_control) options.job_control = options_.new_job_control(DeviceOf(index));
  options.timers = options_.timers;
  options.termios = settings;
  options.size = size;
  auto terminal = std::make_shared<Terminal>(std::move(options));
  auto inode = std::make_shared<TtyInode>(this, terminal, owner);
  absl::MutexLock lock(&mutex_);
  terminals_[index] = std::move(inode);
  return terminal;
}

void Devpts::Forget(uint32_t index) {
  std::shared_ptr<TtyInode> dropped;
  absl::MutexLock lock(&mutex_);
  const auto found = terminals_.find(index);
  if (found == terminals_.end()) return;
  dropped = std::move(found->second);
  terminals_.erase(found);
}

Result<FileRef> Devpts::OpenPtmx(const CallContext& ctx, uint32_t flags) {
  const TerminalRef terminal = TRY(NewTerminal(*ctx.creds, DefaultTermios(), WindowSize{}));
  const std::shared_ptr<Devpts> self = shared_from_this();
  return FileRef(std::make_shared<PtmxFile>(
      terminal, flags, [self, index = terminal->index()] { self->Forget(index); }));
}

Result<FileRef> Devpts::OpenControlling(const CallContext& ctx, const JobControl* job_control,
                                        uint32_t flags) {
  TerminalRef terminal;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [index, inode] : terminals_) {
      if (inode == nullptr || inode->terminal()->job_control() != job_control) continue;
      terminal = inode->terminal();
      break;
    }
  }
  if (terminal == nullptr) return FileRef();
  return TtyFile::Open(ctx, std::move(terminal), flags | File::kNoControllingTerminal);
}

}  // namespace ringfence::sentry
