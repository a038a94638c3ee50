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
    """A running `ringfence do`. With `cgroup`, a directory of the host, in that cgroup."""

    def __init__(self, *command, flags=(), cgroups=(), pin=None):
        def enter():
            for directory in cgroups:
                (directory / "cgroup.procs").write_text(str(os.getpid()))
            if pin is not None:
                os.sched_setaffinity(0, pin)

        self._stats = tempfile.NamedTemporaryFile()
        self._process = subprocess.Popen(
            [RINGFENCE, "do", f"--stats={self._stats.name}", *flags, "--", *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, preexec_fn=enter)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pids = self.pids() if self._process.poll() is None else []
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
        """The program's output to its end, the sandbox's counters, and what it used of the CPUs in seconds."""
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

    def memory_kib(self, field):
        """{pid: that field of smaps_rollup}."""
        found = {}
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(field + ":"):
                    found[pid] = int(line.split()[1])
        return found


def retried(measure):
    """`measure` until it does not miss, at most TRIES times; its result with what was missed before."""
    missed = []
    while True:
        try:
            return "; ".join([measure()] + [f"missed before: {text}" for text in missed])
        except Missed as error:
            missed.append(str(error))
            if len(missed) == TRIES:
                raise Missed(" / ".join(missed)) from None
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
