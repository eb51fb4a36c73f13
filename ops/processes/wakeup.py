"""Signals as something to poll: they interrupt nothing, and none that matters is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable


class Wakeup:
    """A pipe into which the interpreter writes the number of each signal that arrives."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._read

    def heard(self) -> set[int]:
        """The signals that have come since the last call."""
        try:
            return set(os.read(self._read, 4096))
        except BlockingIOError:
            return set()
