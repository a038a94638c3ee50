#include "runtime/control/wire.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace ringfence::runtime {
namespace {

struct Header {
  MessageKind kind;
  int32_t value;
};

bool IsKnown(MessageKind kind) { return kind >= MessageKind::kSignal && kind <= MessageKind::kLog; }

}  // namespace

std::string OneLine(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) c = '?';
  }
  return line;
}

std::string Encode(const Message& message) {
  const Header header = {.kind = message.kind, .value = message.value};
  std::string bytes(sizeof(header), '\0');
  std::memcpy(bytes.data(), &header, sizeof(header));
  bytes += std::string_view(message.text).substr(0, kMaxMessageText);
  return bytes;
}

std::optional<Message> Decode(std::string_view bytes) {
  Header header;
  if (bytes.size() < sizeof(header) || bytes.size() > sizeof(header) + kMaxMessageText) return {};
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (!IsKnown(header.kind)) return {};
  return Message{
      .kind = header.kind, .value = header.value, .text = OneLine(bytes.substr(sizeof(header)))};
}

absl::StatusOr<std::pair<ControlSocket, ControlSocket>> ControlSocket::MakePair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  return std::pair(ControlSocket(UniqueFd(ends[0])), ControlSocket(UniqueFd(ends[1])));
}

absl::Status ControlSocket::Send(const Message& message) {
  const std::string bytes = Encode(message);
  while (send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return absl::UnavailableError("the other side of the control socket left");
  }
  return absl::OkStatus();
}

bool ControlSocket::TrySend(const Message& message) {
  const std::string bytes = Encode(message);
  return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

std::optional<Message> ControlSocket::Receive() {
  char buffer[sizeof(Header) + kMaxMessageText + 1];
  ssize_t size;
  do {
    size = recv(fd_.get(), buffer, sizeof(buffer), 0);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return {};
  return Decode({buffer, static_cast<size_t>(size)});
}

}  // namespace ringfence::runtime
