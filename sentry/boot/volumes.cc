#include "sentry/boot/volumes.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ringfence::sentry {
namespace {

absl::Status Refuse(const Volume& volume, absl::string_view what, Errno error) {
  const std::string why = strerror(static_cast<int>(error));
  return absl::InvalidArgumentError(
      absl::StrCat("volume ", volume.source, ": ", what, volume.destination, ": ", why));
}

// A directory, or an empty file, and the directories above it.
Result<void> MakePlace(const CallContext& ctx, const PathBase& base, const std::string& path,
                       bool directory) {
  for (size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1)) {
    const Result<void> made = Vfs::Mkdir(ctx, base, path.substr(0, slash), 0755);
    if (!made.ok() && made.error() != Errno::kEXIST) return made;
  }
  if (directory) return Vfs::Mkdir(ctx, base, path, 0755);
  TRY(Vfs::Open(ctx, base, path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  return Ok();
}

}  // namespace

absl::Status MountVolume(MountNamespace& tree, const Volume& volume, GoferFs::Options gofer,
                         MissingPlaces missing) {
  gofer.tree = volume.tree;
  gofer.access = volume.read_only ? GoferFs::Access::kReadOnly : GoferFs::Access::kReadWrite;
  gofer.owner = GoferFs::Owner::kShared;
  const Result<std::shared_ptr<GoferFs>> fs = GoferFs::Create(gofer);
  if (!fs.ok()) {
    const std::string why = strerror(static_cast<int>(fs.error()));
    return absl::UnavailableError(absl::StrCat("volume ", volume.source, ": ", why));
  }
  CallContext ctx;
  ctx.creds = std::make_shared<Credentials>();
  const FsContext context(tree.root(), tree.root(), 0);
  const PathBase base{.fs = &context, .start = nullptr};
  const bool directory = (*fs)->root()->type() == S_IFDIR;
  Result<DentryRef> place = Vfs::Resolve(ctx, base, volume.destination);
  if (!place.ok() && place.error() == Errno::kNOENT && missing == MissingPlaces::kMake) {
    const Result<void> made = MakePlace(ctx, base, volume.destination, directory);
    if (!made.ok()) return Refuse(volume, "cannot make ", made.error());
    place = Vfs::Resolve(ctx, base, volume.destination);
  }
  if (!place.ok()) return Refuse(volume, "", place.error());
  const Result<void> mounted =
      tree.Mount(*fs, *place, volume.source, volume.read_only ? MS_RDONLY : 0);
  if (mounted.ok()) return absl::OkStatus();
  if (mounted.error() == Errno::kNOTDIR) {
    return absl::InvalidArgumentError(
        absl::StrCat("volume ", volume.source, " is ", directory ? "a" : "no", " directory and ",
                     volume.destination, directory ? " is none" : " is one"));
  }
  return Refuse(volume, "", mounted.error());
}

}  // namespace ringfence::sentry
