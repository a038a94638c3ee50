// Addresses of unix sockets (unix(7), "Address format").
#ifndef RINGFENCE_SENTRY_NET_UNIX_UNIX_ADDRESS_H_
#define RINGFENCE_SENTRY_NET_UNIX_UNIX_ADDRESS_H_

#include <memory>
#include <string>

#include "sentry/net/socket.h"

namespace ringfence::sentry {

struct UnixAddress {
  enum class Kind : uint8_t { kUnnamed, kPath, kAbstract };
  Kind kind = Kind::kUnnamed;
  std::string name;  // the path, or the abstract name without its leading NUL
};

// EINVAL: too short, too long, another family. Only the family: kUnnamed.
Result<UnixAddress> ParseUnixAddress(const SocketAddress& address);
SocketAddress EncodeUnixAddress(const UnixAddress& address);

// The name of a bound socket. Immutable, shared with the messages it has sent.
struct UnixName {
  UnixAddress address;
  DentryRef place;  // of a path
  SocketAddress encoded;
};
using UnixNameRef = std::shared_ptr<const UnixName>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_NET_UNIX_UNIX_ADDRESS_H_
