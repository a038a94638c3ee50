"""Runs the static checks: format, rules, layers, python, clang (thread-safety), tidy."""

import os
import subprocess
import sys
import time

import layers
import source_rules
import tidy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def sources(*suffixes):
    """Tracked and new files of the repository with these suffixes, relative to its root."""
    git = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().split("\n")
    return sorted(f for f in set(listed)
                  if f.endswith(suffixes) and os.path.isfile(os.path.join(ROOT, f)))


def command(*argv):
    """Problems of a command: its output if it failed."""
    done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return [] if done.returncode == 0 else done.stdout.decode("utf-8", "replace").split("\n")


def check_format():
    return command("clang-format", "--dry-run", "-Werror", *sources(".h", ".cc"))


def check_rules():
    return source_rules.problems(ROOT, sources(".h", ".cc", ".c", ".S", ".py", ".bzl", ".sh"))


def check_layers():
    return layers.problems(ROOT)


def check_scripts():
    problems = command("python3", "-B", "-c",
                       "import ast, sys\nfor f in sys.argv[1:]: ast.parse(open(f).read(), f)",
                       *sources(".py"))
    for script in [f for f in sources("") if _is_bash(f)]:
        problems += command("bash", "-n", script)
    return problems


def _is_bash(path):
    with open(os.path.join(ROOT, path), "rb") as file:
        return file.read(20).startswith((b"#!/bin/bash", b"#!/bin/sh"))


def check_clang():
    targets = ["//%s/..." % d for d in ("platform", "sentry", "gofer", "runtime")
               if os.path.isdir(os.path.join(ROOT, d))]
    return command("bazel", "build", "--config=clang", "--color=no", "-k", *targets)


def check_tidy():
    folders = ("platform/", "sentry/", "gofer/", "runtime/", "bench/")
    units = [f for f in sources(".cc") if f.startswith(folders) and not f.endswith("_test.cc")]
    return tidy.problems(ROOT, units)


CHECKS = {
    "format": check_format,
    "rules": check_rules,
    "layers": check_layers,
    "scripts": check_scripts,
    "clang": check_clang,
    "tidy": check_tidy,
}


def main():
    names = sys.argv[1:] or list(CHECKS)
    unknown = [n for n in names if n not in CHECKS]
    if unknown:
        print("check: no check is called %s; there are: %s" %
              (", ".join(unknown), ", ".join(CHECKS)), file=sys.stderr)
        return 2
    failed = []
    for name in names:
        began = time.monotonic()
        problems = CHECKS[name]()
        for line in problems[:200]:
            print(line)
        print("check %-8s %s  %.1fs" % (name, "FAILED" if problems else "ok",
                                        time.monotonic() - began), flush=True)
        if problems:
            failed.append(name)
    print("check: " + ("failed: " + ", ".join(failed) if failed else "all ok"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
