"""There is never a second supervisor: the lock that each holds for as long as it lives.

Whoever gets it knows that there is none, also none that has only just been started; the kernel
frees it when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def be_the_supervisor(folder: Path, patience: float = 3.0) -> bool:
    """Hold the lock in a project's run folder for as long as we live; False when another one does."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    until = time.monotonic() + patience
    while (handle := _supervisor_lock(folder)) is None:
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)
    return handle >= 0


@contextmanager
def without_supervisor(folder: Path) -> Iterator[bool]:
    """Within it no supervisor can come up, if it gives True; False: there is one, visible or not."""
    try:
        handle = _supervisor_lock(folder)
    except OSError:
        yield True  # no folder, or one that cannot be written: a supervisor could not come up either
        return
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _supervisor_lock(folder: Path) -> int | None:
    handle = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
