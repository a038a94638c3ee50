// Extended attributes: the gofer's, which knows those of the user namespace.
#include "sentry/fs/goferfs/inode.h"

namespace ringfence::sentry {
namespace {

// What an overlay keeps in its upper layer, as it calls it and as the host does.
constexpr std::string_view kOverlay = "trusted.overlay.", kHostOverlay = "user.overlay.";

// EOPNOTSUPP: no name that a host has, or one that only the overlay may use.
Result<std::string> ToHost(const GoferState& state, std::string_view name) {
  if (state.options.is_overlay_upper) {
    if (name.starts_with(kHostOverlay)) return Errno::kOPNOTSUPP;
    if (name.starts_with(kOverlay)) {
      return std::string(kHostOverlay).append(name.substr(kOverlay.size()));
    }
  }
  if (!name.starts_with("user.")) return Errno::kOPNOTSUPP;
  return std::string(name);
}

}  // namespace

Result<std::string> GoferInode::GetXattr(const CallContext& ctx, std::string_view name) {
  // Asked of every file by ls(1) and the like: no call for what cannot be there.
  if (type_ != S_IFREG && type_ != S_IFDIR) return Errno::kOPNOTSUPP;
  const std::string host_name = TRY(ToHost(*state_, name));
  TRY(ctx.RequireBlocking());
  const NodeHandleRef node = TRY(EnsureNode(ctx));
  return state_->client().GetXattr(node->id(), host_name);
}

Result<std::vector<std::string>> GoferInode::ListXattr(const CallContext& ctx) {
  if (type_ != S_IFREG && type_ != S_IFDIR) return std::vector<std::string>();
  TRY(ctx.RequireBlocking());
  const NodeHandleRef node = TRY(EnsureNode(ctx));
  std::vector<std::string> names = TRY(state_->client().ListXattr(node->id()));
  if (!state_->options.is_overlay_upper) return names;
  for (std::string& name : names) {
    if (name.starts_with(kHostOverlay)) {
      name = std::string(kOverlay).append(name.substr(kHostOverlay.size()));
    }
  }
  return names;
}

Result<void> GoferInode::SetXattr(const CallContext& ctx, std::string_view name,
                                  std::string_view value, int flags) {
  if (!state_->writable()) return Errno::kROFS;
  if (type_ != S_IFREG && type_ != S_IFDIR) return Errno::kPERM;
  const std::string host_name = TRY(ToHost(*state_, name));
  TRY(ctx.RequireBlocking());
  const NodeHandleRef node = TRY(EnsureNode(ctx));
  ForgetAttributes();  // ctime
  return state_->client().SetXattr(node->id(), host_name, value, static_cast<uint32_t>(flags));
}

Result<void> GoferInode::RemoveXattr(const CallContext& ctx, std::string_view name) {
  if (!state_->writable()) return Errno::kROFS;
  if (type_ != S_IFREG && type_ != S_IFDIR) return Errno::kPERM;
  const std::string host_name = TRY(ToHost(*state_, name));
  TRY(ctx.RequireBlocking());
  const NodeHandleRef node = TRY(EnsureNode(ctx));
  ForgetAttributes();
  return state_->client().RemoveXattr(node->id(), host_name);
}

}  // namespace ringfence::sentry
