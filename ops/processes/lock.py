"""One command at a time changes a stack: two starts give one set of processes, a start waits for a stop."""

from __future__ import annotations

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
    from filelock import FileLock, Timeout  # heavy: only commands that change something pay for it

    try:
        files.make()
        lock = FileLock(files.folder / "lock", mode=0o600)
        began = time.monotonic()
        while True:
            try:
                lock.acquire(timeout=1.0, poll_interval=0.01)
                break
            except Timeout:
                waited = time.monotonic() - began
                progress(WaitsForLock(waited))
                if waited >= patience:
                    raise OpsError(
                        f"Another command has worked on this stack for more than {waited:.0f} s.",
                        fix="wait for it or end it, then try again",
                    ) from None
    except OSError as error:
        if needed:
            raise OpsError(
                f"{files.folder} cannot be written: {error.strerror or error}.",
                fix="make room on the disk, or make logs/run writable",
            ) from None
        yield
        return
    try:
        yield
    finally:
        lock.release()
