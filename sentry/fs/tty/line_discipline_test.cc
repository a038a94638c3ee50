#include "sentry/fs/tty/line_discipline.h"

#include <catch2/catch.hpp>

namespace ringfence::sentry {
namespace {

// A discipline with a person at it.
struct Typist {
  explicit Typist(void (*change)(Termios&) = nullptr) : discipline(Settings(change)) {}
  static Termios Settings(void (*change)(Termios&)) {
    Termios t = DefaultTermios();
    if (change != nullptr) change(t);
    return t;
  }
  size_t Type(std::string_view keys) { return discipline.Receive(keys, &effects); }
  std::string Screen() {
    std::string text(discipline.output_size(), '\0');
    discipline.TakeOutput(text.data(), text.size());
    return text;
  }
  std::string Read(size_t n = 4096) {
    std::string text(n, '\0');
    text.resize(discipline.Read(text.data(), n));
    return text;
  }
  void Change(void (*change)(Termios&)) {
    Termios t = discipline.termios();
    change(t);
    discipline.SetTermios(t);
  }
  LineDiscipline discipline;
  LineDiscipline::Effects effects;
};

void Raw(Termios& t) {
  t.c_iflag = 0;
  t.c_oflag = 0;
  t.c_lflag = 0;
}

TEST_CASE("A line is readable when it has ended") {
  Typist t;
  t.Type("ab");
  CHECK(!t.discipline.Readable());
  CHECK(t.discipline.Available() == 0);
  CHECK(t.discipline.HasUnfinishedLine());
  t.Type("c\r");
  CHECK(t.discipline.Readable());
  CHECK(t.discipline.Available() == 4);
  CHECK(t.Screen() == "abc\r\n");
  CHECK(t.Read() == "abc\n");
  CHECK(!t.discipline.Readable());
}

TEST_CASE("A read takes at most one line, and a long line in parts") {
  Typist t;
  t.Type("one\ntwo\n");
  CHECK(t.Read(2) == "on");
  CHECK(t.Read() == "e\n");
  CHECK(t.Read(3) == "two");
  CHECK(t.Read() == "\n");
}

TEST_CASE("VEOF ends a line without a byte") {
  Typist t;
  t.Type("ab\x04\x04");
  CHECK(t.Read() == "ab");
  CHECK(t.discipline.Readable());
  CHECK(t.Read().empty());
  CHECK(!t.discipline.Readable());
  t.Type("abc\x04");
  CHECK(t.Read(3) == "abc");  // and the end with it
  CHECK(!t.discipline.Readable());
  CHECK(t.Screen() == "ababc");
}

TEST_CASE("VERASE, VWERASE and VKILL edit what was typed, on the screen as well") {
  Typist t;
  t.Type("abx\x7f\n");
  CHECK(t.Read() == "ab\n");
  CHECK(t.Screen() == "abx\b \b\r\n");
  t.Type("one two  \x17X\n");
  CHECK(t.Read() == "one X\n");
  CHECK(t.Screen() == "one two  \b \b\b \b\b \b\b \b\b \bX\r\n");
  t.Type("gone\x15kept\n");
  CHECK(t.Read() == "kept\n");
  CHECK(t.Screen() == "gone\b \b\b \b\b \b\b \bkept\r\n");
  t.Type("\x7f\x17\x15");
  CHECK(t.Screen().empty());
}

TEST_CASE("Control characters take two columns, tabs those they had") {
  Typist t;
  t.Type("\x01\x7f");
  CHECK(t.Screen() == "^A\b \b\b \b");
  t.Type("ab\t\x7f");
  CHECK(t.Screen() == "ab\t\b\b\b\b\b\b");
  t.Type("\n");
  CHECK(t.Read() == "ab\n");
  t.discipline.Write("prompt");  // a tab after a prompt is shorter
  t.Type("\t\x7f");
  CHECK(t.Screen() == "\r\nprompt\t\b\b");
}

TEST_CASE("IUTF8 erases whole characters") {
  Typist t([](Termios& s) { s.c_iflag |= IUTF8; });
  t.Type("a\xc3\xa9\x7f\n");
  CHECK(t.Read() == "a\n");
  CHECK(t.Screen() == "a\xc3\xa9\b \b\r\n");
  Typist bytes;
  bytes.Type("a\xc3\xa9\x7f\n");
  CHECK(bytes.Read() == "a\xc3\n");
}

TEST_CASE("Without ECHOKE the killed line is left behind, without ECHOE the key is shown") {
  Typist t([](Termios& s) { s.c_lflag &= ~uint32_t{ECHOKE}; });
  t.Type("gone\x15kept\n");
  CHECK(t.Screen() == "gone^U\r\nkept\r\n");
  Typist plain([](Termios& s) { s.c_lflag &= ~uint32_t{ECHOE}; });
  plain.Type("ab\x7f\n");
  CHECK(plain.Screen() == "ab^?\r\n");
  Typist printer([](Termios& s) { s.c_lflag |= ECHOPRT; });
  printer.Type(
      "ab\x7f\x7f"
      "c\n");
  CHECK(printer.Screen() == "ab\\ba/c\r\n");
}

TEST_CASE("VLNEXT takes the next key as it is") {
  Typist t;
  t.Type(
      "a\x16\x03"
      "b\x16\n\n");
  CHECK(t.effects.signals.empty());
  CHECK(t.Read() ==
        "a\x03"
        "b\n\n");
  CHECK(t.Screen() == "a^\b^Cb^\b\r\n\r\n");
}

TEST_CASE("VREPRINT shows the line again") {
  Typist t;
  t.Type("abc\x12");
  CHECK(t.Screen() == "abc^R\r\nabc");
}

TEST_CASE("VEOL and VEOL2 end lines") {
  Typist t([](Termios& s) {
    s.c_cc[VEOL] = ';';
    s.c_cc[VEOL2] = '!';
  });
  t.Type("a;b!c");
  CHECK(t.Read() == "a;");
  CHECK(t.Read() == "b!");
  CHECK(!t.discipline.Readable());
}

TEST_CASE("ISIG keys make signals and flush what was typed") {
  Typist t;
  t.Type("line\nabc\x03");
  REQUIRE(t.effects.signals == std::vector<SigNo>{SigNo::kInt});
  CHECK(t.effects.flushed_input);
  CHECK(!t.discipline.Readable());
  CHECK(t.Screen() == "line\r\nabc^C");
  t.effects = {};
  t.Type("\x1c\x1a\x1a");
  CHECK(t.effects.signals == std::vector<SigNo>{SigNo::kQuit, SigNo::kTstp});
  Typist keeps([](Termios& s) { s.c_lflag |= NOFLSH; });
  keeps.Type(
      "a\x03"
      "b\n");
  CHECK(keeps.Read() == "ab\n");
  Typist off([](Termios& s) { s.c_lflag &= ~uint32_t{ISIG}; });
  off.Type("\x03\n");
  CHECK(off.effects.signals.empty());
  CHECK(off.Read() == "\x03\n");
}

TEST_CASE("ICRNL, INLCR and IGNCR") {
  Typist none([](Termios& s) { s.c_iflag = 0; });
  none.Type("a\r\n");
  CHECK(none.Read() == "a\r\n");
  Typist swapped([](Termios& s) { s.c_iflag = INLCR; });
  swapped.Type("a\n");
  CHECK(!swapped.discipline.Readable());
  Typist ignored([](Termios& s) { s.c_iflag = IGNCR | ICRNL; });
  ignored.Type("a\rb\n");
  CHECK(ignored.Read() == "ab\n");
}

TEST_CASE("IXON stops and starts output") {
  Typist t;
  t.Type("\x13");
  CHECK(t.discipline.output_stopped());
  CHECK(t.discipline.WriteRoom() == 0);
  t.Type("\x11");
  CHECK(t.discipline.WriteRoom() > 0);
  t.Type("\x13");
  t.Change([](Termios& s) { s.c_iflag &= ~uint32_t{IXON}; });
  CHECK(!t.discipline.output_stopped());
  Typist any([](Termios& s) { s.c_iflag |= IXANY; });
  any.Type(
      "\x13"
      "a");
  CHECK(!any.discipline.output_stopped());
}

TEST_CASE("Output processing") {
  Typist t;
  t.discipline.Write("a\nb");
  CHECK(t.Screen() == "a\r\nb");
  Typist tabs([](Termios& s) { s.c_oflag |= XTABS; });
  tabs.discipline.Write("ab\tc");
  CHECK(tabs.Screen() == "ab      c");
  Typist upper([](Termios& s) { s.c_oflag = OPOST | OLCUC | OCRNL; });
  upper.discipline.Write("a\rb");
  CHECK(upper.Screen() == "A\nB");
  Typist column([](Termios& s) { s.c_oflag = OPOST | ONOCR; });
  column.discipline.Write("\ra\r");
  CHECK(column.Screen() == "a\r");
  Typist raw(Raw);
  raw.discipline.Write("a\n");
  CHECK(raw.Screen() == "a\n");
}

TEST_CASE("Raw input comes as it is, by bytes") {
  Typist t(Raw);
  t.Type("a\x03\r\x7f");
  CHECK(t.discipline.Readable(4));
  CHECK(!t.discipline.Readable(5));
  CHECK(t.Read() == "a\x03\r\x7f");
  CHECK(t.Screen().empty());
  CHECK(t.effects.signals.empty());
}

TEST_CASE("ECHONL shows the end of a line that nothing else shows") {
  Typist t([](Termios& s) { s.c_lflag = ICANON | ECHONL; });
  t.Type("secret\n");
  CHECK(t.Screen() == "\r\n");
}

TEST_CASE("PARMRK doubles 0xff, ISTRIP cuts the eighth bit, IUCLC makes small letters") {
  Typist t([](Termios& s) { s.c_iflag |= PARMRK; });
  t.Type("\xff\n");
  CHECK(t.Read() == "\xff\xff\n");
  Typist strip([](Termios& s) { s.c_iflag |= ISTRIP | IUCLC; });
  strip.Type(
      "\xc1"
      "B\n");
  CHECK(strip.Read() == "ab\n");
}

TEST_CASE("Leaving canonical mode makes an unfinished line readable, entering ends it") {
  Typist t;
  t.Type("abc");
  t.Change([](Termios& s) { s.c_lflag &= ~uint32_t{ICANON}; });
  CHECK(t.Read(1) == "a");
  t.Change([](Termios& s) { s.c_lflag |= ICANON; });
  CHECK(t.discipline.Readable());
  CHECK(t.Read() == "bc");
}

TEST_CASE("The input is bounded, and its line can always be ended") {
  Typist t([](Termios& s) { s.c_lflag &= ~uint32_t{ECHO}; });
  const std::string many(10000, 'x');
  CHECK(t.Type(many) == many.size());  // the last byte is replaced
  t.Type("\n");
  const std::string line = t.Read(10000);
  CHECK(line.size() == LineDiscipline::kInputCapacity);
  CHECK(line.back() == '\n');
  t.Type("\n");
  CHECK(t.Type(many) < LineDiscipline::kInputCapacity);  // a line is waiting: no room
  Typist raw(Raw);
  CHECK(raw.Type(many) == LineDiscipline::kInputCapacity - 1);
}

TEST_CASE("Echo into a full screen is dropped") {
  Typist t([](Termios& s) { s.c_lflag &= ~uint32_t{ICANON | ISIG}; });
  t.discipline.Write(std::string(t.discipline.WriteRoom(), '\n'));
  for (int i = 0; i < 100; ++i) {
    t.Type(std::string(4000, 'x'));
    t.discipline.FlushInput();
  }
  CHECK(t.discipline.output_size() < 64 * 1024);
  CHECK(t.discipline.WriteRoom() == 0);
}

TEST_CASE("tcflow") {
  Typist t;
  t.discipline.SuspendOutput(true);
  t.Type("\x11");
  CHECK(t.discipline.output_stopped());
  t.discipline.SuspendOutput(false);
  CHECK(!t.discipline.output_stopped());
  t.discipline.SendFlowControl(true);
  CHECK(t.Screen() == "\x13");
}

}  // namespace
}  // namespace ringfence::sentry
