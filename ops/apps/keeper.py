"""Keeps the public port open while the bridge is started anew: `python -m ops.apps.keeper`.

It owns the listening socket and hands it to the bridge, its child. When the bridge dies, whatever
arrives waits in the socket's queue for the next one, which is started at once: Twilio asks only twice,
quickly, whether a call may come back. While no bridge can be had, the keeper itself answers, politely.
A bridge that ended in peace ends the keeper too. Being told to stop is passed on: the bridge drains.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess  # noqa: TID251 - its one child is a part of the same service
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ops.config import Settings
from ops.journal import write as journal
from ops.journal.upkeep import kept

BACKLOG = 1024
QUICK = 3.0  # seconds: a bridge that lived shorter was not well
PAUSES = (0.0, 0.0, 0.2, 0.5, 1.0, 2.0)  # seconds before the next start, by quick deaths in a row
UNUSABLE = 2  # the exit code of a bridge whose settings are no good: another one would say the same
GIVE_UP = 6  # quick deaths in a row
HELD = 200  # calls that come back while there is no bridge; for more the oldest is told to ask again
SORRY = (
    b'<?xml version="1.0" encoding="UTF-8"?><Response><Say>I am sorry, something went wrong on our side. '
    b"Please call again.</Say><Hangup/></Response>"
)

log = journal.logger("ops.apps.keeper")


@dataclass
class Keeper:
    """One listening socket and the bridge that serves it."""

    listening: socket.socket
    bridge: subprocess.Popen[bytes] | None = None
    asked_to_stop: int = 0  # how often
    deaths: int = 0  # quick ones in a row
    _started: float = 0.0
    _wakeup: tuple[int, int] = field(default_factory=os.pipe)
    # A byte for the bridge each time that we are told to stop; its end when we are gone. No signal: whoever
    # stops the whole service signals both of us, and the bridge must not count that twice.
    _orders: tuple[int, int] = field(default_factory=os.pipe)

    def run(self) -> int:
        """Until the bridge ends in peace, is told to end, or cannot be kept alive; the exit code."""
        os.set_blocking(self._wakeup[1], False)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
        while not self.asked_to_stop:
            self._start()
            code = self._wait()
            if code in (0, UNUSABLE) or self.asked_to_stop:
                return max(0, code)
            lived = time.monotonic() - self._started
            self.deaths = self.deaths + 1 if lived < QUICK else 1
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            log.error("bridge.died", f"The bridge ended with {how} after {lived:.1f} s.", deaths=self.deaths)
            if self.deaths >= GIVE_UP:
                return 1
            self._answer_for(PAUSES[min(self.deaths, len(PAUSES)) - 1])
        return 0

    def _start(self) -> None:
        handle, orders = self.listening.fileno(), self._orders[0]
        self._started = time.monotonic()
        self.bridge = subprocess.Popen(
            [sys.executable, "-m", "ops.apps.bridge", f"--fd={handle}", f"--orders={orders}"],
            pass_fds=(handle, orders),
        )
        log.info("bridge.started", f"The bridge runs as pid {self.bridge.pid}.", bridge=self.bridge.pid)

    def _wait(self) -> int:
        assert self.bridge is not None
        while (code := self.bridge.poll()) is None:
            select.select([self._wakeup[0]], [], [], 1.0)
            self._drain_wakeup()
        return code

    def _drain_wakeup(self) -> None:
        if select.select([self._wakeup[0]], [], [], 0)[0]:
            os.read(self._wakeup[0], 4096)

    def _stop(self, number: int, frame: object) -> None:
        self.asked_to_stop += 1
        os.write(self._orders[1], b".")

    def _answer_for(self, seconds: float) -> None:
        """Answer what comes in place of the bridge, for so long; one at a time is enough. A live call that
        wants to come back is held, and told at the end to ask again: the next bridge may have it."""
        until, held = time.monotonic() + seconds, list[socket.socket]()
        while not self.asked_to_stop and (left := until - time.monotonic()) > 0:
            waiting = [self.listening.fileno(), self._wakeup[0]]
            ready, _, _ = select.select(waiting, [], [], left)
            self._drain_wakeup()
            if self.listening.fileno() in ready:
                held += _answer(self.listening)
            while len(held) > HELD:
                _send(held.pop(0), b"503 Unavailable")
        for connection in held:
            _send(connection, b"503 Unavailable")


def _answer(listening: socket.socket) -> list[socket.socket]:
    """503 to a GET, an apology to a webhook: it says nothing that is not the same for everyone. What is left
    is a call that comes back."""
    try:
        connection, _ = listening.accept()
    except OSError:
        return []
    try:
        connection.settimeout(0.5)
        asked = connection.recv(4096)
    except OSError:
        asked = b""
    if asked.startswith(b"POST /resume"):
        return [connection]
    if asked.startswith(b"POST "):
        _send(connection, b"200 OK", SORRY)
    else:
        _send(connection, b"503 Unavailable")
    return []


def _send(connection: socket.socket, status: bytes, body: bytes = b"") -> None:
    head = b"HTTP/1.1 %s\r\nContent-Type: text/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    with connection, suppress(OSError):
        connection.sendall(head % (status, len(body)) + body)


def listen(port: int, address: str = "127.0.0.1") -> socket.socket:
    """The public port at this address, ready to be handed on. Raises OSError."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def main() -> int:
    """Settings come from the environment alone, and go on to the bridge as they are."""
    parser = argparse.ArgumentParser(prog="python -m ops.apps.keeper")
    parser.add_argument("--keep-logs", action="store_true", help="rotate the logs: no supervisor does")
    options = parser.parse_args()
    settings = Settings.load(Path.cwd(), files=False)
    journal.setup("websocket-keeper", settings.logs, level=settings.log_level, secrets=settings.secrets)
    try:
        try:
            listening = listen(settings.websocket_port, settings.websocket_address)
        except OSError as problem:
            log.error(
                "service.failed", f"Port {settings.websocket_port} cannot be listened on: {problem.strerror}."
            )
            return 1
        with listening, kept(settings.logs) if options.keep_logs else nullcontext():
            code = Keeper(listening).run()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # Python's own end would let one more of them kill us
        return code
    finally:
        journal.close()


if __name__ == "__main__":
    sys.exit(main())
