"""clang-tidy over every unit; a unit whose text and includes did not change is not run again."""

import concurrent.futures
import glob
import hashlib
import os
import re
import subprocess

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_FLAGS = ["-x", "c++", "-std=c++20", "-O2", "-Wno-everything", "-pthread"]


class _Tree:
    """The repository's files and what they include, found from the root or from bazel-bin."""

    def __init__(self, root):
        self._root = root
        self._texts = {}

    def text(self, path):
        if path not in self._texts:
            self._texts[path] = None
            for base in (self._root, os.path.join(self._root, "bazel-bin")):
                full = os.path.join(base, path)
                if os.path.isfile(full):
                    with open(full, "rb") as file:
                        self._texts[path] = file.read()
                    break
        return self._texts[path]

    def closure(self, path):
        """path and everything it includes of ours, sorted."""
        seen, todo = set(), [path]
        while todo:
            current = todo.pop()
            text = self.text(current) if current not in seen else None
            if text is None:
                continue
            seen.add(current)
            todo += _INCLUDE.findall(text.decode("utf-8", "replace"))
        return sorted(seen)

    def key(self, path, salt):
        digest = hashlib.sha256(salt)
        for name in self.closure(path):
            digest.update(name.encode() + b"\0" + self.text(name) + b"\0")
        return digest.hexdigest()


def _virtual_includes(root):
    """Where Bazel puts headers that libraries offer under another path (include_prefix)."""
    found = glob.glob("bazel-bin/*/*/_virtual_includes/*", root_dir=root)
    return ["-I" + folder for folder in sorted(found)]


def _run(root, path, marker):
    done = subprocess.run(
        ["clang-tidy", "--quiet", path, "--", *_FLAGS, "-I.", "-Ibazel-bin",
         *_virtual_includes(root)], cwd=root,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        with open(marker, "w"):
            pass
        return []
    return done.stdout.decode("utf-8", "replace").rstrip().split("\n")


def problems(root, units):
    cache = os.path.expanduser("~/.cache/ringfence-tidy")
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(root, ".clang-tidy"), "rb") as config:
        salt = config.read() + " ".join(_FLAGS).encode()
    tree, found = _Tree(root), []
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = []
        for unit in units:
            marker = os.path.join(cache, tree.key(unit, salt))
            if not os.path.exists(marker):
                runs.append(pool.submit(_run, root, unit, marker))
        for run in runs:
            found += run.result()
    return found
