#!/usr/bin/env python3
# ringfence-suite: name=runner part=quick timeout=60
"""The runner's own tests: it must not be possible to pass by hanging, dying or doing nothing."""

import io
import os
import stat
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import host  # noqa: E402
import report  # noqa: E402
import suite  # noqa: E402
import unit  # noqa: E402


def run_script(body, marker="timeout=1", kind=host.PVM, expected="pvm made-up:allowed why\n",
               full=False):
    """Runs a made-up suite; returns (exit status, last line, seconds), or all that was printed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "made-up")
        with open(path, "w") as file:
            file.write("#!/bin/sh\n# ringfence-suite: name=made-up %s\n%s\n" % (marker, body))
        os.chmod(path, stat.S_IRWXU)
        skips = os.path.join(folder, "skips")
        with open(skips, "w") as file:
            file.write(expected)
        text = io.StringIO()
        out = report.Report(host.ExpectedSkips(skips, kind), text)
        began = time.monotonic()
        suite.run(folder, suite.parse(path), began + 20, dict(os.environ), out)
        status = out.finish()
        if full:
            return text.getvalue()
        return status, text.getvalue().rstrip("\n").split("\n")[-1], time.monotonic() - began


def passes():
    return run_script("echo 1..2; echo ok a; echo noise; echo ok b")[:2] == (0, "2 passed, 0 failed")


def failure_counts():
    return run_script("echo ok a; echo not ok b")[:2] == (1, "1 passed, 1 failed")


def explanation_is_shown():
    text = run_script("echo not ok a; echo '# because'; echo ok b; echo '# hidden'", full=True)
    return "# because" in text and "# hidden" not in text


def hang_is_failure_and_is_killed():
    status, last, seconds = run_script("echo ok a; sleep 77 & sleep 76")
    return (status, last) == (1, "1 passed, 1 failed") and seconds < 10


def child_that_keeps_the_pipe_is_killed():
    status, last, seconds = run_script("echo ok a; sleep 78 & exit 0")
    return (status, last) == (1, "1 passed, 1 failed") and seconds < 10


def nothing_run_is_failure():
    return run_script("exit 0")[:2] == (1, "0 passed, 1 failed")


def crash_is_failure():
    return run_script("echo ok a; kill -9 $$")[:2] == (1, "1 passed, 1 failed")


def missing_tests_are_failure():
    return run_script("echo 1..3; echo ok a")[:2] == (1, "1 passed, 1 failed")


def expected_skip():
    body = "echo ok a; echo 'skip allowed # no reason'"
    return run_script(body)[:2] == (0, "1 passed, 0 failed, 1 skipped")


def unexpected_skip_is_failure():
    return run_script("echo ok a; echo 'skip other # x'")[:2] == (1, "1 passed, 1 failed")


def skip_of_another_kind_is_failure():
    return run_script("echo ok a; echo 'skip allowed'", kind=host.HW)[0] == 1


def only_skips_is_failure():
    return run_script("echo skip allowed")[:2] == (1, "0 passed, 0 failed, 1 skipped")


def lab_skip_in_ci_is_failure():
    before = os.environ.get("CI")
    try:
        os.environ["CI"] = "true"
        in_ci = run_script("echo ok a; echo skip allowed", "part=lab timeout=1")[0]
        os.environ["CI"] = ""
        elsewhere = run_script("echo ok a; echo skip allowed", "part=lab timeout=1")[0]
    finally:
        os.environ.pop("CI")
        if before is not None:
            os.environ["CI"] = before
    return (in_ci, elsewhere) == (1, 0)


def zero_tests_is_failure():
    return report.Report(host.ExpectedSkips("/nonexistent", host.PVM), io.StringIO()).finish() == 1


def unit_exit_codes():
    return [unit.judge(s, log)[0] for s, log in
            ((0, ""), (77, ""), (0, "x\nSKIPPED: no kvm\n"), (1, "SKIPPED: x"), (-11, ""),
             (None, ""))] == ["ok", "skip", "skip", "FAILED", "FAILED", "FAILED"]


def main():
    tests = [passes, failure_counts, explanation_is_shown, hang_is_failure_and_is_killed,
             child_that_keeps_the_pipe_is_killed, nothing_run_is_failure, crash_is_failure,
             missing_tests_are_failure, expected_skip, unexpected_skip_is_failure,
             skip_of_another_kind_is_failure, only_skips_is_failure, lab_skip_in_ci_is_failure,
             zero_tests_is_failure, unit_exit_codes]
    print("1..%d" % len(tests), flush=True)
    for test in tests:
        print("%s %s" % ("ok" if test() else "not ok", test.__name__), flush=True)


if __name__ == "__main__":
    main()
