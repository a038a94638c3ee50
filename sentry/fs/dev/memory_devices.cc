#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "sentry/fs/dev/dev.h"
#include "sentry/mm/shared_pages.h"

namespace ringfence::sentry {
namespace {

// What one call on a service thread may make at most: it must be short.
constexpr uint64_t kShortRead = 64 * 1024;

class MemoryDevice : public File {
 public:
  using File::File;
  // The position of these devices is always 0.
  Result<int64_t> Seek(const CallContext&, int64_t, int) override { return int64_t{0}; }
  Result<size_t> Write(const CallContext&, UserIo& io, const int64_t*) override {
    return static_cast<size_t>(io.remaining());
  }
};

class NullDevice : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  Result<size_t> Read(const CallContext&, UserIo&, const int64_t*) override { return size_t{0}; }
};

class ZeroDevice : public MemoryDevice {
 public:
  ZeroDevice(uint32_t flags, platform::GuestMemory* memory)
      : MemoryDevice(flags), memory_(memory) {}
  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t*) override {
    if (io.remaining() > kShortRead) TRY(ctx.RequireBlocking());
    return io.WriteZeros(io.remaining());
  }
  // Each mapping is anonymous memory of its own (zero(4)).
  Result<MappableRef> GetMappable(const CallContext&, bool) override {
    if (memory_ == nullptr) return Errno::kNODEV;
    AnonymousPages::Options options;
    options.name = "/dev/zero";
    options.size = AnonymousPages::kMaxSize;
    return MappableRef(std::make_shared<AnonymousPages>(memory_, std::move(options)));
  }

 private:
  platform::GuestMemory* const memory_;
};

class FullDevice : public ZeroDevice {
 public:
  explicit FullDevice(uint32_t flags) : ZeroDevice(flags, nullptr) {}
  Result<size_t> Write(const CallContext&, UserIo& io, const int64_t*) override {
    if (io.remaining() == 0) return size_t{0};
    return Errno::kNOSPC;
  }
};

class RandomDevice : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t*) override {
    if (io.remaining() > kShortRead) TRY(ctx.RequireBlocking());
    std::array<std::byte, 4096> block;
    size_t done = 0;
    while (io.remaining() != 0) {
      const size_t want = std::min<uint64_t>(io.remaining(), block.size());
      const ssize_t made = getrandom(block.data(), want, 0);
      if (made < 0 && errno == EINTR) continue;
      if (made < 0) return done != 0 ? Result<size_t>(done) : LastHostErrno();
      Result<size_t> moved = io.Write(block.data(), static_cast<size_t>(made));
      if (!moved.ok()) return done != 0 ? Result<size_t>(done) : moved;
      done += *moved;
      if (*moved < static_cast<size_t>(made)) break;
    }
    return done;
  }
};

template <typename Device>
DeviceRegistry::Factory Simple() {
  return [](const CallContext&, uint32_t flags) -> Result<FileRef> {
    return FileRef(std::make_shared<Device>(flags));
  };
}

}  // namespace

void RegisterMemoryDevices(DeviceRegistry& registry, platform::GuestMemory* memory) {
  registry.AddCharacter(1, 3, Simple<NullDevice>());
  registry.AddCharacter(1, 5, [memory](const CallContext&, uint32_t flags) -> Result<FileRef> {
    return FileRef(std::make_shared<ZeroDevice>(flags, memory));
  });
  registry.AddCharacter(1, 7, Simple<FullDevice>());
  registry.AddCharacter(1, 8, Simple<RandomDevice>());
  registry.AddCharacter(1, 9, Simple<RandomDevice>());
}

void RegisterTerminals(DeviceRegistry& registry, TerminalDevices devices) {
  registry.AddCharacter(5, 0, std::move(devices.tty));
  registry.AddCharacter(5, 1, std::move(devices.console));
  registry.AddCharacter(5, 2, std::move(devices.ptmx));
}

}  // namespace ringfence::sentry
