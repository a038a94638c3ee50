"""Reads smoke.list: what runs in the lab and what it must print. The format is in README.md."""

import dataclasses
import fnmatch
import re


@dataclasses.dataclass
class Test:
    name: str
    command: str = ""
    timeout: int = 60
    status: int = 0
    lines: list = None  # expected output, shell patterns; None: any
    same: str = ""  # run natively and in the sandbox instead, and compare


@dataclasses.dataclass
class Plan:
    tests: list
    units: list  # Bazel patterns of cc_tests
    unit_limits: dict  # label -> seconds
    files: list  # (path in the repository, path in the guest)
    cases: list  # (name in test/e2e/cases, seconds)


def parse(text):
    plan = Plan([], [], {}, [], [])
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip().split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        key, rest = words[0], words[1] if len(words) > 1 else ""
        try:
            _take(plan, key, rest)
        except (ValueError, IndexError) as error:
            raise RuntimeError("smoke.list:%d: %s (%s)" % (number, line.strip(), error)) from None
    return plan


def _take(plan, key, rest):
    if key == "unit":
        pattern, *options = rest.split()
        plan.units.append(pattern)
        for option in options:
            plan.unit_limits[pattern] = int(_value(option, "timeout"))
    elif key == "case":
        name, *options = rest.split()
        plan.cases.append((name, int(_value(options[0], "timeout")) if options else 120))
    elif key == "file":
        source, target = rest.split()
        plan.files.append((source, target))
    elif key == "test":
        name, *options = rest.split()
        plan.tests.append(Test(name))
        for option in options:
            plan.tests[-1].timeout = int(_value(option, "timeout"))
    elif key == "run":
        plan.tests[-1].command = rest
    elif key == "same":
        plan.tests[-1].same = rest
    elif key == "out":
        plan.tests[-1].lines = (plan.tests[-1].lines or []) + [rest]
    elif key == "status":
        plan.tests[-1].status = int(rest)
    else:
        raise ValueError("unknown word " + key)


def _value(option, name):
    match = re.fullmatch(name + r"=(\d+)", option)
    if not match:
        raise ValueError("expected %s=N, not %s" % (name, option))
    return match.group(1)


def judge(test, status, lines):
    """What is wrong with a result, or an empty string."""
    if status != test.status:
        return "status %d, expected %d" % (status, test.status)
    if test.lines is None:
        return ""
    if len(lines) != len(test.lines):
        return "%d lines of output, expected %d" % (len(lines), len(test.lines))
    for got, expected in zip(lines, test.lines):
        if got != expected and not fnmatch.fnmatchcase(got, expected):
            return "printed %r, expected %r" % (got, expected)
    return ""
