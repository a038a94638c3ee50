#!/usr/bin/env python3
# ringfence-suite: name=checks-self part=quick timeout=60
"""The static checks find what they are there to find, and nothing in good code."""

import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tools/checks"))
import layers  # noqa: E402
import source_rules  # noqa: E402

MARKER = "TO" "DO"


def rules(path, text):
    """The problems of one made-up file."""
    with tempfile.TemporaryDirectory() as root:
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full))
        with open(full, "w") as file:
            file.write(text)
        return source_rules.problems(root, [path])


def rule_cases():
    cast = "long f(char* p) { return *reinterpret_cast<long*>(p); }\n"
    safe = "// SAFETY: p is aligned.\n" + cast
    yield "good_code", not rules("sentry/mm/a.cc", "int f() { return 1; }\n")
    yield "long_file", rules("sentry/mm/a.cc", "\n" * 801)
    yield "allowed_length", not rules("sentry/mm/a.cc", "\n" * 800)
    yield "marker", rules("sentry/mm/a.cc", "// %s: later\n" % MARKER)
    yield "cast", rules("sentry/mm/a.cc", cast)
    yield "cast_in_comment", not rules("sentry/mm/a.cc", "// no reinterpret_cast here\n")
    yield "cast_in_test", not rules("sentry/mm/a_test.cc", cast)
    yield "cast_in_unsafe", not rules("sentry/mm/a_unsafe.cc", safe)
    yield "cast_in_arch", not rules("sentry/mm/arch/x86_64/a.cc", safe)
    yield "cast_without_safety", rules("sentry/mm/a_unsafe.cc", cast)
    yield "asm", rules("platform/kvm/a.cc", 'void f() { asm("nop"); }\n')
    yield "ioctl", rules("platform/kvm/a.cc", "int f() { return ::ioctl(1, 2); }\n")
    yield "ioctl_method", not rules("sentry/vfs/a.cc", "int f(F& x) { return x.ioctl(1); }\n")
    yield "arch_ifdef", rules("gofer/wire/a.cc", "#if defined(__x86_64__)\n#endif\n")
    yield "exception", rules("sentry/mm/a.cc", "void f() { throw 1; }\n")
    yield "try_in_list", rules("gofer/wire/a.cc", "A f() { return A{name(), TRY(g())}; }\n")
    yield "try_first_in_list", not rules("gofer/wire/a.cc", "A f() { return A{TRY(g()), 1}; }\n")
    yield "try_in_call", not rules("gofer/wire/a.cc", "A f() { return h(1, TRY(g())); }\n")
    yield "guard", rules("sentry/mm/a.h", "#pragma once\n")


def layer_cases():
    yield "upwards", layers.judge("sentry/mm", "sentry/kernel", False)
    yield "downwards", not layers.judge("sentry/kernel", "sentry/mm", False)
    yield "sentry_to_kvm", layers.judge("sentry/boot", "platform/kvm/arch/x86_64", False)
    yield "runtime_to_kvm", not layers.judge("runtime/main", "platform/kvm", False)
    yield "gofer_to_sentry", layers.judge("gofer/server", "sentry/base", False)
    yield "base_to_mem", layers.judge("platform/base", "platform/mem", False)
    yield "test_helper", not layers.judge("sentry/mm", "test/util", True)
    yield "test_helper_in_product", layers.judge("sentry/mm", "test/util", False)
    yield "unknown_folder", layers.judge("sentry/mm", "cloud/azure", False)
    yield "third_party", not layers.judge("proto/gofer", "third_party/grpc", False)


def main():
    for prefix, cases in (("rule-", rule_cases()), ("layer-", layer_cases())):
        for name, holds in cases:
            print("%s %s%s" % ("ok" if holds else "not ok", prefix, name), flush=True)


if __name__ == "__main__":
    main()
