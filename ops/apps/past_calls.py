"""The calls of earlier days, by their CallSids alone: a captured webhook of one of them opens nothing.

One file, a line for each call, the newest last. Of more than `MOST` bytes the older half is forgotten.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MOST = 32 * 1024 * 1024  # nearly a million calls
AT_ONCE = 64 * 1024  # bytes of it that are looked through at once: the calls go on in between


class PastCalls:
    """Who has called on earlier days. Raises OSError only where it writes."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, call_sid: str) -> None:
        """This one is over, for good."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._file, flags, 0o600), "ab") as file:
            file.write(f"{call_sid}\n".encode())
            size = file.tell()
        if size > MOST:
            self._forget(size // 2)

    def __contains__(self, call_sid: str) -> bool:
        wanted, before = call_sid.encode(), b""
        with suppress(OSError), self._file.open("rb", buffering=0) as file:
            while chunk := file.read(AT_ONCE):
                if wanted in before + chunk:
                    return True
                before = chunk[-len(wanted) :]
        return False

    def _forget(self, size: int) -> None:
        rest = self._file.with_suffix(".rest")
        with self._file.open("rb") as file:
            file.seek(size)
            file.readline()
            kept = file.read()
        rest.touch(0o600)
        rest.write_bytes(kept)
        rest.replace(self._file)
