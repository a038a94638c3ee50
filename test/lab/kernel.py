"""The lab's kernel: Debian's own image, unpacked beside the build, never installed."""

import glob
import os
import re
import subprocess

MODULES = ("virt/lib/irqbypass.ko", "drivers/crypto/ccp/ccp.ko", "arch/x86/kvm/kvm.ko",
           "arch/x86/kvm/kvm-amd.ko")
_CACHE = os.path.expanduser("~/.cache/ringfence-lab")


def _run(*argv, **kwargs):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **kwargs)
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise RuntimeError("%s failed:\n%s" % (" ".join(argv[:3]), text))
    return text


def _image_package():
    """The versioned package behind linux-image-amd64, e.g. linux-image-6.1.0-56-amd64."""
    text = _run("apt-cache", "depends", "linux-image-amd64")
    names = re.findall(r"Depends: (linux-image-\d\S*-amd64)\b", text)
    if not names:
        raise RuntimeError("apt knows no linux-image-amd64: run apt-get update")
    return names[0]


def _download():
    """A .deb of the kernel: from the cache, else from Debian."""
    cached = sorted(glob.glob(os.path.join(_CACHE, "linux-image-*.deb")))
    if cached:
        return cached[-1]
    os.makedirs(_CACHE, exist_ok=True)
    fetched = os.path.join(_CACHE, "partial.%d" % os.getpid())
    os.makedirs(fetched)
    try:
        try:
            _run("apt-get", "download", "-q", _image_package(), cwd=fetched)
        except RuntimeError:  # the package lists are missing or too old
            _run("apt-get", "update", "-q")
            _run("apt-get", "download", "-q", _image_package(), cwd=fetched)
        (deb,) = glob.glob(os.path.join(fetched, "linux-image-*.deb"))
        final = os.path.join(_CACHE, os.path.basename(deb))
        os.replace(deb, final)
        return final
    finally:
        subprocess.run(["rm", "-rf", fetched], check=False)


def fetch(out):
    """Unpacks into out/kernel; returns (path of vmlinuz, paths of the modules in load order)."""
    target = os.path.join(out, "kernel")
    if not glob.glob(os.path.join(target, "boot/vmlinuz-*")):
        staging = target + ".new"
        subprocess.run(["rm", "-rf", target, staging], check=True)
        _run("dpkg", "-x", _download(), staging)
        os.replace(staging, target)
    (vmlinuz,) = glob.glob(os.path.join(target, "boot/vmlinuz-*"))
    release = os.path.basename(vmlinuz)[len("vmlinuz-"):]
    modules = []
    for module in MODULES:
        path = os.path.join(target, "lib/modules", release, "kernel", module)
        if not os.path.exists(path) and os.path.exists(path + ".xz"):
            _run("xz", "-dk", path + ".xz")
        if not os.path.exists(path):
            raise RuntimeError("the kernel package has no %s" % module)
        modules.append(path)
    return vmlinuz, modules
