"""Which kind of host this is, and which skips are expected on it."""

import fnmatch
import os
import re

NOKVM, PVM, HW = "nokvm", "pvm", "hw"


def kind():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return NOKVM
    with open("/proc/cpuinfo") as info:
        if re.search(r"^flags\s*:.*\b(svm|vmx)\b", info.read(), re.MULTILINE):
            return HW
    return PVM


class ExpectedSkips:
    """The lines of tools/expected-skips that apply to one kind of host."""

    def __init__(self, path, host_kind):
        self._patterns = []
        if not os.path.exists(path):
            return
        with open(path) as lines:
            for line in lines:
                words = line.split("#")[0].split()
                if len(words) >= 2 and words[0] in (host_kind, "any"):
                    self._patterns.append(words[1])

    def allows(self, name, part):
        if part == "lab" and os.environ.get("CI") == "true":
            return False
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns)
