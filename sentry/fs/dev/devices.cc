#include "sentry/fs/dev/devices.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "sentry/mm/shared_pages.h"

namespace ringfence::sentry {
namespace {

constexpr uint32_t kMemoryMajor = 1;
enum class Kind : uint32_t { kNull = 3, kZero = 5, kFull = 7, kRandom = 8, kUrandom = 9 };

// Moves random bytes in pieces; a fault after the first piece ends the read short.
Result<size_t> ReadRandom(UserIo& io) {
  std::array<std::byte, 256> piece;
  size_t done = 0;
  while (io.remaining() > 0) {
    const size_t n = std::min<uint64_t>(piece.size(), io.remaining());
    // At most 256 bytes come whole and are not interrupted (getrandom(2)).
    if (getrandom(piece.data(), n, 0) != static_cast<ssize_t>(n)) return LastHostErrno();
    const Result<size_t> moved = io.Write(piece.data(), n);
    if (!moved.ok()) return done > 0 ? Result<size_t>(done) : moved.error();
    done += *moved;
    if (*moved < n) break;
  }
  return done;
}

class MemoryDevice final : public File {
 public:
  MemoryDevice(Kind kind, uint32_t flags, platform::GuestMemory* memory)
      : File(flags), kind_(kind), memory_(memory) {}

  Result<size_t> Read(const CallContext&, UserIo& io, const int64_t*) override {
    switch (kind_) {
      case Kind::kNull:
        return size_t{0};
      case Kind::kZero:
      case Kind::kFull:
        return io.WriteZeros(io.remaining());
      case Kind::kRandom:
      case Kind::kUrandom:
        return ReadRandom(io);
    }
    return Errno::kINVAL;
  }

  // What is written to random devices would be mixed into the host's pool on Linux; ours has none.
  Result<size_t> Write(const CallContext&, UserIo& io, const int64_t*) override {
    if (kind_ == Kind::kFull) return Errno::kNOSPC;
    return static_cast<size_t>(io.remaining());
  }

  // Seeking is allowed and does nothing (drivers/char/mem.c: null_lseek).
  Result<int64_t> Seek(const CallContext&, int64_t, int) override { return int64_t{0}; }

  // Shared mappings of zero are shared anonymous memory, private ones private.
  Result<MappableRef> GetMappable(const CallContext&, bool) override {
    if (kind_ != Kind::kZero) return Errno::kNODEV;
    return MappableRef(std::make_shared<AnonymousPages>(
        memory_,
        AnonymousPages::Options{.name = "/dev/zero (deleted)", .size = AnonymousPages::kMaxSize}));
  }

 private:
  const Kind kind_;
  platform::GuestMemory* const memory_;
};

struct Node {
  const char* name;
  uint32_t major, minor;
};
constexpr Node kNodes[] = {{"null", kMemoryMajor, 3},    {"zero", kMemoryMajor, 5},
                           {"full", kMemoryMajor, 7},    {"random", kMemoryMajor, 8},
                           {"urandom", kMemoryMajor, 9}, {"tty", 5, 0}};

struct Link {
  const char* name;
  const char* target;
};
constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"}};

}  // namespace

void AddMemoryDevices(DeviceRegistry* registry, platform::GuestMemory* memory) {
  for (const Kind kind : {Kind::kNull, Kind::kZero, Kind::kFull, Kind::kRandom, Kind::kUrandom}) {
    registry->AddCharacter(kMemoryMajor, static_cast<uint32_t>(kind),
                           [kind, memory](const CallContext&, uint32_t flags) -> Result<FileRef> {
                             return FileRef(std::make_shared<MemoryDevice>(kind, flags, memory));
                           });
  }
}

Result<std::shared_ptr<Tmpfs>> MakeDevFs(const CallContext& ctx, platform::GuestMemory* memory,
                                         const DeviceRegistry* devices) {
  Tmpfs::Options options;
  options.memory = memory;
  options.devices = devices;
  options.root_mode = 0755;
  options.type = "devtmpfs";
  std::shared_ptr<Tmpfs> fs = Tmpfs::Create(options);
  Inode& root = *fs->root();
  for (const Node& node : kNodes) {
    TRY(root.Create(ctx, node.name, S_IFCHR | 0666, makedev(node.major, node.minor)));
  }
  for (const Link& link : kLinks) TRY(root.Symlink(ctx, link.name, link.target));
  for (const char* name : {"shm", "pts"}) TRY(root.Mkdir(ctx, name, 0755));
  return fs;
}

}  // namespace ringfence::sentry
