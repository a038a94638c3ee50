"""Rules over the text of the sources: sizes, places for danger, no markers left behind."""

import os
import re

_MAX_LINES = 800
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])'|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)

_ARCH_IFDEF = re.compile(r"^\s*#\s*(?:el)?if.*\b(?:__x86_64__|__amd64__|__i386__|__aarch64__|__arm__"
                         r"|__riscv)", re.MULTILINE)
_DANGER = re.compile(r"\breinterpret_cast\b(?!<u?int(?:ptr|64)_t>)|\basm\b(?=\s*(?:volatile|goto|inline)?\s*\()|\b__asm__\b"
                     r"|(?<![\w.>:])(?:::)?(?:ioctl|mmap)\s*\(")
_EXCEPTIONS = re.compile(r"\bdynamic_cast\b|\btypeid\b|\bthrow\b|\bcatch\s*\(")
# A return from inside of a braced list: GCC and Clang do not destroy the members made before it.
_TRY_IN_LIST = re.compile(r"\{(?:[^{}();]|\([^(){};]*\))*,\s*TRY\(")
# Spelled apart, so that this file passes its own check.
_MARKER = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def _is_arch(path):
    return "/arch/" in path


def _is_unsafe(path):
    return _is_arch(path) or re.search(r"_unsafe\.(?:h|cc)$", path) is not None


def _is_test(path):
    return re.search(r"_(?:test|fuzz|bench)\.(?:cc|h)$|(?:^|/)test(?:ing|only)?[/_]", path) is not None


def _code(text):
    """The text without comments and string literals; line numbers stay."""
    return _COMMENT.sub(lambda m: "\n" * m.group(0).count("\n") or " ", text)


def _hits(path, pattern, text, what):
    return ["%s:%d: %s: %s" % (path, text.count("\n", 0, m.start()) + 1, what,
                               m.group(0).strip()) for m in pattern.finditer(text)]


def _check_cpp(path, text):
    found, code, ours = [], _code(text), path.startswith(("platform/", "sentry/"))
    if not _is_arch(path) and not path.startswith("third_party/"):
        found += _hits(path, _ARCH_IFDEF, code, "arch #if outside arch/ (use Bazel select())")
    found += _hits(path, _TRY_IN_LIST, code, "TRY after another member of a braced list leaks it")
    if ours and not _is_test(path):
        found += _hits(path, _EXCEPTIONS, code, "no exceptions and no RTTI in platform/, sentry/")
        danger = _hits(path, _DANGER, code, "only in *_unsafe.{h,cc} or arch/")
        if not _is_unsafe(path):
            found += danger
        elif danger and "SAFETY:" not in text:
            found.append("%s: dangerous code without a // SAFETY: comment" % path)
    if path.endswith(".h") and not path.startswith("third_party/"):
        guard = "RINGFENCE_" + re.sub(r"[/.\-]", "_", path).upper() + "_"
        if "#ifndef %s\n#define %s\n" % (guard, guard) not in text:
            found.append("%s:1: header guard %s is missing" % (path, guard))
    return found


def problems(root, paths):
    found = []
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            text = file.read()
        lines = text.count("\n")
        if lines > _MAX_LINES:
            found.append("%s: %d lines, at most %d are allowed" % (path, lines, _MAX_LINES))
        found += _hits(path, _MARKER, text, "no markers")
        if path.endswith((".h", ".cc")):
            found += _check_cpp(path, text)
    return found
