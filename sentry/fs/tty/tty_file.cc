#include "sentry/fs/tty/tty_file.h"

#include <fcntl.h>

#include "absl/strings/str_cat.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSysAdmin = 21;

Result<void> CheckUse(const CallContext& ctx, const Terminal& terminal, JobControl::Use use) {
  if (terminal.job_control() == nullptr) return Ok();
  return terminal.job_control()->CheckUse(ctx, use);
}

}  // namespace

Result<FileRef> TtyFile::Open(const CallContext& ctx, TerminalRef terminal, uint32_t flags) {
  TRY(terminal->OpenProgramSide(ctx.creds->HasCapability(kCapSysAdmin)));
  auto file = std::make_shared<TtyFile>(terminal, flags);
  const bool takes = (flags & O_NOCTTY) == 0 && file->readable();
  if (takes && terminal->job_control() != nullptr) terminal->job_control()->Opened(ctx);
  return FileRef(std::move(file));
}

Result<size_t> TtyFile::Read(const CallContext& ctx, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  if (terminal_->hung_up()) return size_t{0};
  TRY(CheckUse(ctx, *terminal_, JobControl::Use::kRead));
  return terminal_->Read(io, nonblocking());
}

Result<size_t> TtyFile::Write(const CallContext& ctx, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  if (terminal_->StopsWriters()) TRY(CheckUse(ctx, *terminal_, JobControl::Use::kWrite));
  return terminal_->Write(io);
}

PtmxFile::~PtmxFile() {
  terminal_->HangUp();
  closed_();
}

Result<size_t> PtmxFile::Read(const CallContext&, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  return terminal_->ReadOutput(io);
}

Result<size_t> PtmxFile::Write(const CallContext&, UserIo& io, const int64_t* offset) {
  if (offset != nullptr) return Errno::kSPIPE;
  return terminal_->Type(io);
}

// The programs' devices are beside a ptmx of devpts, or in "pts" beside one elsewhere.
Result<std::string> PtmxFile::PeerPath() {
  const bool beside = inode() != nullptr && inode()->fs()->type() == "devpts";
  return absl::StrCat(beside ? "" : "pts/", terminal_->index());
}

}  // namespace ringfence::sentry
