"""SSH: a verified connection that notices a dead link, commands over it. The only file that knows Fabric."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from ops.errors import OpsError, Refused, Unreachable
from ops.remote import hostkeys
from ops.remote.hosts import Host
from ops.remote.outcome import Lost

Sink = Callable[[bytes], None]
CHUNK = 1 << 16
AFTER_END = 3  # waits for more output, each a quarter of `keepalive`, once a command has ended


@dataclass(frozen=True)
class Patience:
    """Seconds: until connected, between two signs of life, and without any until the link counts as dead.

    A cut cable is noticed by TCP after `unacknowledged`; `silence` is for a peer that only seems alive.
    """

    connect: float = 10.0
    keepalive: float = 2.0
    unacknowledged: float = 6.0
    silence: float = 20.0


def connect(host: Host, patience: Patience = Patience()) -> Link:
    """Log in to a host whose key is known. Raises Refused (key, login) or Unreachable."""
    try:
        import fabric
        import paramiko
    except ImportError:
        raise OpsError("Fabric is not installed here.", fix="pip install 'fabric>=3.2.3,<4'") from None
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # it has no last word on our terminal
    logging.getLogger("paramiko").propagate = False
    given = {"key_filename": host.key} if host.key else {}
    connection: Any = fabric.Connection(
        host.address, user=host.user, port=host.port, connect_timeout=round(patience.connect) or 1,
        gateway=fabric.Connection(host.jump) if host.jump else None,
        connect_kwargs=given | {"banner_timeout": patience.connect, "auth_timeout": patience.connect},
    )  # fmt: skip
    hop = connection
    while isinstance(hop, fabric.Connection):
        hostkeys.make_strict(hop.client, hostkeys.files(hop.ssh_config), host.name)
        hop = hop.gateway
    try:
        connection.open()
    except BaseException as problem:
        with suppress(Exception):
            connection.close()
        if isinstance(problem, OpsError) or not isinstance(problem, Exception):
            raise
        if isinstance(problem, paramiko.BadHostKeyException):
            raise hostkeys.changed(host.name, problem) from None
        at = f"{connection.user}@{connection.host}:{connection.port}"
        raise _why(problem, host.name, at) from None
    return Link(host, connection, patience)


def _why(problem: Exception, name: str, at: str) -> OpsError:
    """What a failed login means to the reader."""
    import paramiko

    if isinstance(problem, paramiko.PasswordRequiredException):
        return Refused(
            f"{name}: the private key for {at} needs its passphrase.", fix="ssh-add it", code="login"
        )
    if isinstance(problem, paramiko.AuthenticationException) or "No authentication methods" in str(problem):
        fix = f"try `ssh {at.rpartition(':')[0]}`; the public key belongs into ~/.ssh/authorized_keys there"
        return Refused(f"{name}: {at} does not accept our login.", fix=fix, code="login")
    told = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return Unreachable(
        f"{name}: {at} cannot be reached: {told or type(problem).__name__}.",
        fix="check the address, the port and the network",
    )


class Link:
    """An open connection to one host; usable from several threads."""

    def __init__(self, host: Host, connection: Any, patience: Patience) -> None:
        self.host = host
        self._connection = connection
        self._patience = patience
        self._transport = connection.transport
        self._heard = time.monotonic()
        _notice_cuts(self._transport.sock, patience.unacknowledged)
        threading.Thread(target=self._ask_for_life, name=f"{host.name} keepalive", daemon=True).start()

    def run(self, command: str, *, out: Sink, err: Sink, stdin: bytes = b"") -> int:
        """Run a command; its output goes to the sinks as it comes; the exit code, or -1 if it had none.

        Its standard input is these bytes, and has no end while we live: a command must know how much to read.
        Were its end told in the moment in which the command ends by itself, sshd would drop the whole link
        (paramiko may send the one behind the other: its issue 1115).

        A child that the command left behind may hold its output open: nobody waits for that one. Raises
        Lost when the link dies before the command has ended.
        """
        import paramiko

        try:
            channel = self._transport.open_session(timeout=self._patience.connect)
            channel.settimeout(self._patience.keepalive / 4)
            channel.exec_command(command)
            problems: list[BaseException] = []
            helpers = [
                threading.Thread(target=_noting, args=(problems, work), daemon=True)
                for work in (
                    lambda: self._drain(channel, channel.recv_stderr, err),
                    lambda: self._send(channel, stdin),
                )
            ]
            for helper in helpers:
                helper.start()
            self._drain(channel, channel.recv, out)
            for helper in helpers:
                helper.join()
            while not channel.status_event.wait(self._patience.keepalive / 4):
                self._check()
            code = int(channel.recv_exit_status())
            channel.close()
        except (paramiko.SSHException, EOFError, OSError):
            raise self._lost() from None
        if problems:
            raise problems[0]
        if code == -1 and not self._transport.is_active():
            raise self._lost()
        return code

    def put(self, file: IO[bytes], path: str) -> None:
        """Upload to a file that only its owner can read; a path that is not absolute is below the home."""
        import paramiko

        try:
            sftp = self._connection.sftp()
            with sftp.open(path, "wb") as remote:
                remote.chmod(0o600)
                remote.set_pipelined(True)
                while data := file.read(CHUNK // 2):
                    self._check()
                    remote.write(data)
        except (paramiko.SSHException, EOFError, TimeoutError, ConnectionError):
            raise self._lost() from None
        except OSError as problem:
            if not self._transport.is_active():
                raise self._lost() from None
            raise OpsError(
                f"{self.host.name}: {path} cannot be written: {problem}.", fix="check its disk and rights"
            ) from None

    def signal(self, group: int, name: str) -> None:
        """Send a signal to a remote process group, over a second channel of this connection."""
        assert re.fullmatch("[A-Z]+", name)
        with suppress(OpsError):
            self.run(f"kill -s {name} -- -{int(group)}", out=_nowhere, err=_nowhere)

    def close(self) -> None:
        """Hang up; whatever still uses this connection gets Lost."""
        with suppress(Exception):
            self._connection.close()

    def _drain(self, channel: Any, receive: Callable[[int], bytes], sink: Sink) -> None:
        quiet = 0
        while quiet < AFTER_END:
            try:
                data = receive(CHUNK)
            except TimeoutError:
                self._check()
                quiet += channel.exit_status_ready()
                continue
            quiet = 0
            if not data:
                return
            self._heard = time.monotonic()
            sink(data)

    def _send(self, channel: Any, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[channel.send(view[:CHUNK]) :]
            except TimeoutError:
                self._check()
            except OSError:
                return  # the command has ended without reading all

    def _check(self) -> None:
        """Raises Lost when the link is dead."""
        if time.monotonic() - self._heard > self._patience.silence:
            self.close()
        if not self._transport.is_active():
            raise self._lost()

    def _ask_for_life(self) -> None:
        """Any answer, also a refusal, is a sign of life."""
        pause = threading.Event()
        while self._transport.is_active():
            with suppress(Exception):
                self._transport.global_request("keepalive@openssh.com", wait=True)
                if self._transport.is_active():
                    self._heard = time.monotonic()
            pause.wait(self._patience.keepalive)

    def _lost(self) -> Lost:
        return Lost(
            f"{self.host.name}: the connection broke.",
            fix=f"check the network; `inv -H {self.host.name} status` tells what runs there",
        )


def _notice_cuts(sock: Any, seconds: float) -> None:
    """Linux: a segment that nobody acknowledges for so long ends the connection (tcp(7))."""
    if isinstance(sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


def _noting(problems: list[BaseException], work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as problem:
        problems.append(problem)


def _nowhere(_: bytes) -> None:
    pass
