"""One end of the line between two processes: texts in order, each with a file descriptor or without."""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ops.journal import write as journal

CHUNK = 64 * 1024  # bytes that are read at once
_ROOM = socket.CMSG_SPACE(array("i").itemsize)  # the kernel gives no two messages' descriptors at once

log = journal.logger(__name__)


class Line:
    """One socket of a pair, on the running loop: `hear` gets each text that comes, `over` is called once,
    when the other end is gone. `send` never waits."""

    def __init__(self, end: socket.socket, hear: Callable[[bytes], None], over: Callable[[], None]) -> None:
        end.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._end, self._hear, self._over = end, hear, over
        self._open = True
        self._came = b""  # of a text that is not whole yet
        self._handles: deque[int | None] = deque()  # that came, in order; None: one was lost on the way
        self._queue: deque[tuple[bytes, int | None]] = deque()
        self.waiting = 0  # bytes in the queue
        self._loop.add_reader(end, self._read)

    def send(self, text: bytes, handle: int | None = None) -> None:
        """Send a text without newlines, and a descriptor, which is closed here as soon as it is there."""
        if not self._open:
            _close(handle)
            return
        self._queue.append((text + b"\n", handle))
        self.waiting += len(text) + 1
        if len(self._queue) == 1:
            self._write()

    def handle(self) -> int | None:
        """The descriptor that came with the text that is being heard; None where it was lost."""
        return self._handles.popleft()

    def close(self) -> None:
        """Hang up; whoever is at the other end hears it."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._end.close()
        for handle in (*self._handles, *(handle for _, handle in self._queue)):
            _close(handle)
        self._handles.clear()
        self._queue.clear()

    def _read(self) -> None:
        try:
            data, extra, flags, _ = self._end.recvmsg(CHUNK, _ROOM, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, extra, flags = b"", [], 0
        for _, _, packed in extra:
            self._handles.extend(array("i", packed))
        if flags & socket.MSG_CTRUNC:  # we have no room for one more open file
            self._handles.append(None)
        if not data:
            self.close()
            self._over()
            return
        *texts, self._came = (self._came + data).split(b"\n")
        for text in texts:
            if self._open:
                self._take(text)

    def _take(self, text: bytes) -> None:
        try:
            self._hear(text)
        except Exception:  # the next one may be about another call
            log.exception("line.failed", "A message of another process could not be taken.")

    def _write(self) -> None:
        self._loop.remove_writer(self._end)
        while self._queue:
            text, handle = self._queue[0]
            extra = [] if handle is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [handle]))]
            try:
                sent = self._end.sendmsg([text], extra)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._end, self._write)
                return
            except OSError:  # nothing more can be said: whoever is there hears the end, and then we do
                with suppress(OSError):
                    self._end.shutdown(socket.SHUT_WR)
                return
            _close(handle)
            self.waiting -= sent
            if sent < len(text):
                self._queue[0] = (text[sent:], None)
            else:
                self._queue.popleft()


def _close(handle: int | None) -> None:
    if handle is not None:
        with suppress(OSError):
            os.close(handle)
