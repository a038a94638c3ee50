#include "sentry/boot/mount_tree.h"

#include <sys/mount.h>

#include <charconv>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sentry/boot/volumes.h"
#include "sentry/fs/dev/dev.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/sys/sys.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kUsual = MS_NOSUID | MS_NODEV;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

Result<uint64_t> ParseNumber(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return Errno::kINVAL;
  return value;
}

// "64k", "10%" of `whole`.
Result<uint64_t> ParseSize(std::string_view text, uint64_t whole) {
  if (text.empty()) return Errno::kINVAL;
  int shift = 0;
  switch (text.back()) {
    case 'k':
    case 'K':
      shift = 10;
      break;
    case 'm':
    case 'M':
      shift = 20;
      break;
    case 'g':
    case 'G':
      shift = 30;
      break;
    case '%': {
      const uint64_t percent = TRY(ParseNumber(text.substr(0, text.size() - 1), 10));
      return percent > 100 ? whole : whole / 100 * percent;
    }
    default:
      return ParseNumber(text, 10);
  }
  const uint64_t value = TRY(ParseNumber(text.substr(0, text.size() - 1), 10));
  if (value >> (64 - shift) != 0) return Errno::kINVAL;
  return value << shift;
}

// One "name=value" of tmpfs(5).
Result<void> ApplyTmpfsOption(std::string_view option, uint64_t memory_bytes, Tmpfs::Options* out) {
  const size_t equals = option.find('=');
  if (equals == option.npos) return Errno::kINVAL;
  const std::string_view name = option.substr(0, equals), value = option.substr(equals + 1);
  if (name == "size") {
    out->max_bytes = TRY(ParseSize(value, memory_bytes));
    if (out->max_bytes == 0) out->max_bytes = ~uint64_t{0};
  } else if (name == "nr_inodes") {
    out->max_inodes = TRY(ParseSize(value, 0));
    if (out->max_inodes == 0) out->max_inodes = ~uint64_t{0};
  } else if (name == "mode") {
    out->root_mode = static_cast<uint32_t>(TRY(ParseNumber(value, 8)) & 07777);
  } else if (name == "uid") {
    out->uid = static_cast<Uid>(TRY(ParseNumber(value, 10)));
  } else if (name == "gid") {
    out->gid = static_cast<Gid>(TRY(ParseNumber(value, 10)));
  } else {
    return Errno::kINVAL;
  }
  return Ok();
}

absl::Status GoferError(Errno error) {
  const std::string text =
      std::string("the gofer does not serve the root: ").append(ErrnoName(error));
  if (error == Errno::kNOMEM) return absl::ResourceExhaustedError(text);
  return absl::UnavailableError(text);
}

}  // namespace

absl::StatusOr<std::shared_ptr<MountNamespace>> MountTree::MakeRoot(
    const GoferFs::Options& gofer) const {
  GoferFs::Options lowest = gofer;
  const bool direct = options_.root.kind == RootLayers::Upper::kDirect;
  if (direct) {
    lowest.access = GoferFs::Access::kReadWrite;
    lowest.owner = GoferFs::Owner::kShared;
  }
  const Result<std::shared_ptr<GoferFs>> root = GoferFs::Create(lowest);
  if (!root.ok()) return GoferError(root.error());
  if (direct) return MountNamespace::Create(*root, "root");
  if (options_.root.kind == RootLayers::Upper::kNone) {
    return MountNamespace::Create(*root, "root", MS_RDONLY);
  }
  OverlayFs::Options overlay{.lower = *root,
                             .upper = options_.root.upper,
                             .new_upper = options_.root.upper_is_new,
                             .caller_ends = options_.caller_ends};
  if (options_.root.kind == RootLayers::Upper::kMemory) {
    Tmpfs::Options memory = TmpfsDefaults();
    memory.device_id = (*root)->device_id();
    memory.first_inode = kUpperInode + 1;
    overlay.upper = Tmpfs::Create(memory);
    overlay.new_upper = true;
  }
  if (options_.root.kind == RootLayers::Upper::kGofer) {
    GoferFs::Options upper = gofer;
    upper.tree = options_.root.tree;
    upper.access = GoferFs::Access::kReadWrite;
    upper.is_overlay_upper = true;
    const Result<std::shared_ptr<GoferFs>> made = GoferFs::Create(upper);
    if (!made.ok()) return GoferError(made.error());
    overlay.upper = *made;
  }
  const Result<std::shared_ptr<OverlayFs>> both = OverlayFs::Create(overlay);
  if (!both.ok()) {
    return absl::UnavailableError(
        absl::StrCat("no overlay on the root: ", View(ErrnoName(both.error()))));
  }
  return MountNamespace::Create(*both, "overlay");
}

