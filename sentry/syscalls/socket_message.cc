#include "sentry/syscalls/socket_message.h"

#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>

#include "sentry/syscalls/file_io.h"
#include "sentry/syscalls/guest_abi.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kMaxFiles = 253;            // SCM_MAX_FD
constexpr uint64_t kMaxControl = 128 << 10;  // net.core.optmem_max
constexpr int kCapSetgid = 6, kCapSetuid = 7, kCapSysAdmin = 21;

// struct cmsghdr of the kernel ABI; messages begin at multiples of 8.
struct ControlHeader {
  uint64_t length;
  int32_t level;
  int32_t type;
};
static_assert(sizeof(ControlHeader) == 16);

constexpr uint64_t Align(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

// May the caller say that it is `ids`? (unix(7), SCM_CREDENTIALS)
Result<void> CheckIds(SyscallContext& ctx, const SenderIds& ids) {
  const Credentials& creds = *ctx.call().creds;
  const bool uid = ids.uid == creds.ruid || ids.uid == creds.euid || ids.uid == creds.suid;
  const bool gid = ids.gid == creds.rgid || ids.gid == creds.egid || ids.gid == creds.sgid;
  if (ids.pid != ctx.task().tgid() && !creds.HasCapability(kCapSysAdmin)) return Errno::kPERM;
  if (!uid && !creds.HasCapability(kCapSetuid)) return Errno::kPERM;
  if (!gid && !creds.HasCapability(kCapSetgid)) return Errno::kPERM;
  // Whom a number names must exist.
  if (ctx.kernel().FindThreadGroup(ids.pid) == nullptr) return Errno::kSRCH;
  return Ok();
}

Result<void> LoadFiles(SyscallContext& ctx, std::string_view data, std::vector<FileRef>* files) {
  const size_t count = data.size() / sizeof(int32_t);
  if (files->size() + count > kMaxFiles) return Errno::kINVAL;
  for (size_t i = 0; i < count; ++i) {
    int32_t fd;
    std::memcpy(&fd, data.data() + i * sizeof(fd), sizeof(fd));
    files->push_back(TRY(ctx.fds().GetUsable(static_cast<Fd>(fd))));
  }
  return Ok();
}

Result<void> LoadOne(SyscallContext& ctx, const ControlHeader& header, std::string_view data,
                     SendRequest* request) {
  if (header.level != SOL_SOCKET) return Ok();  // for another protocol
  switch (header.type) {
    case SCM_RIGHTS:
      return LoadFiles(ctx, data, &request->files);
    case SCM_CREDENTIALS: {
      SenderIds ids;
      if (data.size() != sizeof(ids)) return Errno::kINVAL;
      std::memcpy(&ids, data.data(), sizeof(ids));
      TRY(CheckIds(ctx, ids));
      request->ids = ids;
      return Ok();
    }
    default:
      return Errno::kINVAL;
  }
}

// Writes control messages one after the other into what room the caller gave.
class ControlWriter {
 public:
  ControlWriter(SyscallContext& ctx, GuestMessageHeader* header)
      : ctx_(ctx),
        header_(header),
        at_(header->control),
        room_(header->control == 0 ? 0 : header->control_length) {}

  uint64_t written() const { return at_ - header_->control; }
  // How many bytes of data the next message has room for.
  uint64_t DataRoom() const {
    return room_ > sizeof(ControlHeader) ? room_ - sizeof(ControlHeader) : 0;
  }
  bool has_header_room() const { return room_ >= sizeof(ControlHeader); }
  void Truncate() { header_->flags |= MSG_CTRUNC; }

  Result<void> Put(int32_t type, const void* data, uint64_t size) {
    const ControlHeader header{sizeof(ControlHeader) + size, SOL_SOCKET, type};
    TRY(GuestOut<ControlHeader>(at_).Store(ctx_.mm(), header));
    if (size != 0) TRY(ctx_.mm().CopyOut(VirtAddr(at_ + sizeof(header)), data, size));
    const uint64_t space = std::min(Align(header.length), room_);
    at_ += space;
    room_ -= space;
    return Ok();
  }

 private:
  SyscallContext& ctx_;
  GuestMessageHeader* const header_;
  uint64_t at_, room_;
};

Result<void> StoreIds(const SenderIds& ids, ControlWriter* writer) {
  if (!writer->has_header_room()) {
    writer->Truncate();
    return Ok();
  }
  const uint64_t size = std::min<uint64_t>(sizeof(ids), writer->DataRoom());
  if (size < sizeof(ids)) writer->Truncate();
  return writer->Put(SCM_CREDENTIALS, &ids, size);
}

Result<void> StoreFiles(SyscallContext& ctx, const std::vector<FileRef>& files, bool cloexec,
                        ControlWriter* writer) {
  const size_t count = std::min<uint64_t>(files.size(), writer->DataRoom() / sizeof(int32_t));
  std::vector<int32_t> fds;
  while (fds.size() < count) {
    const Result<int64_t> fd = ctx.InstallFd(files[fds.size()], cloexec);
    if (!fd.ok()) break;
    fds.push_back(static_cast<int32_t>(*fd));
  }
  if (fds.size() < files.size()) writer->Truncate();
  if (fds.empty()) return Ok();
  const Result<void> put = writer->Put(SCM_RIGHTS, fds.data(), fds.size() * sizeof(int32_t));
  if (put.ok()) return put;
  // Nobody knows their numbers.
  for (const int32_t fd : fds) (void)ctx.fds().Close(static_cast<Fd>(fd));
  writer->Truncate();
  return Ok();
}

}  // namespace

Result<std::vector<UserIo::Segment>> MessageSegments(SyscallContext& ctx,
                                                     const GuestMessageHeader& header) {
  if (header.vector_count > UIO_MAXIOV) return Errno::kMSGSIZE;
  return SegmentsOf(ctx, GuestIn<GuestIovec>(header.vectors), header.vector_count);
}

Result<void> LoadControl(SyscallContext& ctx, const GuestMessageHeader& header,
                         SendRequest* request) {
  if (header.control_length > kMaxControl) return Errno::kNOBUFS;
  if (header.control_length == 0) return Ok();
  std::string control(header.control_length, '\0');
  TRY(ctx.mm().CopyIn(control.data(), VirtAddr(header.control), control.size()));
  uint64_t at = 0;
  while (control.size() - at >= sizeof(ControlHeader)) {
    ControlHeader one;
    std::memcpy(&one, control.data() + at, sizeof(one));
    if (one.length < sizeof(one) || one.length > control.size() - at) return Errno::kINVAL;
    const std::string_view data(control.data() + at + sizeof(one), one.length - sizeof(one));
    TRY(LoadOne(ctx, one, data, request));
    at += std::min<uint64_t>(Align(one.length), control.size() - at);
  }
  return Ok();
}

Result<void> StoreControl(SyscallContext& ctx, Received& received, bool cloexec,
                          GuestMessageHeader* header) {
  ControlWriter writer(ctx, header);
  if (received.ids.has_value()) TRY(StoreIds(*received.ids, &writer));
  if (!received.files.empty()) TRY(StoreFiles(ctx, received.files, cloexec, &writer));
  header->control_length = writer.written();
  return Ok();
}

}  // namespace ringfence::sentry
