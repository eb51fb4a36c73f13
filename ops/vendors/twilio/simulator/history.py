"""What happened to a call, for whoever asks afterwards: events with their times, and errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ops.vendors.twilio.simulator.errors import Notice

LIMIT = 2000  # events kept of one call; later ones are counted


class History:
    """Events of one call; `at_ms` is milliseconds since the call was made."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.events: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.dropped = 0

    @property
    def now_ms(self) -> float:
        return round((self._clock() - self._began) * 1000, 1)

    def note(self, name: str, **fields: Any) -> None:
        """One more event."""
        if len(self.events) < LIMIT:
            self.events.append({"at_ms": self.now_ms, "name": name, **fields})
        else:
            self.dropped += 1

    def error(self, notice: Notice) -> None:
        """One more line of the debugger."""
        if len(self.errors) < LIMIT:
            entry = {"code": notice.code, "message": notice.message, "level": notice.level}
            self.errors.append({"at_ms": self.now_ms, **entry})
