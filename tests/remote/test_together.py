"""Work on hosts as seen from here, without a host: signals that reach it, and what of its output is kept."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from typing import cast

import pytest

from ops.remote.abreast import DOCUMENT, FIRST, Crew, Errand, together
from ops.remote.hosts import Host


class Waiting:
    """A piece of work that goes on until it is told of a signal."""

    host = Host("one", "127.0.0.1")

    def __init__(self, begun: Callable[[], None]) -> None:
        self.begun = begun
        self.heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.told = ""

    def run(self, _: threading.Event) -> None:
        self.begun()
        self.told = self.heard.get(timeout=10)

    def signal(self, name: str) -> None:
        self.heard.put(name)


@pytest.mark.parametrize("one", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_and_a_plain_kill_are_like_ctrl_c(one: signal.Signals) -> None:
    """The work on the hosts hears of it; afterwards the signal means again what it meant before."""
    before = signal.getsignal(one)
    work = Waiting(lambda: os.kill(os.getpid(), one))
    with pytest.raises(KeyboardInterrupt):
        together((work,), lambda _: None)
    assert work.told == "INT"
    assert signal.getsignal(one) == before


@pytest.mark.parametrize("first", [b"", b"\x1ew0rd 7\n"])
def test_no_flood_is_kept(first: bytes) -> None:
    """Neither instead of our own first line nor instead of a document: no more than is looked at."""

    class Flooding:
        def link(self, _: Host) -> Flooding:
            return self

        def run(self, _: str, *, out: Callable[[bytes], None], err: Callable[[bytes], None]) -> int:
            out(first)
            for _ in range(DOCUMENT // 65536 + 9):
                out(b"x" * 65536)
                err(b"y" * 65536)
            return 0

    errand = Errand(cast(Crew, Flooding()), Host("one", "127.0.0.1"), "task", "w0rd", None)
    errand.run(threading.Event())
    assert errand.result.exit_code == 0
    assert len(errand.document) == (DOCUMENT if first else 0)
    assert len(errand._first) <= FIRST
