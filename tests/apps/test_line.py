"""The line between two processes: texts in order, descriptors with their own, and what is lost of them."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ops.apps.line import Line
from tests.apps.inside import run


@dataclass
class End:
    """One end: what it heard, with the content of the file that came with each text that says so."""

    heard: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    line: Line = field(init=False)

    def hear(self, text: bytes) -> None:
        content = None
        if text.startswith(b"with"):
            handle = self.line.handle()
            content = b"lost" if handle is None else os.read(handle, 100)
            if handle is not None:
                os.close(handle)
        self.heard.append((text, content))

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not what():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[End, End]]:
    ends = End(), End()
    for end, one in zip(ends, socket.socketpair(), strict=True):
        end.line = Line(one, end.hear, end.over.set)
    yield ends
    for end in ends:
        end.line.close()


def file_of(content: bytes) -> int:
    """A descriptor of which this can be read."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_each_descriptor_comes_with_its_own_text() -> None:
    """Many texts at once, short ones and ones that no buffer holds, every third with a descriptor: all come in
    order, each with its own, and none stays open here."""

    async def scenario() -> None:
        before = open_files()
        async with pair() as (here, there):
            sent: list[tuple[bytes, bytes | None]] = []
            for number in range(90):
                filling = b"x" * (700_000 if number % 10 == 5 else number)
                if number % 3:
                    sent.append((b"none %d %b" % (number, filling), None))
                    here.line.send(sent[-1][0])
                else:
                    sent.append((b"with %d %b" % (number, filling), b"%d" % number))
                    here.line.send(sent[-1][0], file_of(b"%d" % number))
            assert here.line.waiting
            await there.until(lambda: len(there.heard) == len(sent))
            assert there.heard == sent
            assert here.line.waiting == 0
        assert open_files() == before

    run(scenario)


def test_a_descriptor_without_room_is_lost_alone() -> None:
    """Who may open no more files is told that one was lost, and gets the next with its own text."""

    async def scenario() -> None:
        async with pair() as (here, there):
            files = [file_of(b"first"), file_of(b"second")]
            here.line.send(b"with one", files[0])
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(files), hard))  # each lower number is taken
            try:
                await there.until(lambda: len(there.heard) == 1)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            here.line.send(b"with two", files[1])
            await there.until(lambda: len(there.heard) == 2)
            assert there.heard == [(b"with one", b"lost"), (b"with two", b"second")]

    run(scenario)


def test_the_other_end_hears_that_it_is_over() -> None:
    """What was said before is heard first; what is said afterwards goes nowhere, and keeps nothing open."""

    async def scenario() -> None:
        before = open_files()
        async with pair() as (here, there):
            here.line.send(b"the last word")
            here.line.close()
            await asyncio.wait_for(there.over.wait(), 10)
            assert there.heard == [(b"the last word", None)]
            for line in (here.line, there.line):
                line.send(b"with", file_of(b"x"))
        assert open_files() == before

    run(scenario)


def test_a_text_that_cannot_be_taken_costs_no_other() -> None:
    """An error over one of several that come together is logged, and the next are heard."""

    async def scenario() -> None:
        async with pair() as (here, there):
            for text in (b"with", b"next"):  # the first one's descriptor is missing
                here.line.send(text)
            await there.until(lambda: bool(there.heard))
            assert there.heard == [(b"next", None)]

    run(scenario)


def test_a_line_on_which_nothing_can_be_sent_is_over() -> None:
    """What the kernel refuses is no silence that nobody notices: both ends hear that it is over."""

    async def scenario() -> None:
        async with pair() as (here, there):
            there.line.send(b"before")
            here.line.send(b"with", 1_000_000)  # no open file
            await asyncio.wait_for(there.over.wait(), 10)
            there.line.close()
            await asyncio.wait_for(here.over.wait(), 10)
            assert here.heard == [(b"before", None)]

    run(scenario)
