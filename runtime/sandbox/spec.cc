#include "runtime/sandbox/spec.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "proto/control/spec.pb.h"

namespace ringfence::runtime {
namespace {

constexpr off_t kMaxSpecBytes = 16 * 1024 * 1024;  // execve(2) allows far less
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

absl::Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "write to a memfd");
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(int fd) {
  struct stat s;
  if (fstat(fd, &s) != 0 || s.st_size > kMaxSpecBytes) {
    return absl::InvalidArgumentError("the sandbox specification is no plausible file");
  }
  std::string bytes(static_cast<size_t>(s.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t size =
        pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (size == 0) break;
    if (size < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "sandbox specification");
    if (size > 0) done += static_cast<size_t>(size);
  }
  return bytes;
}

control::wire::Exitless ToWire(platform::ExitlessMode mode) {
  if (mode == platform::ExitlessMode::kOn) return control::wire::ON;
  return mode == platform::ExitlessMode::kOff ? control::wire::OFF : control::wire::AUTO;
}

platform::ExitlessMode FromWire(control::wire::Exitless mode) {
  if (mode == control::wire::ON) return platform::ExitlessMode::kOn;
  return mode == control::wire::OFF ? platform::ExitlessMode::kOff : platform::ExitlessMode::kAuto;
}

void ToWire(const TerminalSpec& terminal, control::wire::Terminal* wire) {
  wire->set_rows(terminal.size.rows);
  wire->set_columns(terminal.size.columns);
  wire->set_iflag(terminal.settings.c_iflag);
  wire->set_oflag(terminal.settings.c_oflag);
  wire->set_cflag(terminal.settings.c_cflag);
  wire->set_lflag(terminal.settings.c_lflag);
  wire->set_cc(terminal.settings.c_cc, sizeof(terminal.settings.c_cc));
}

TerminalSpec FromWire(const control::wire::Terminal& wire) {
  TerminalSpec terminal;
  terminal.size.rows = static_cast<uint16_t>(wire.rows());
  terminal.size.columns = static_cast<uint16_t>(wire.columns());
  terminal.settings.c_iflag = wire.iflag();
  terminal.settings.c_oflag = wire.oflag();
  terminal.settings.c_cflag = wire.cflag();
  terminal.settings.c_lflag = wire.lflag();
  wire.cc().copy(reinterpret_cast<char*>(terminal.settings.c_cc), sizeof(terminal.settings.c_cc));
  return terminal;
}

control::wire::Overlay ToWire(OverlayFlag::Kind kind) {
  if (kind == OverlayFlag::Kind::kNone) return control::wire::NONE;
  return kind == OverlayFlag::Kind::kDirectory ? control::wire::DIRECTORY : control::wire::MEMORY;
}

OverlayFlag::Kind FromWire(control::wire::Overlay overlay) {
  if (overlay == control::wire::NONE) return OverlayFlag::Kind::kNone;
  return overlay == control::wire::DIRECTORY ? OverlayFlag::Kind::kDirectory
                                             : OverlayFlag::Kind::kMemory;
}

std::vector<VolumeSpec> VolumesFromWire(const control::wire::SandboxSpec& wire) {
  std::vector<VolumeSpec> volumes;
  for (const control::wire::Volume& volume : wire.volumes()) {
    volumes.push_back({.source = volume.source(),
                       .destination = volume.destination(),
                       .read_only = volume.read_only()});
  }
  return volumes;
}

std::string_view NameOf(std::string_view setting) { return setting.substr(0, setting.find('=')); }

}  // namespace

absl::StatusOr<UniqueFd> WriteSpec(const SandboxSpec& spec) {
  control::wire::SandboxSpec wire;
  for (const std::string& arg : spec.args) wire.add_args(arg);
  for (const std::string& setting : spec.env) wire.add_env(setting);
  wire.set_cwd(spec.cwd);
  wire.set_cwd_required(spec.cwd_required);
  wire.set_exitless(ToWire(spec.exitless));
  wire.set_memory_bytes(spec.memory_bytes);
  wire.set_strace(spec.strace);
  wire.set_uid(spec.uid);
  wire.set_gid(spec.gid);
  for (const uint32_t group : spec.groups) wire.add_groups(group);
  wire.set_ignored_signals(spec.ignored_signals);
  for (const VolumeSpec& volume : spec.volumes) {
    control::wire::Volume* out = wire.add_volumes();
    out->set_source(volume.source);
    out->set_destination(volume.destination);
    out->set_read_only(volume.read_only);
  }
  wire.set_overlay(ToWire(spec.overlay));
  wire.set_closed_streams(spec.closed_streams);
  if (spec.terminal.has_value()) ToWire(*spec.terminal, wire.mutable_terminal());

  UniqueFd memfd(memfd_create("ringfence-spec", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd.valid()) return absl::ErrnoToStatus(errno, "memfd_create");
  const absl::Status written = WriteAll(memfd.get(), wire.SerializeAsString());
  if (!written.ok()) return written;
  if (fcntl(memfd.get(), F_ADD_SEALS, kSeals) != 0) return absl::ErrnoToStatus(errno, "seal");
  return memfd;
}

absl::StatusOr<SandboxSpec> ReadSpec(const UniqueFd& memfd) {
  absl::StatusOr<std::string> bytes = ReadAll(memfd.get());
  if (!bytes.ok()) return bytes.status();
  control::wire::SandboxSpec wire;
  if (!wire.ParseFromString(*bytes) || wire.args().empty()) {
    return absl::InvalidArgumentError("the sandbox specification cannot be read");
  }
  return SandboxSpec{.args = {wire.args().begin(), wire.args().end()},
                     .env = {wire.env().begin(), wire.env().end()},
                     .cwd = wire.cwd(),
                     .cwd_required = wire.cwd_required(),
                     .exitless = FromWire(wire.exitless()),
                     .memory_bytes = wire.memory_bytes(),
                     .strace = wire.strace(),
                     .uid = wire.uid(),
                     .gid = wire.gid(),
                     .groups = {wire.groups().begin(), wire.groups().end()},
                     .ignored_signals = wire.ignored_signals(),
                     .volumes = VolumesFromWire(wire),
                     .overlay = FromWire(wire.overlay()),
                     .closed_streams = wire.closed_streams(),
                     .terminal = wire.has_terminal()
                                     ? std::optional<TerminalSpec>(FromWire(wire.terminal()))
                                     : std::nullopt};
}

std::vector<std::string> MergeEnvironment(std::vector<std::string> base,
                                          const std::vector<std::string>& overrides) {
  for (const std::string& setting : overrides) {
    const auto same_name = [&](const std::string& s) { return NameOf(s) == NameOf(setting); };
    const auto found = std::find_if(base.begin(), base.end(), same_name);
    if (found == base.end()) {
      base.push_back(setting);
    } else {
      *found = setting;
    }
  }
  return base;
}

}  // namespace ringfence::runtime
