"""Which case calls which system calls: one traced run of every program without a mutation."""

import concurrent.futures
import dataclasses
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

PROGRAM_LIMIT = 300  # seconds
_CALL = re.compile(r"^\[(\d+)\] (\w+)\(")
_RESULT = re.compile(r"^(not )?ok (\S+)(?: # (.*))?$")
# The frame (check.h) is task 1; it makes a directory, then forks the case.
_BEGINS = re.compile(r'^\[1\] mkdir\("/tmp/ringfence-check-')


@dataclasses.dataclass
class Case:
    program: str
    name: str
    seconds: float  # how long it took, traced
    calls: frozenset  # names of rows that its processes called

    @property
    def full_name(self):
        return f"{self.program}.{self.name}"


class Guest:
    """Runs cases in the sandbox of the mutant binary."""

    def __init__(self, ringfence, programs):
        self._ringfence = ringfence
        self._programs = programs

    def list(self, program):
        listed = subprocess.run([self._programs / program, "--list"], capture_output=True,
                                text=True, timeout=20, check=True)
        return listed.stdout.split()

    def run(self, program, cases, mutant="", limit=60, flags=()):
        """Returns ({case: None or why it failed}, {case: seconds}, how the run ended)."""
        argv = [self._ringfence, "do", *flags, "--", self._programs / program, *cases]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace", cwd="/",
                                   env=dict(os.environ, RINGFENCE_MUTANT=mutant),
                                   start_new_session=True)
        timer = _Killer(process, limit)
        results, seconds, other = {}, {}, []
        began = time.monotonic()
        for line in process.stdout:
            match = _RESULT.match(line.rstrip("\n"))
            if match is None:
                other.append(line)
                continue
            results[match.group(2)] = (match.group(3) or "no reason") if match.group(1) else None
            seconds[match.group(2)] = time.monotonic() - began
            began = time.monotonic()
        process.wait()
        if timer.stop():
            end = "hang"
        else:
            end = f"status {process.returncode}; {''.join(other).strip()[-200:]}"
        return results, seconds, end


class _Killer:
    """Kills a run that takes too long."""

    def __init__(self, process, limit):
        self._process = process
        self._killed = False
        self._timer = threading.Timer(limit, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def _kill(self):
        self._killed = True
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop(self):
        self._timer.cancel()
        return self._killed


def calls_by_case(log):
    """Splits a trace where the frame begins a case; the sets of names, in the order of cases."""
    sets = []
    for line in log:
        if _BEGINS.match(line):
            sets.append(set())
        match = _CALL.match(line)
        if match and match.group(1) != "1" and sets:
            sets[-1].add(match.group(2))
    return sets


def _record_program(guest, program):
    names = guest.list(program)
    with tempfile.NamedTemporaryFile("r", prefix="ringfence-mutate-", errors="replace") as log:
        results, seconds, end = guest.run(program, [], limit=PROGRAM_LIMIT,
                                          flags=("--strace", "--debug-log", log.name))
        calls = calls_by_case(log)
    if len(calls) != len(names):
        return [], [(program, f"{len(names)} cases, {len(calls)} of them ran: {end}")]
    cases = [Case(program, name, seconds.get(name, 0), frozenset(called))
             for name, called in zip(names, calls) if results.get(name, "") is None]
    return cases, []


def record(guest, programs, jobs):
    """Returns (the cases that pass, [(program, what is wrong)])."""
    cases, problems = [], []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for found, wrong in pool.map(lambda program: _record_program(guest, program), programs):
            cases += found
            problems += wrong
    return cases, problems
