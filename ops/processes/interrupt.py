"""Signals to a command: while it starts they undo what it has begun, while it stops they make it hurry."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM came; handled like Ctrl-C."""


class Hurry:
    """Whether somebody has asked to end at once."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt."""

    def terminated(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handled(terminated, signal.SIGTERM):
        yield


@contextmanager
def hurried() -> Iterator[Hurry]:
    """Within it Ctrl-C and SIGTERM break nothing off: they set `asked`."""
    hurry = Hurry()

    def asked(number: int, frame: FrameType | None) -> None:
        hurry.asked = True

    with _handled(asked, signal.SIGINT, signal.SIGTERM):
        yield hurry


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Only the main thread may say how signals are handled; any other one leaves that as it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: list[tuple[signal.Signals, Any]] = []
    try:
        for number in numbers:
            before.append((number, signal.signal(number, handler)))
        yield
    finally:
        for number, former in before:
            signal.signal(number, former or signal.SIG_DFL)
