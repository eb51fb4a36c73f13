"""Looks after the logs from within a service without a supervisor, such as a slot under systemd."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ops.journal.rotate import rotate
from ops.journal.write import logger

EVERY = 60.0  # seconds between looks

log = logger("ops.journal.upkeep")


@contextmanager
def kept(logs: Path) -> Iterator[None]:
    """Rotate, pack and delete by the usual policy while the body runs: now, then every minute.

    In a thread: packing a large file takes a second, in which a dead bridge must not wait. Several may
    look after the same folder: whoever comes second finds nothing to do.
    """
    over = threading.Event()
    thread = threading.Thread(target=_look, args=(logs, over), name="logs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(2.0)


def _look(logs: Path, over: threading.Event) -> None:
    while True:
        for finding in rotate(logs, now=datetime.now(UTC)):
            if finding.status == "warn":
                log.warning(finding.id, finding.summary)
        if over.wait(EVERY):
            return
