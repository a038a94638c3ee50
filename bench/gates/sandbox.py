"""Sandboxes for gates: started, watched from outside through /proc, ended; and how a gate is run."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
RINGFENCE = os.environ.get("RINGFENCE", str(TOP / "out/ringfence"))
PROGRAMS = pathlib.Path(os.environ.get("RINGFENCE_BIN", os.path.realpath(TOP / "bazel-bin")), "test/programs")
# Ratios of a machine that others use, too, are measured again before they count as missed.
TRIES = 3
MAX_OTHERS = 0.15


class Missed(Exception):
    """A gate's pass line was missed."""


class Skipped(Exception):
    """What a gate needs is not there."""


def expect(condition, text):
    if not condition:
        raise Missed(text)


def descendants(pid):
    """`pid` and all processes below it."""
    found = [pid]
    for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            found += descendants(int(child))
    return found


class Sandbox:
    """A running `ringfence do`. In `cgroups`, which are directories of the host's."""

    def __init__(self, *command, flags=(), cgroups=()):
        def enter():
            for directory in cgroups:
                (directory / "cgroup.procs").write_text(str(os.getpid()))

        self._stats = tempfile.NamedTemporaryFile()
        self._process = subprocess.Popen(
            [RINGFENCE, "do", f"--stats={self._stats.name}", *flags, "--", *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, preexec_fn=enter)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pids = self.pids() if self._process.poll() is None else []
        # The program's end first: what a killed CLI leaves behind is not in our own rusage.
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            time.sleep(0.01)
        self._process.stdout.close()
        self._stats.close()

    def line(self):
        """The next line that the program prints."""
        return self._process.stdout.readline().strip()

    def wait(self, timeout=120):
        """The program's output to its end and the sandbox's counters."""
        output, _ = self._process.communicate(timeout=timeout)
        expect(self._process.returncode == 0, f"status {self._process.returncode}")
        return output, json.load(open(self._stats.name))

    def pids(self):
        return descendants(self._process.pid)

    def switches(self):
        """{(pid, tid, name): times it was given a CPU after it had none}."""
        found = {}
        for pid in self.pids():
            for file in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
                try:
                    lines = (line.partition(":") for line in file.read_text().splitlines())
                except FileNotFoundError:
                    continue
                fields = {name: value.strip() for name, _, value in lines}
                found[pid, int(fields["Pid"]), fields["Name"]] = (
                    int(fields["voluntary_ctxt_switches"]) + int(fields["nonvoluntary_ctxt_switches"]))
        return found

    def cpu_seconds(self):
        """(name, seconds of CPU) of each thread."""
        found = []
        for pid in self.pids():
            for file in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
                try:
                    head, _, tail = file.read_text().rpartition(")")
                except FileNotFoundError:
                    continue
                user, system = map(int, tail.split()[11:13])
                found.append((head.partition("(")[2], (user + system) / os.sysconf("SC_CLK_TCK")))
        return found

    def memory_kib(self, field):
        """{pid: that field of smaps_rollup}."""
        found = {}
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(field + ":"):
                    found[pid] = int(line.split()[1])
        return found


class Others:
    """CPU time that others than this process and its children use, as a share of all CPUs."""

    def __init__(self):
        self._start, self._busy, self._ours = time.monotonic(), self._all(), self._own()

    def share(self):
        others = self._all() - self._busy - (self._own() - self._ours)
        return max(0.0, others / (time.monotonic() - self._start) / os.cpu_count())

    @staticmethod
    def _all():
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own():
        return sum(os.times()[:4])


def retried(measure):
    """`measure` until it does not miss, at most TRIES times; its result with what was missed before. Where
    others use the CPUs each time, nothing was measured: that is skipped."""
    missed, busy = [], []
    while True:
        others = Others()
        try:
            return "; ".join([measure()] + [f"missed before: {text}" for text in missed])
        except Missed as error:
            busy.append(others.share())
            missed.append(f"{error} (others used {busy[-1]:.0%} of the CPUs)")
        if len(missed) == TRIES:
            if min(busy) > MAX_OTHERS:
                raise Skipped("the machine is busy: " + " / ".join(missed))
            raise Missed(" / ".join(missed))
        time.sleep(1)


def main(gates, description):
    """Runs all of `gates` or those named on the command line; prints a line for each."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("gates", nargs="*", metavar="GATE")
    options = parser.parse_args()
    missed = 0
    for gate in gates:
        name = gate.__name__
        if options.gates and name not in options.gates:
            continue
        try:
            if not os.access("/dev/kvm", os.R_OK | os.W_OK):
                raise Skipped("no /dev/kvm")
            print(f"ok {name} # {gate()}", flush=True)
        except Skipped as reason:
            print(f"skip {name} # {reason}", flush=True)
        except (Missed, subprocess.SubprocessError, OSError, ValueError) as error:
            missed += 1
            print(f"not ok {name}\n#   {error}", flush=True)
    sys.exit(1 if missed else 0)