Tmpfs::Options MountTree::TmpfsDefaults() const {
  Tmpfs::Options options;
  options.memory = options_.memory;
  options.devices = options_.devices;
  // As Linux: half of memory, and an inode for each page of that.
  options.max_bytes = options_.memory_bytes / 2;
  options.max_inodes = options.max_bytes / kPageSize;
  return options;
}

absl::StatusOr<std::shared_ptr<MountNamespace>> MountTree::Make() {
  GoferFs::Options gofer;
  // The client outlives us: nothing to delete.
  gofer.client = std::shared_ptr<gofer::Client>(std::shared_ptr<void>(), options_.gofer);
  gofer.chunks = std::make_shared<ChunkCache>(options_.memory);
  absl::StatusOr<std::shared_ptr<MountNamespace>> root = MakeRoot(gofer);
  if (!root.ok()) return root;
  const std::shared_ptr<MountNamespace>& tree = *root;
  MountAt(*tree, "devtmpfs", "/dev", "", MS_NOSUID);
  MountAt(*tree, "tmpfs", "/dev/shm", "mode=1777", kUsual);
  MountAt(*tree, "devpts", "/dev/pts", "", MS_NOSUID | MS_NOEXEC);
  MountAt(*tree, "proc", "/proc", "", kUsual | MS_NOEXEC);
  MountAt(*tree, "sysfs", "/sys", "", kUsual | MS_NOEXEC);
  // Where the host's files are to be changed, those in /tmp are among them.
  const bool direct = options_.root.kind == RootLayers::Upper::kDirect;
  if (!direct) MountAt(*tree, "tmpfs", "/tmp", "mode=1777", kUsual);
  for (const Volume& volume : options_.volumes) {
    const absl::Status mounted =
        MountVolume(*tree, volume, gofer, direct ? MissingPlaces::kRefuse : MissingPlaces::kMake);
    if (!mounted.ok()) return mounted;
  }
  return tree;
}

void MountTree::MountAt(MountNamespace& tree, std::string_view type, std::string_view path,
                        std::string_view data, uint64_t flags) const {
  CallContext ctx;
  ctx.creds = std::make_shared<Credentials>();
  const FsContext fs(tree.root(), tree.root(), 0);
  const PathBase base{.fs = &fs, .start = nullptr};
  const auto mount = [&]() -> Result<void> {
    // EEXIST where it is there; what else is wrong shows below. Never on the host.
    const bool may_make = options_.root.kind != RootLayers::Upper::kDirect;
    if (may_make) static_cast<void>(Vfs::Mkdir(ctx, base, path, 0755));
    const DentryRef target = TRY(Vfs::Resolve(ctx, base, path, {.follow_last = false}));
    return tree.Mount(TRY(MakeFileSystem(ctx, type, data)), target, type, flags);
  };
  const Result<void> mounted = mount();
  if (mounted.ok() || !options_.log) return;
  options_.log(
      absl::StrCat("no ", View(type), " at ", View(path), ": ", View(ErrnoName(mounted.error()))));
}

Result<std::shared_ptr<FileSystem>> MountTree::MakeFileSystem(const CallContext& ctx,
                                                              std::string_view type,
                                                              std::string_view data) const {
  if (type == "proc") return MakeProcFs(options_.processes);
  if (type == "sysfs") return MakeSysFs(options_.processes);
  if (type == "devpts" && options_.devpts != nullptr) return options_.devpts;
  Tmpfs::Options options = TmpfsDefaults();
  options.uid = ctx.creds->fsuid;
  options.gid = ctx.creds->fsgid;
  if (type == "devtmpfs") {
    return std::shared_ptr<FileSystem>(TRY(MakeDevFs(options)));
  }
  if (type != "tmpfs") return Errno::kNODEV;
  while (!data.empty()) {
    const size_t comma = data.find(',');
    const std::string_view option = data.substr(0, comma);
    if (!option.empty()) TRY(ApplyTmpfsOption(option, options_.memory_bytes, &options));
    if (comma == data.npos) break;
    data.remove_prefix(comma + 1);
  }
  return std::shared_ptr<FileSystem>(Tmpfs::Create(options));
}

}  // namespace ringfence::sentry
