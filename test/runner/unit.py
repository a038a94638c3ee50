"""Bazel's cc_test targets, run directly so that exit status 77 is understood."""

import concurrent.futures
import dataclasses
import os
import re
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree

import proc
import report

_LIMITS = {"small": 60, "short": 60, "medium": 120, "moderate": 120, "large": 600, "long": 600,
           "enormous": 1800, "eternal": 1800}


@dataclasses.dataclass
class UnitTest:
    name: str
    part: str
    limit: float
    exclusive: bool

    def binary(self, root):
        package, target = self.name[2:].split(":")
        return os.path.join(root, "bazel-bin", package, target)


def discover(root):
    """All cc_test targets that are not tagged manual."""
    xml = subprocess.run(
        ["bazel", "query", "--output=xml", "kind(cc_test, //...)"],
        cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if xml.returncode != 0:
        raise RuntimeError("bazel query failed:\n" + xml.stderr.decode("utf-8", "replace"))
    # Bazel writes an XML 1.1 declaration, which Python's parser refuses.
    text = re.sub(r"^<\?xml[^>]*\?>", "", xml.stdout.decode())
    return sorted(filter(None, map(_parse, ElementTree.fromstring(text).iter("rule"))),
                  key=lambda test: test.name)


def _parse(rule):
    tags = {s.get("value") for s in rule.findall("list[@name='tags']/string")}
    if "manual" in tags:
        return None
    strings = {s.get("name"): s.get("value") for s in rule.findall("string")}
    limit = _LIMITS.get(strings.get("timeout") or strings.get("size") or "medium", 120)
    return UnitTest(name=rule.get("name"), part="long" if "long" in tags else "quick", limit=limit,
                    exclusive="exclusive" in tags)


def run_all(root, tests, deadline, env, out):
    """Runs two at a time, the exclusive ones last and alone."""
    shared = [t for t in tests if not t.exclusive]
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for future in [pool.submit(_run, root, t, deadline, env, out) for t in shared]:
            future.result()
    for test in tests:
        if test.exclusive:
            _run(root, test, deadline, env, out)


def _run(root, test, deadline, env, out):
    began = time.monotonic()
    left = deadline - began
    if left <= 0:
        out.result(test.name, test.part, report.FAIL, 0, "not run: the time for all tests was over")
        return
    binary = test.binary(root)
    if not os.path.exists(binary):
        out.result(test.name, test.part, report.FAIL, 0, "not built")
        return
    runfiles = binary + ".runfiles/ringfence"
    with tempfile.TemporaryDirectory(prefix="ringfence-test-") as scratch:
        status, log = proc.run(
            [binary], min(test.limit, left), cwd=runfiles if os.path.isdir(runfiles) else root,
            env=dict(env, TMPDIR=scratch, TEST_TMPDIR=scratch, TEST_SRCDIR=binary + ".runfiles"))
    outcome, detail = judge(status, log)
    out.result(test.name, test.part, outcome, time.monotonic() - began, detail, log)


def judge(status, log):
    """(outcome, detail) of a finished test binary."""
    reason = re.search(r"^SKIPPED: *(.*)$", log, re.MULTILINE)
    if status == 77 or (status == 0 and reason):
        return report.SKIP, reason.group(1) if reason else "exit status 77"
    if status == 0:
        return report.PASS, ""
    return report.FAIL, proc.describe(status)
