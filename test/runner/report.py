"""Progress, one line per test, and the last line."""

import sys
import threading
import time

PASS, FAIL, SKIP = "ok", "FAILED", "skip"
_SHOWN_LOG_LINES = 60


class Report:
    """Collects results. Thread-safe."""

    def __init__(self, expected_skips, out=sys.stdout):
        self._expected = expected_skips
        self._out = out
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._failed = []
        self.counts = {PASS: 0, FAIL: 0, SKIP: 0}

    def note(self, text):
        with self._lock:
            print(text, file=self._out, flush=True)

    def result(self, name, part, outcome, seconds, detail="", log=""):
        """Counts and prints one test. detail: why; log: shown if it failed."""
        if outcome == SKIP and not self._expected.allows(name, part):
            outcome, detail = FAIL, "unexpected skip: " + (detail or "no reason given")
        with self._lock:
            self.counts[outcome] += 1
            if outcome == FAIL:
                self._failed.append((name, detail))
                for line in log.rstrip("\n").split("\n")[-_SHOWN_LOG_LINES:] if log else []:
                    print("    | " + line, file=self._out)
            elapsed = time.monotonic() - self._start
            text = "[%5.0fs] %-6s %s  %.1fs" % (elapsed, outcome, name, seconds)
            if detail:
                text += "  (%s)" % detail
            print(text, file=self._out, flush=True)

    def finish(self):
        """Prints the last line; returns the exit status."""
        passed, failed, skipped = (self.counts[k] for k in (PASS, FAIL, SKIP))
        if passed + failed + skipped == 0:
            self._failed.append(("all", "no test was run"))
        for name, detail in self._failed:
            print("failed: %s%s" % (name, " (%s)" % detail if detail else ""), file=self._out)
        last = "%d passed, %d failed" % (passed, failed)
        if skipped:
            last += ", %d skipped" % skipped
        print(last, file=self._out, flush=True)
        # All skipped is not a success either: nothing was shown to work.
        return 0 if passed > 0 and failed == 0 else 1
