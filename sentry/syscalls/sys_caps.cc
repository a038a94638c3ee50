// capget(2), capset(2).
#include "sentry/syscalls/guest_abi.h"
#include "sentry/syscalls/handlers.h"

namespace ringfence::sentry {
namespace {

constexpr int kCapSetpcap = 8;
constexpr uint32_t kCapVersion1 = 0x19980330, kCapVersion2 = 0x20071026, kCapVersion3 = 0x20080522;

// Number of 32-bit sets a version uses; an unknown one gets the preferred version stored.
Result<uint32_t> CapabilityWords(SyscallContext& ctx, const GuestCapHeader& header) {
  switch (header.version) {
    case kCapVersion1:
      return uint32_t{1};
    case kCapVersion2:
    case kCapVersion3:
      return uint32_t{2};
    default:
      break;
  }
  TRY(ctx.Out<uint32_t>(0).Store(ctx.mm(), kCapVersion3));
  return Errno::kINVAL;
}

uint32_t Word(CapabilitySet set, uint32_t i) { return static_cast<uint32_t>(set >> (32 * i)); }

void Commit(SyscallContext& ctx, Credentials next) {
  ctx.task().SetCreds(std::make_shared<const Credentials>(std::move(next)));
}

}  // namespace

Result<int64_t> SysCapget(SyscallContext& ctx) {
  const auto header = TRY(ctx.In<GuestCapHeader>(0).Load(ctx.mm()));
  const Result<uint32_t> words = CapabilityWords(ctx, header);
  if (!words.ok()) {
    // A null data pointer asks for the version only.
    if (words.error() == Errno::kINVAL && ctx.Arg(1) == 0) return int64_t{0};
    return words.error();
  }
  if (header.pid < 0) return Errno::kINVAL;
  CredentialsRef creds = ctx.call().creds;
  if (header.pid != 0) {
    const TaskRef task = ctx.kernel().FindTask(header.pid);
    if (task == nullptr) return Errno::kSRCH;
    creds = task->creds();
  }
  if (ctx.Arg(1) == 0) return int64_t{0};
  GuestCapData data[2];
  for (uint32_t i = 0; i < *words; ++i) {
    data[i] = {Word(creds->effective, i), Word(creds->permitted, i), Word(creds->inheritable, i)};
  }
  return Done(ctx.Out<GuestCapData>(1).StoreArray(ctx.mm(), data, *words));
}

Result<int64_t> SysCapset(SyscallContext& ctx) {
  const auto header = TRY(ctx.In<GuestCapHeader>(0).Load(ctx.mm()));
  const uint32_t words = TRY(CapabilityWords(ctx, header));
  if (header.pid != 0 && header.pid != ctx.task().tid()) return Errno::kPERM;
  const auto data = TRY(ctx.In<GuestCapData>(1).LoadArray(ctx.mm(), words, 2));
  CapabilitySet effective = 0, permitted = 0, inheritable = 0;
  for (uint32_t i = 0; i < words; ++i) {
    effective |= uint64_t{data[i].effective} << (32 * i);
    permitted |= uint64_t{data[i].permitted} << (32 * i);
    inheritable |= uint64_t{data[i].inheritable} << (32 * i);
  }
  effective &= kAllCapabilities;
  permitted &= kAllCapabilities;
  inheritable &= kAllCapabilities;
  const Credentials& old = *ctx.call().creds;
  if (!old.HasCapability(kCapSetpcap) && (inheritable & ~(old.inheritable | old.permitted)) != 0) {
    return Errno::kPERM;
  }
  if ((inheritable & ~(old.inheritable | old.bounding)) != 0) return Errno::kPERM;
  if ((permitted & ~old.permitted) != 0 || (effective & ~permitted) != 0) return Errno::kPERM;
  Credentials next = old;
  next.effective = effective;
  next.permitted = permitted;
  next.inheritable = inheritable;
  next.ambient &= permitted & inheritable;
  Commit(ctx, std::move(next));
  return int64_t{0};
}

}  // namespace ringfence::sentry
