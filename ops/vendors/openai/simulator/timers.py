"""What happens later, in order of time; the clock is whoever asks. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Timers(Generic[Made]):
    """Actions by the time they are due; each is told that time, not the time it was found out."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], Made]]] = []
        self._numbers = itertools.count()

    @property
    def due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def at(self, when: float, action: Callable[[float], Made]) -> None:
        heapq.heappush(self._heap, (when, next(self._numbers), action))

    def run(self, now: float) -> Iterator[Made]:
        """Do what is due by now, including what that makes due."""
        while self._heap and self._heap[0][0] <= now:
            when, _, action = heapq.heappop(self._heap)
            yield action(when)
