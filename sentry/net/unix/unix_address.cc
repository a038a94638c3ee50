#include "sentry/net/unix/unix_address.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "sentry/base/bytes.h"

namespace ringfence::sentry {
namespace {
constexpr size_t kFamilySize = offsetof(sockaddr_un, sun_path);
}  // namespace

Result<UnixAddress> ParseUnixAddress(const SocketAddress& address) {
  if (address.size() < kFamilySize || address.size() > sizeof(sockaddr_un)) return Errno::kINVAL;
  sa_family_t family;
  std::memcpy(&family, address.data(), sizeof(family));
  if (family != AF_UNIX) return Errno::kINVAL;
  const std::string path = address.substr(kFamilySize);
  if (path.empty()) return UnixAddress{};
  if (path[0] == '\0') return UnixAddress{UnixAddress::Kind::kAbstract, path.substr(1)};
  return UnixAddress{UnixAddress::Kind::kPath, path.substr(0, path.find('\0'))};
}

SocketAddress EncodeUnixAddress(const UnixAddress& address) {
  const sa_family_t family = AF_UNIX;
  SocketAddress encoded = BytesOf(family);
  switch (address.kind) {
    case UnixAddress::Kind::kUnnamed:
      break;
    case UnixAddress::Kind::kAbstract:
      encoded += '\0' + address.name;
      break;
    case UnixAddress::Kind::kPath:
      encoded += address.name + '\0';
      break;
  }
  return encoded;
}

}  // namespace ringfence::sentry
