"""Suites: executables that print `ok NAME`, `not ok NAME`, `skip NAME # reason`."""

import dataclasses
import os
import queue
import re
import subprocess
import tempfile
import threading
import time

import proc
import report

_MARKER = re.compile(r"^\s*(?:#|//)\s*ringfence-suite:(.*)$", re.MULTILINE)
_RESULT = re.compile(r"^(ok|not ok|skip) (\S+)(?:\s+#?\s*(.*))?$")
_PLAN = re.compile(r"^1\.\.(\d+)\s*$")


@dataclasses.dataclass
class Suite:
    name: str
    path: str
    part: str = "quick"
    limit: float = 60
    first_limit: float = 60


def discover(root, folder="test"):
    """Executables under `folder` with the marker in their first 30 lines."""
    found = []
    for base, dirs, files in os.walk(os.path.join(root, folder)):
        dirs[:] = sorted(d for d in dirs if not d.startswith((".", "bazel-")))
        for name in sorted(files):
            suite = parse(os.path.join(base, name))
            if suite:
                found.append(suite)
    return found


def parse(path):
    if not os.access(path, os.X_OK):
        return None
    with open(path, "rb") as file:
        head = file.read(4096).decode("utf-8", "replace")
    marker = _MARKER.search("\n".join(head.split("\n")[:30]))
    if not marker:
        return None
    values = dict(word.split("=", 1) for word in marker.group(1).split() if "=" in word)
    limit = float(values.get("timeout", 60))
    return Suite(name=values.get("name", os.path.basename(os.path.dirname(path))), path=path,
                 part=values.get("part", "quick"), limit=limit,
                 first_limit=float(values.get("first_timeout", limit)))


class _Run:
    """One run of a suite."""

    def __init__(self, suite, deadline, out):
        self._suite, self._deadline, self._out = suite, deadline, out
        self._results, self._failures, self._planned = 0, 0, None
        self._log, self._last, self._explaining = [], "its start", False
        self._began = time.monotonic()

    def report(self, name, outcome, detail=""):
        now = time.monotonic()
        log = "\n".join(self._log) if outcome == report.FAIL else ""
        self._out.result("%s:%s" % (self._suite.name, name), self._suite.part, outcome,
                         now - self._began, detail, log)
        self._results += 1
        self._failures += outcome == report.FAIL
        self._log, self._last, self._began = [], name, now

    def line(self, text):
        """Takes one line of output; True if it was a result."""
        plan, result = _PLAN.match(text), _RESULT.match(text)
        if plan:
            self._planned = int(plan.group(1))
        elif result:
            word, name, detail = result.groups()
            outcome = {"ok": report.PASS, "not ok": report.FAIL, "skip": report.SKIP}[word]
            self.report(name, outcome, detail or "")
            self._explaining = outcome == report.FAIL
        elif self._explaining and text.startswith("#"):
            self._out.note("    | " + text)
        else:
            self._log.append(text)
        return bool(result)

    def follow(self, lines):
        """Reads until the end of output; False if a time limit was exceeded."""
        limit = self._suite.first_limit
        while True:
            until = min(self._began + limit, self._deadline)
            try:
                text = lines.get(timeout=max(until - time.monotonic(), 0.01))
            except queue.Empty:
                return False
            if text is None:
                return True
            if self.line(text):
                limit = self._suite.limit

    def conclude(self, status):
        if status is None:
            self.report("run", report.FAIL, "hung after " + self._last)
        elif status == 77 and self._results == 0:
            self.report("run", report.SKIP, self._log[-1] if self._log else "exit status 77")
        elif status != 0 and self._failures == 0:
            self.report("run", report.FAIL, proc.describe(status))
        elif self._results == 0:
            self.report("run", report.FAIL, "the suite ran no test")
        elif self._planned is not None and self._results < self._planned:
            self.report("run", report.FAIL, "%d of %d tests are missing" %
                        (self._planned - self._results, self._planned))


def run(root, suite, deadline, env, out):
    """Runs a suite and reports each of its tests."""
    current = _Run(suite, deadline, out)
    if time.monotonic() >= deadline:
        current.report("run", report.FAIL, "not run: the time for all tests was over")
        return
    with tempfile.TemporaryDirectory(prefix="ringfence-suite-", ignore_cleanup_errors=True) as tmp:
        child = proc.start([suite.path], cwd=root, env=dict(env, TMPDIR=tmp),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = queue.Queue()
        threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True).start()
        status = None
        try:
            if current.follow(lines):
                try:
                    status = child.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    pass
        finally:
            proc.stop(child)
        current.conclude(status)


def _pump(stream, lines):
    for raw in stream:
        lines.put(raw.decode("utf-8", "replace").rstrip("\r\n"))
    lines.put(None)
