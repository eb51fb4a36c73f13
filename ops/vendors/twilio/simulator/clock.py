"""Alarms at absolute times, to a fraction of a millisecond: event loops round theirs to whole ones.

All alarms share one timer of the kernel, set to the earliest of them (timerfd_create(2)), however many
calls there are. Times are `time.monotonic()`, in seconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from functools import cache
from heapq import heappop, heappush
from time import monotonic

TOGETHER = 0.0005  # seconds: alarms this near to each other share a waking, at the cost of being so late
MONOTONIC, ABSOLUTE = 1, 1  # CLOCK_MONOTONIC, TFD_TIMER_ABSTIME


class Alarm:
    """One thing to be done at a time, unless it is cancelled before."""

    __slots__ = ("_order", "callback", "when")

    def __init__(self, when: float, order: int, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback
        self._order = order

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Alarm) -> bool:
        return (self.when, self._order) < (other.when, other._order)


class Clock:
    """The alarms of one event loop, which must be running; `close` gives its timer back."""

    def __init__(self) -> None:
        self._timer = _timer()
        self._alarms: list[Alarm] = []
        self._made = 0
        self._set_to = 0.0  # when the kernel wakes us, 0: not at all
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer, self._ring)

    def call_at(self, when: float, callback: Callable[[], None]) -> Alarm:
        """Call it at that time or, where that has passed, as soon as possible."""
        self._made += 1
        alarm = Alarm(when, self._made, callback)
        heappush(self._alarms, alarm)
        if not self._set_to or when < self._set_to:
            self._set(when)
        return alarm

    def close(self) -> None:
        """Forget all alarms."""
        self._alarms.clear()
        self._loop.remove_reader(self._timer)
        os.close(self._timer)

    def _ring(self) -> None:
        alarms, now = self._alarms, monotonic()
        self._set_to = now  # nothing that is added meanwhile need set the timer
        while alarms and alarms[0].when <= now:
            if callback := heappop(alarms).callback:
                callback()  # where it raises the timer stays readable: the others ring in the next turn
        self._set(max(alarms[0].when, now + TOGETHER) if alarms else 0.0)

    def _set(self, when: float) -> None:
        self._set_to = when
        _set(self._timer, max(1, int(when * 1e9)) if when else 0)


def _timer() -> int:
    """The descriptor of a new timer; it is readable once its time has come, until it is set again."""
    timer: int = _libc().timerfd_create(MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return timer


def _set(timer: int, nanoseconds: int) -> None:
    """Let it ring once at that time; 0: never."""
    once = (ctypes.c_long * 4)(0, 0, *divmod(nanoseconds, 1_000_000_000))
    if _libc().timerfd_settime(timer, ABSOLUTE, once, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
