"""Builds, runs every test, prints one last line. See README.md."""

import argparse
import fnmatch
import os
import shutil
import signal
import subprocess
import sys
import time

import host
import proc
import report
import suite
import unit

PARTS = ("quick", "long", "lab")
SUITE_FOLDERS = ("test", "bench/gates")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_STARTED = time.clock_gettime(time.CLOCK_MONOTONIC)


def arguments():
    parser = argparse.ArgumentParser(prog="run-tests")
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--list", action="store_true", help="print the names, run nothing")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--deadline", type=float, default=5000, help="seconds for the whole run")
    parser.add_argument("patterns", nargs="*", help="shell patterns over names")
    options = parser.parse_args()
    options.part = options.part or list(PARTS)
    return options


def build(out):
    """Builds everything and puts the CLI in its place; False if that failed."""
    began = time.monotonic()
    out.note("building //...")
    status, log = proc.run(["bazel", "build", "--color=no", "//..."], 4000, cwd=ROOT)
    if status != 0:
        out.result("build", "quick", report.FAIL, time.monotonic() - began, proc.describe(status),
                   log)
        return False
    binary = os.path.join(ROOT, "bazel-bin/runtime/main/ringfence")
    os.makedirs(os.path.join(ROOT, "out"), exist_ok=True)
    target = os.path.join(ROOT, "out/ringfence")
    shutil.copyfile(binary, target + ".new")
    os.chmod(target + ".new", 0o755)
    os.replace(target + ".new", target)
    out.note("built in %.0f s" % (time.monotonic() - began))
    return True


def selected(options, name, part):
    if part not in options.part:
        return False
    return not options.patterns or any(fnmatch.fnmatchcase(name, p) for p in options.patterns)


def environment(kind):
    return dict(os.environ, HOST_KIND=kind, RINGFENCE_ROOT=ROOT,
                RINGFENCE_SINCE=str(_STARTED),
                RINGFENCE=os.path.join(ROOT, "out/ringfence"),
                RINGFENCE_BIN=os.path.realpath(os.path.join(ROOT, "bazel-bin")))


def run(options, out, kind):
    if not options.list and not options.no_build and not build(out):
        return
    tests = [t for t in unit.discover(ROOT) if selected(options, t.name, t.part)]
    suites = [s for folder in SUITE_FOLDERS for s in suite.discover(ROOT, folder)
              if selected(options, s.name, s.part)]
    if options.list:
        for item in tests + suites:
            print(item.part, item.name)
        return
    deadline = time.monotonic() + options.deadline
    for part in PARTS:
        unit.run_all(ROOT, [t for t in tests if t.part == part], deadline, environment(kind), out)
        for item in suites:
            if item.part == part:
                out.note("suite %s" % item.name)
                suite.run(ROOT, item, deadline, environment(kind), out)


def interrupted(number, _frame):
    proc.stop_all()
    raise InterruptedError("interrupted by " + signal.Signals(number).name)


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    kind = host.kind()
    out = report.Report(host.ExpectedSkips(os.path.join(ROOT, "tools/expected-skips"), kind))
    if not options.list:
        out.note("host kind: %s" % kind)
    try:
        run(options, out, kind)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        out.result("runner", "quick", report.FAIL, 0, str(error))
    finally:
        proc.stop_all()
    return 0 if options.list else out.finish()


if __name__ == "__main__":
    sys.exit(main())
