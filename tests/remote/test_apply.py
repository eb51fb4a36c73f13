"""One connection: commands, uploads, and a link that dies in each of the ways a link can."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import psutil
import pytest

from ops.errors import OpsError, Refused, Unreachable
from ops.remote.apply import Link, Patience, connect
from ops.remote.hosts import Host
from ops.remote.outcome import Lost
from tests.remote.conftest import Hosts, know

QUICK = Patience(connect=3.0, keepalive=0.2, unacknowledged=2.0, silence=1.0)
MSG_CHANNEL_EOF = 96  # RFC 4254, section 9
Connect = Callable[..., Link]


@pytest.fixture
def link(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """`link(port=…)`: a connection to the test's sshd."""
    monkeypatch.setenv("HOME", str(hosts.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made: list[Link] = []

    def make(port: int = hosts.port) -> Link:
        made.append(connect(Host("one", "127.0.0.1", port=port, path=str(hosts.folder)), QUICK))
        return made[-1]

    yield make
    for one in made:
        one.close()


def run(link: Link, command: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    out, err = bytearray(), bytearray()
    code = link.run(command, out=out.extend, err=err.extend, stdin=stdin)
    return code, bytes(out), bytes(err)


def test_a_command_and_its_two_outputs(link: Connect) -> None:
    """Exit code, standard output and standard error arrive apart; many commands share one connection."""
    one = link()
    for code in (0, 3, 255):
        assert run(one, f"echo out; echo err >&2; exit {code}") == (code, b"out\n", b"err\n")
    assert run(one, "kill -9 $$")[0] == -1


def test_standard_input_goes_through_whole(link: Connect) -> None:
    """Megabytes in, the same megabytes out; a command that does not read them is no fault."""
    data = os.urandom(3_000_000)
    one = link()
    assert run(one, f"head -c {len(data)}", data)[1] == data
    assert run(one, "echo done", data)[:2] == (0, b"done\n")


def test_a_short_command_does_not_cost_the_link(link: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends before what we say to it has gone out: sshd must not hear of a channel that is closed."""
    send = paramiko.Transport._send_user_message

    def late(transport: paramiko.Transport, message: paramiko.Message) -> None:
        if message.asbytes()[0] == MSG_CHANNEL_EOF and threading.current_thread() is not transport:
            time.sleep(0.05)  # longer than the command lives
        send(transport, message)

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", late)
    one = link()
    for code in (3, 4, 5):
        assert run(one, f"exit {code}")[0] == code


def test_a_silent_command_is_not_taken_for_a_dead_link(link: Connect) -> None:
    """Longer without a word than a dead link would be given, but the host answers for it."""
    assert run(link(), "sleep 2; echo done") == (0, b"done\n", b"")


def test_an_upload_is_for_its_owner_alone(link: Connect, tmp_path: Path) -> None:
    """What was put is there, byte for byte, mode 0600; where it cannot be written, the fault says where."""
    data = os.urandom(2_000_000)
    one = link()
    one.put(io.BytesIO(data), str(tmp_path / "there"))
    assert (tmp_path / "there").read_bytes() == data
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OpsError, match="cannot be written"):
        one.put(io.BytesIO(data), str(tmp_path / "no/such/folder"))


def test_a_session_that_is_killed_is_lost(link: Connect, hosts: Hosts) -> None:
    """The server side ends: Lost at once, and neither failed nor ok."""
    one = link()
    (sshd,) = [p for p in psutil.Process().children() if p.name() == "sshd"]

    def cut(_: bytes) -> None:
        for process in sshd.children():
            process.kill()

    with pytest.raises(Lost):
        one.run("echo up; exec sleep 5", out=cut, err=cut)
    with pytest.raises(Lost):
        run(one, "echo again")


def test_a_link_that_only_seems_alive_is_lost(
    link: Connect, hosts: Hosts, free_ports: Callable[[int], list[int]]
) -> None:
    """TCP stays up but nobody answers any more: noticed by asking for a sign of life."""
    with Wire(hosts.port) as wire:
        know(hosts, hosts.folder / "host_key.pub", port=wire.port)
        one = link(wire.port)
        started = time.monotonic()
        with pytest.raises(Lost):
            one.run("echo up; sleep 20", out=lambda _: wire.freeze(), err=bytes)
        assert time.monotonic() - started < 15  # the command takes 20


def test_through_another_host(link: Connect, hosts: Hosts) -> None:
    """A jump host is gone through, and is verified like any other."""
    at = f"{hosts.user}@127.0.0.1:{hosts.port}"
    host = Host("far", "localhost", port=hosts.port, jump=at)
    jump = hosts.known_hosts.read_text()
    target = jump.replace("127.0.0.1", "localhost")
    hosts.known_hosts.write_text(jump + target)
    far = connect(host, QUICK)
    assert run(far, "echo there")[1] == b"there\n"
    far.close()
    hosts.known_hosts.write_text(target)
    with pytest.raises(Refused, match="not known here"):
        connect(host, QUICK)


def test_nobody_there(link: Connect, free_ports: Callable[[int], list[int]]) -> None:
    """A closed port, and a port that accepts and says nothing, are unreachable within the limit."""
    with pytest.raises(Unreachable, match="cannot be reached"):
        link(free_ports(1)[0])
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(Unreachable):
        link(mute.getsockname()[1])


class Wire:
    """A loopback relay to a port, which can stop carrying anything without closing."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._frozen = threading.Event()
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._ends):
            end.close()

    def freeze(self) -> None:
        self._frozen.set()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._to))
        self._ends += [near, far]
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self._frozen.is_set():
                    sink.sendall(data)
        except OSError:
            pass
