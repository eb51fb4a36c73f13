"""Asks a service how it is, without ever blocking: an HTTP request, or a command, as something to poll."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import socket
from pathlib import Path
from typing import Protocol

from ops.processes import identity
from ops.processes.state import Answer

MOST_BYTES = 1 << 16


class Asking(Protocol):
    """A question under way."""

    deadline: float

    def events(self) -> tuple[int, int]:
        """The descriptor to poll, and for which events."""

    def advance(self) -> Answer | None:
        """Go on after an event; the answer when it is there."""

    def close(self) -> None: ...


class HttpAsk:
    """`GET path` at a loopback address; ok when 200 comes back, and `contains` is in the body."""

    def __init__(self, address: str, port: int, path: str, contains: str, deadline: float) -> None:
        self.deadline = deadline
        self._contains = contains.encode()
        self._where = f"http://{address if ':' not in address else f'[{address}]'}:{port}{path}"
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {'127.0.0.1' if ':' not in address else '[::1]'}:{port}\r\n"
            "User-Agent: trunkline\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        ).encode()
        self._received = b""
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._socket.setblocking(False)
        self._failed = self._socket.connect_ex((address, port))

    def events(self) -> tuple[int, int]:
        return self._socket.fileno(), select.POLLOUT if self._request else select.POLLIN

    def advance(self) -> Answer | None:
        try:
            return self._advance()
        except BlockingIOError:
            return None
        except OSError as error:
            return Answer("silent", f"{self._where}: {error.strerror}")

    def _advance(self) -> Answer | None:
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed or self._failed not in (0, errno.EINPROGRESS):
            return Answer("silent", f"{self._where}: {os.strerror(failed or self._failed)}")
        if self._request:
            self._request = self._request[self._socket.send(self._request) :]
            return None
        data = self._socket.recv(MOST_BYTES)
        self._received += data
        status = re.match(rb"HTTP/1\.[01] (\d{3})\b", self._received)
        if not status:
            ended = not data or len(self._received) > MOST_BYTES
            return Answer("no", f"{self._where} does not speak HTTP") if ended else None
        if status[1] != b"200":
            return Answer("no", f"{self._where} answers {status[1].decode()}, expected 200")
        if self._contains in self._received:
            return Answer("ok")
        if not data or len(self._received) > MOST_BYTES:
            return Answer("no", f"{self._where} answers without {self._contains.decode()!r}")
        return None

    def close(self) -> None:
        self._socket.close()


class CommandAsk:
    """A command of the user's that has been forked; ok when it exits with 0."""

    def __init__(self, pid: int, pidfd: int, deadline: float) -> None:
        self.pid, self.deadline = pid, deadline
        self.code: int | None = None  # set by whoever reaps it
        self._pidfd = pidfd

    def events(self) -> tuple[int, int]:
        return self._pidfd, select.POLLIN

    def advance(self) -> Answer | None:
        if self.code is None:
            return None
        return Answer("ok") if self.code == 0 else Answer("no", f"its ready command exits with {self.code}")

    def close(self) -> None:
        if self.code is None:
            identity.send(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)


def log_answer(path: Path, start: int, pattern: str) -> Answer:
    """Whether a line of the output since byte `start` matches."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read(1 << 20).decode("utf-8", "replace")
    except OSError as error:
        return Answer("unknown", f"its output cannot be read: {error.strerror}")
    if re.search(pattern, text, re.MULTILINE):
        return Answer("ok")
    return Answer("no", f"no line of its output matches {pattern!r} yet")
