#include "runtime/control/wire.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>

namespace ringfence::runtime {
namespace {

TEST_CASE("messages arrive whole and in order") {
  auto [a, b] = ControlSocket::MakePair().value();
  REQUIRE(a.Send({.kind = MessageKind::kStarted, .text = {}}).ok());
  REQUIRE(a.Send({.kind = MessageKind::kFailed, .value = 127, .text = "no\tsuch"}).ok());
  REQUIRE(b.Send({.kind = MessageKind::kSignal, .value = 2, .text = {}}).ok());
  CHECK(b.Receive()->kind == MessageKind::kStarted);
  const std::optional<Message> failed = b.Receive();
  REQUIRE(failed.has_value());
  CHECK(failed->value == 127);
  CHECK(failed->text == "no\tsuch");
  CHECK(a.Receive()->value == 2);
}

TEST_CASE("a peer that left") {
  auto [a, b] = ControlSocket::MakePair().value();
  REQUIRE(a.Send({.kind = MessageKind::kFinished, .value = 9, .text = {}}).ok());
  a.Close();
  CHECK(b.Receive()->value == 9);
  CHECK_FALSE(b.Receive().has_value());
  CHECK(b.Send({.kind = MessageKind::kStarted, .text = {}}).code() ==
        absl::StatusCode::kUnavailable);
}

TEST_CASE("text stays one printable line of bounded length") {
  const Message hostile = {.kind = MessageKind::kFailed, .text = "a\nb\x1b[2J\x7f"};
  CHECK(Decode(Encode(hostile))->text == "a?b?[2J?");
  const Message longer = {.kind = MessageKind::kFailed, .text = std::string(10'000, 'x')};
  CHECK(Decode(Encode(longer))->text.size() == kMaxMessageText);
}

TEST_CASE("nonsense is no message") {
  CHECK_FALSE(Decode("").has_value());
  CHECK_FALSE(Decode(std::string(7, '\1')).has_value());
  CHECK_FALSE(Decode(std::string(8, '\0')).has_value());
  CHECK_FALSE(Decode(std::string(8, '\xff')).has_value());
  std::string large = Encode({.kind = MessageKind::kFailed, .text = std::string(4096, 'x')});
  CHECK(Decode(large).has_value());
  CHECK_FALSE(Decode(large + "x").has_value());
}

}  // namespace
}  // namespace ringfence::runtime
