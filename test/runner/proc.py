"""Child processes that cannot outlive their time limit."""

import os
import signal
import subprocess
import tempfile

_children = set()
_stopping = False


def start(argv, **kwargs):
    """Starts argv as the leader of its own session, so that stop() reaches its children."""
    if _stopping:
        raise InterruptedError("the run was interrupted")
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)
    _children.add(child)
    return child


def stop(child):
    """Kills the whole process group of child and reaps it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    child.wait()
    _children.discard(child)


def stop_all():
    """Ends every child; no other can be started afterwards."""
    global _stopping
    _stopping = True
    for child in list(_children):
        stop(child)


def run(argv, timeout, **kwargs):
    """Runs argv; returns (status, output). status is None if the time limit was exceeded."""
    with tempfile.TemporaryFile() as log:
        child = start(argv, stdout=log, stderr=subprocess.STDOUT, **kwargs)
        try:
            status = child.wait(timeout=max(timeout, 0.1))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            stop(child)  # also what the test left running in its group
        log.seek(0)
        return status, log.read().decode("utf-8", "replace")


def describe(status):
    """An exit status in words."""
    if status is None:
        return "exceeded its time limit and was killed"
    if status < 0:
        try:
            return "killed by " + signal.Signals(-status).name
        except ValueError:
            return "killed by signal %d" % -status
    return "exit status %d" % status
