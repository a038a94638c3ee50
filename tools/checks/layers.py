"""No lower layer may depend on a higher one; a few pairs may not meet at all."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree

# Low to high. The first entry that a package equals or is below decides.
_LAYERS = [
    ["proto"],
    ["platform/base"],
    ["platform"],
    ["gofer/wire", "gofer/client"],
    ["gofer/server", "gofer/jail", "gofer"],
    ["sentry/base"],
    ["sentry/mm"],
    ["sentry/arch"],  # above mm: signal frames are written through it
    ["sentry/vfs"],
    ["sentry/loader"],
    ["sentry/kernel"],
    ["sentry/fs", "sentry/net"],
    ["sentry/strace", "sentry/syscalls"],
    ["sentry/boot"],
    ["runtime"],
    ["bench", "test"],
]

# (from, to): never, whatever the order says.
_FORBIDDEN = [
    ("sentry", "platform/kvm"),
    ("sentry", "runtime"),
    ("sentry", "gofer/server"),
    ("sentry", "gofer/jail"),
    ("gofer", "sentry"),
    ("gofer", "platform/kvm"),
    ("platform", "sentry"),
    ("platform", "gofer"),
]

_FREE = ("third_party", "tools", "docs")  # docs: for tests that keep a page true


def _below(package, folder):
    return package == folder or package.startswith(folder + "/")


def rank(package):
    """The height of a package, or None if the order does not name it."""
    best = None
    for height, folders in enumerate(_LAYERS):
        for folder in folders:
            if _below(package, folder) and (best is None or len(folder) > len(best[1])):
                best = (height, folder)
    return best[0] if best else None


def judge(package, dep_package, testonly):
    """What is wrong with a dependency between two packages, or None."""
    if package == dep_package or any(_below(dep_package, f) for f in _FREE) or not dep_package:
        return None
    for source, target in _FORBIDDEN:
        if _below(package, source) and _below(dep_package, target):
            return "%s must never depend on %s" % (source, target)
    mine, other = rank(package), rank(dep_package)
    if mine is None or other is None:
        return "the order in tools/checks/layers.py does not name //%s" % (
            package if mine is None else dep_package)
    if testonly and _below(dep_package, "test"):
        return None  # helpers for tests
    if mine < other:
        return "a lower layer depends on a higher one"
    return None


def _package(label):
    match = re.match(r"^//([^:]*):", label)
    return match.group(1) if match else None


def problems(root):
    done = subprocess.run(["bazel", "query", "--output=xml", "kind('cc_.* rule', //...)"], cwd=root,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        return done.stderr.decode("utf-8", "replace").split("\n")
    text = re.sub(r"^<\?xml[^>]*\?>", "", done.stdout.decode())
    found = []
    for rule in ElementTree.fromstring(text).iter("rule"):
        name = rule.get("name")
        package = _package(name)
        if package is None or not package or any(_below(package, f) for f in _FREE):
            continue
        testonly = rule.get("class") == "cc_test" or any(
            b.get("name") == "testonly" and b.get("value") == "true"
            for b in rule.findall("boolean"))
        for dep in rule.findall("rule-input"):
            dep_package = _package(dep.get("name"))
            if dep_package is None:
                continue
            wrong = judge(package, dep_package, testonly)
            if wrong:
                found.append("%s -> %s: %s" % (name, dep.get("name"), wrong))
    return found
