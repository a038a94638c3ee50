"""The guest's root: a static busybox, the build's binaries and the libraries they need."""

import os
import re
import shutil
import subprocess

_FOLDERS = ("bin", "dev", "etc", "lib64", "lib/modules", "newroot", "proc", "root", "run", "sys",
            "tmp", "tests", "usr/bin", "usr/share", "var/tmp")


def _copy_program(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    # Debug information would triple what the emulated machine has to unpack.
    if subprocess.run(["strip", "-g", "-o", target, source], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        shutil.copyfile(source, target)
    os.chmod(target, 0o755)


def _libraries(program):
    """Shared libraries and the loader of a dynamic program."""
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    return re.findall(r"(/\S+) \(0x", done.stdout.decode()) if done.returncode == 0 else []


def _quote(text):
    return "'%s'" % text.replace("'", "'\\''")


def _script(test):
    """What the guest runs for one test."""
    if not test.same:
        return test.command + "\n"
    # Both outputs go back; the host compares. What the first run left in /tmp may not help the
    # second one, which has a /tmp of its own.
    return """busybox sh -c {0} >/.native 2>&1 </dev/null
echo "status $?" >>/.native
rm -rf /tmp/*
ringfence do -- /bin/busybox sh -c {0} >/.boxed 2>&1 </dev/null
echo "status $?" >>/.boxed
cat /.native; echo ---; cat /.boxed
""".format(_quote(test.same))


def build(here, work, tests, programs, modules):
    """Writes work/initramfs.cpio; programs: (host path, guest path)."""
    root = os.path.join(work, "root")
    shutil.rmtree(root, ignore_errors=True)
    for folder in _FOLDERS:
        os.makedirs(os.path.join(root, folder))
    shutil.copyfile(os.path.join(here, "init"), os.path.join(root, "init"))
    os.chmod(os.path.join(root, "init"), 0o755)
    shutil.copyfile("/bin/busybox", os.path.join(root, "bin/busybox"))
    os.chmod(os.path.join(root, "bin/busybox"), 0o755)
    for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n"),
                       ("hosts", "127.0.0.1 localhost\n")):
        with open(os.path.join(root, "etc", name), "w") as file:
            file.write(text)
    libraries = set()
    for source, target in programs:
        _copy_program(source, os.path.join(root, target.lstrip("/")))
        libraries.update(_libraries(source))
    for library in sorted(libraries):
        target = os.path.join(root, library.lstrip("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.realpath(library), target)
    for index, module in enumerate(modules):
        shutil.copy(module, os.path.join(root, "lib/modules", "%d-%s" %
                                         (index, os.path.basename(module))))
    for index, test in enumerate(tests):
        base = os.path.join(root, "tests", "%03d" % index)
        with open(base + ".sh", "w") as file:
            file.write(_script(test))
        with open(base + ".meta", "w") as file:
            file.write("%s %d\n" % (test.name, test.timeout))
    image = os.path.join(work, "initramfs.cpio")
    with open(image, "wb") as out:
        find = subprocess.Popen(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE)
        subprocess.run(["cpio", "--null", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=root,
                       stdin=find.stdout, stdout=out, check=True)
        find.wait()
    return image
