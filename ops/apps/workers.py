"""The processes that carry the calls where there are several (`WEBSOCKET_WORKERS`), children of the bridge.

A connection whose handshake is rightly signed is handed, as it stands, to the worker with the fewest streams.
A worker that dies is followed by another at once; its calls come back like all that have lost their stream.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from ops.apps import messages
from ops.apps.carried import Carried
from ops.apps.gauges import Pulse
from ops.apps.line import Line
from ops.apps.listener import signatures_of
from ops.apps.messages import Order, Over, Take, Watch
from ops.apps.session import LOST
from ops.apps.streams import Stream
from ops.apps.switchboard import Switchboard
from ops.apps.transports import on_picows
from ops.journal import write as journal

QUICK = 3.0  # seconds: a worker that lived shorter was not well
PAUSES = (0.0, 0.0, 0.2, 0.5, 1.0, 2.0)  # seconds before the next start, by quick deaths in a row
ILL = 3  # quick deaths in a row that health tells of
LOOK = 1.0  # seconds
SILENT = 10  # looks without a word of a worker: it hangs, and is ended
ENDS_WITHIN = 2.0  # seconds for a worker to end when its line has
_NOBODY = asyncio.Protocol()

log = journal.logger(__name__)


class Worker:
    """A worker that runs, and the streams that it has."""

    def __init__(self, bridge: Switchboard, process: asyncio.subprocess.Process, end: socket.socket) -> None:
        self.gone = asyncio.Event()
        self.streams: dict[int, Carried] = {}
        self.process = process
        self.silent = 0  # looks since its last word
        self._bridge = bridge
        self._taken = 0
        self._line = Line(end, self._hear, self.gone.set)

    def take(self, handle: int, head: bytes, peer: str) -> None:
        """Hand it a connection that was let in; the descriptor is its own from now on."""
        self._taken += 1
        stream = Stream(self._bridge, peer)
        self.streams[self._taken] = Carried(self.tell, self._taken, stream)
        self._line.send(messages.encode(Take(self._taken, head, peer)), handle)

    def tell(self, order: Order) -> None:
        self._line.send(messages.encode(order))

    async def end(self) -> int:
        """All that it carries is lost; its exit code, when the process has ended."""
        self._line.close()
        self._bridge.gauges.elsewhere.pop(self.process.pid, None)
        for carried in self.streams.values():
            carried.over(LOST)
        self.streams.clear()
        try:
            return await asyncio.wait_for(self.process.wait(), ENDS_WITHIN)
        except TimeoutError:
            self.kill()
            return await self.process.wait()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    def _hear(self, text: bytes) -> None:
        self.silent = 0
        news = messages.news_of(text)
        if isinstance(news, Pulse):
            self._bridge.gauges.elsewhere[self.process.pid] = news
        elif (carried := self.streams.get(news.number)) is not None:
            if isinstance(news, Over):
                del self.streams[news.number]
            carried.hear(news)


@dataclass
class Post:
    """A place for one worker after the other."""

    worker: Worker | None = None
    began: float = 0.0
    deaths: int = 0  # quick ones in a row
    how: str = ""  # the last one died


class Workers:
    """All workers of one bridge, and the way to them; the model speaks the dialect of that module's name."""

    def __init__(self, bridge: Switchboard, dialect: str) -> None:
        self.bridge = bridge
        self._dialect = dialect
        self.posts = [Post() for _ in range(bridge.settings.websocket_workers)]
        self.begun = asyncio.Event()  # each has been started, or could not be
        bridge.ailments.append(self._trouble)
        bridge.views.on_watched = self._watch

    def take(self, transport: asyncio.Transport, head: bytes, peer: str) -> None:
        """Hands over a connection on which `head`, a request for the media path, was read."""
        if not self.bridge.admit(peer, signatures_of(head)):
            on_picows.refuse(transport, 403)
            return
        up = self._up()
        if not up:
            self.bridge.refused(peer, "no worker process runs", self.bridge.door.media_path)
            on_picows.refuse(transport, 503)
            return
        handle = os.dup(transport.get_extra_info("socket").fileno())
        transport.set_protocol(_NOBODY)
        transport.abort()  # of our descriptor alone: the connection goes on with the other one
        min(up, key=lambda worker: len(worker.streams)).take(handle, head, peer)

    async def run(self) -> None:
        """Starts all of them and keeps them, until it is cancelled; then none is left."""
        async with asyncio.TaskGroup() as group:
            for post in self.posts:
                group.create_task(self._keep(post))
            group.create_task(self._look())

    async def _keep(self, post: Post) -> None:
        while True:
            post.began = time.monotonic()
            try:
                code = await self._one(post)
                post.how = f"signal {-code}" if code < 0 else f"exit code {code}"
            except Exception as problem:  # such as no room for one more process
                post.how = f"{type(problem).__name__}: {problem}"
            self.begun.set()
            lived = time.monotonic() - post.began
            post.deaths = post.deaths + 1 if lived < QUICK else 1
            log.error("worker.died", f"A worker ended after {lived:.1f} s: {post.how}.", deaths=post.deaths)
            await asyncio.sleep(PAUSES[min(post.deaths, len(PAUSES)) - 1])

    async def _one(self, post: Post) -> int:
        """The life of one worker, from its start; its exit code."""
        ours, theirs = socket.socketpair()
        with theirs:
            handle = theirs.fileno()
            options = (f"--fd={handle}", f"--dialect={self._dialect}")
            command = (sys.executable, "-m", "ops.apps.worker", *options)
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, cwd=self.bridge.settings.root, pass_fds=(handle,)
                )
            except BaseException:
                ours.close()
                raise
        worker = Worker(self.bridge, process, ours)
        log.info("worker.started", f"A worker runs as pid {process.pid}.", worker=process.pid)
        if self.bridge.views.watched:
            worker.tell(Watch(True))
        post.worker = worker
        if len(self._up()) == len(self.posts):
            self.begun.set()
        try:
            await worker.gone.wait()
        finally:
            post.worker = None
            code = await worker.end()
        return code

    async def _look(self) -> None:
        """Ends a worker that hangs. It counts our own looks: it was not silent while we could not hear."""
        while True:
            await asyncio.sleep(LOOK)
            for worker in self._up():
                worker.silent += 1
                if worker.silent > SILENT:
                    log.error("worker.hangs", "A worker says nothing any more and is ended.")
                    worker.kill()

    def _up(self) -> list[Worker]:
        return [post.worker for post in self.posts if post.worker is not None]

    def _watch(self, wanted: bool) -> None:
        for worker in self._up():
            worker.tell(Watch(wanted))

    def _trouble(self) -> str | None:
        """Which workers do not stay alive, for health."""
        now = time.monotonic()
        ill = [
            post for post in self.posts
            if post.deaths >= ILL and (post.worker is None or now - post.began < QUICK)
        ]  # fmt: skip
        if not ill:
            return None
        return f"{len(ill)} of {len(self.posts)} workers end as soon as they start: {ill[0].how}"
