#include "runtime/sandbox/id_map.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "platform/base/unique_fd.h"

namespace ringfence::runtime {
namespace {

// The kernel reads and writes a map of at most one page.
constexpr size_t kMaxMapText = 4096;

struct Range {
  uint64_t first;  // as this process sees it
  uint64_t outside;
  uint64_t count;
};

std::vector<Range> ParseMap(const std::string& text) {
  std::vector<Range> ranges;
  std::istringstream lines(text);
  Range range;
  while (lines >> range.first >> range.outside >> range.count) ranges.push_back(range);
  return ranges;
}

std::string Line(uint64_t inside, uint64_t outside, uint64_t count) {
  return absl::StrCat(inside, " ", outside, " ", count, "\n");
}

std::string IdentityMap(const std::string& own_map) {
  std::string map;
  for (const Range& range : ParseMap(own_map)) map += Line(range.first, range.first, range.count);
  return map;
}

bool Contains(const std::string& own_map, uint64_t id) {
  for (const Range& range : ParseMap(own_map)) {
    if (id >= range.first && id - range.first < range.count) return true;
  }
  return false;
}

// What stands for the sentry's id outside.
uint32_t Nobody(const Caller& caller, const std::string& own_map, uint32_t own_id) {
  return caller.may_map_any && Contains(own_map, kSentryId) ? kSentryId : own_id;
}

absl::StatusOr<std::string> ReadMap(const char* path) {
  const UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  std::string text(kMaxMapText, '\0');
  const ssize_t size = fd.valid() ? read(fd.get(), text.data(), text.size()) : -1;
  if (size < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  text.resize(static_cast<size_t>(size));
  return text;
}

absl::Status WriteTo(pid_t child, const char* name, std::string_view text) {
  const std::string path = absl::StrCat("/proc/", child, "/", name);
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  // One write: the kernel takes a map once, whole.
  if (fd.valid() && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot set the user namespace's ", name));
}

bool HasCapabilities(std::initializer_list<int> wanted) {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  for (const int capability : wanted) {
    if ((sets[capability / 32].effective >> capability % 32 & 1) == 0) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Caller> ReadCaller() {
  Caller caller = {.uid = geteuid(),
                   .gid = getegid(),
                   .may_map_any = HasCapabilities({CAP_SETUID, CAP_SETGID}),
                   .uid_map = {},
                   .gid_map = {}};
  absl::StatusOr<std::string> uid_map = ReadMap("/proc/self/uid_map");
  if (!uid_map.ok()) return uid_map.status();
  absl::StatusOr<std::string> gid_map = ReadMap("/proc/self/gid_map");
  if (!gid_map.ok()) return gid_map.status();
  caller.uid_map = *std::move(uid_map);
  caller.gid_map = *std::move(gid_map);
  return caller;
}

IdMaps GoferIdMaps(const Caller& caller) {
  if (caller.may_map_any) {
    return {.uid_map = IdentityMap(caller.uid_map),
            .gid_map = IdentityMap(caller.gid_map),
            .deny_setgroups = false};
  }
  return {.uid_map = Line(caller.uid, caller.uid, 1),
          .gid_map = Line(caller.gid, caller.gid, 1),
          .deny_setgroups = true};
}

IdMaps SentryIdMaps(const Caller& caller) {
  return {.uid_map = Line(kSentryId, Nobody(caller, caller.uid_map, caller.uid), 1),
          .gid_map = Line(kSentryId, Nobody(caller, caller.gid_map, caller.gid), 1),
          .deny_setgroups = !caller.may_map_any};
}

absl::Status WriteIdMaps(pid_t child, const IdMaps& maps) {
  absl::Status status;
  // First: else an unprivileged caller may not set gid_map.
  if (maps.deny_setgroups) status = WriteTo(child, "setgroups", "deny");
  if (status.ok()) status = WriteTo(child, "gid_map", maps.gid_map);
  if (status.ok()) status = WriteTo(child, "uid_map", maps.uid_map);
  return status;
}

}  // namespace ringfence::runtime
