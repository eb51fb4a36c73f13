"""One command at a time changes a stack: two starts give one set of processes, a start waits for a stop."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ops.errors import OpsError
from ops.processes.outcome import Progress, WaitsForLock
from ops.processes.run_files import RunFiles

PATIENCE = 300.0  # seconds; a stop that drains calls may take that long


@contextmanager
def stack_lock(
    files: RunFiles, progress: Progress, *, patience: float = PATIENCE, needed: bool = True
) -> Iterator[None]:
    """Hold the lock of this project's stack. Where the disk does not let us, go on without it if it is
    not `needed`: a stop must work on a disk that has become read-only. Raises OpsError."""
    try:
        files.make()
        handle = os.open(files.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if needed:
            raise OpsError(
                f"{files.folder} cannot be written: {error.strerror or error}.",
                fix="make room on the disk, or make logs/run writable",
            ) from None
        yield
        return
    try:
        _acquire(handle, progress, patience)
        yield
    finally:
        os.close(handle)  # the kernel frees the lock with it


def _acquire(handle: int, progress: Progress, patience: float) -> None:
    """Wait for the lock, and tell of it once a second."""
    began = told = time.monotonic()
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now = time.monotonic()
        if now - told >= 1.0:
            told = now
            progress(WaitsForLock(now - began))
        if now - began >= patience:
            raise OpsError(
                f"Another command has worked on this stack for more than {now - began:.0f} s.",
                fix="wait for it or end it, then try again",
            )
        time.sleep(0.01)
