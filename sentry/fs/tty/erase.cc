// Editing of the line being typed: VERASE, VWERASE, VKILL, and how the screen shows it.
#include <cctype>

#include "sentry/fs/tty/line_discipline.h"

namespace ringfence::sentry {

void LineDiscipline::Erase(uint8_t key) {
  if (input_.size() == ended_) return;
  const bool one = Is(key, VERASE);
  const bool word = !one && Local(IEXTEN) && Is(key, VWERASE);
  if (!one && !word) {
    const bool visible = Local(ECHOK) && Local(ECHOKE) && Local(ECHOE);
    if (!Local(ECHO) || !visible) {
      input_.resize(ended_);
      if (!Local(ECHO)) return;
      FinishErasing();
      Echo(key);
      if (Local(ECHOK)) EchoRaw('\n');
      return;
    }
  }
  bool seen_word = false;
  while (input_.size() > ended_ && EraseOne(word, one, &seen_word) && !one) {
  }
  if (input_.size() == ended_ && Local(ECHO)) FinishErasing();
}

// Erases one character, of several bytes with IUTF8. False: the word had ended before it.
bool LineDiscipline::EraseOne(bool whole_words, bool only_one, bool* seen_word) {
  size_t head = input_.size();
  uint8_t byte;
  do {
    byte = input_[--head].byte;
  } while (IsContinuation(byte) && head > ended_);
  if (IsContinuation(byte)) return false;  // never half of a character
  if (whole_words) {
    if (std::isalnum(byte) != 0 || byte == '_') {
      *seen_word = true;
    } else if (*seen_word) {
      return false;
    }
  }
  std::string rest;
  for (size_t i = head + 1; i < input_.size(); ++i) rest += static_cast<char>(input_[i].byte);
  input_.resize(head);
  if (Local(ECHO)) EchoErased(byte, only_one, rest);
  return true;
}

void LineDiscipline::EchoErased(uint8_t byte, bool only_one, const std::string& rest) {
  if (Local(ECHOPRT)) {
    if (!erasing_) EchoRaw('\\');
    erasing_ = true;
    Echo(byte);
    for (const char c : rest) EchoRaw(static_cast<uint8_t>(c));
    return;
  }
  if (only_one && !Local(ECHOE)) {
    Echo(termios_.c_cc[VERASE]);
    return;
  }
  if (byte == '\t') {
    EchoErasedTab();
    return;
  }
  const int cells = !IsControl(byte) ? 1 : Local(ECHOCTL) ? 2 : 0;
  for (int i = 0; i < cells; ++i) {
    for (const char c : {'\b', ' ', '\b'}) EchoRaw(static_cast<uint8_t>(c));
  }
}

// Goes back over the columns that the tab had filled.
void LineDiscipline::EchoErasedTab() {
  uint32_t columns = 0;
  bool after_tab = false;
  for (size_t i = input_.size(); i > ended_ && !after_tab; --i) {
    const uint8_t byte = input_[i - 1].byte;
    if (byte == '\t') {
      after_tab = true;
    } else if (IsControl(byte)) {
      if (Local(ECHOCTL)) columns += 2;
    } else if (!IsContinuation(byte)) {
      ++columns;
    }
  }
  if (!after_tab) columns += line_start_;
  for (uint32_t back = 8 - (columns & 7); back > 0; --back) {
    Emit('\b');
    if (column_ > 0) --column_;
  }
}

void LineDiscipline::FinishErasing() {
  if (erasing_) EchoRaw('/');
  erasing_ = false;
}

}  // namespace ringfence::sentry
