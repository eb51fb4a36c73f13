"""Asking a service over HTTP without blocking."""

from __future__ import annotations

import select
import socket
import threading
import time
from pathlib import Path

import pytest

from ops.processes.probe import HttpAsk, log_answer
from ops.processes.state import Answer


def ask(reply: bytes | None, contains: str = "") -> Answer:
    """The answer to `GET /health` at a server that says `reply` (None: nothing at all)."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                request = connection.recv(4096)
                assert request.startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:")
                for piece in (reply or b"").split(b"|"):
                    connection.sendall(piece)
                    time.sleep(0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        asking = HttpAsk("127.0.0.1", server.getsockname()[1], "/health", contains, time.monotonic() + 2.0)
        try:
            return follow(asking)
        finally:
            asking.close()
            thread.join(5)


def follow(asking: HttpAsk) -> Answer:
    while time.monotonic() < asking.deadline:
        poll = select.poll()
        poll.register(*asking.events())
        poll.poll(100)
        if answer := asking.advance():
            return answer
    raise AssertionError("no answer")


@pytest.mark.parametrize(
    ("reply", "contains", "kind", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "", "ok", ""),
        (b"HT|TP/1.1 200 OK\r\n\r\n{\"public_|url\": 1}", "public_url", "ok", ""),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "public_url", "no", "without 'public_url'"),
        (b"HTTP/1.1 503 Draining\r\n\r\n", "", "no", "answers 503, expected 200"),
        (b"SSH-2.0-x\r\n", "", "no", "does not speak HTTP"),
        (b"", "", "no", "does not speak HTTP"),
    ],
)  # fmt: skip
def test_only_200_with_what_it_must_contain_is_ok(reply: bytes, contains: str, kind: str, said: str) -> None:
    """Any other status, another protocol or a missing text is `no`, with what came."""
    answer = ask(reply, contains)
    assert answer.kind == kind
    assert said in answer.text


def test_a_refused_connection_is_silence(free_ports: object) -> None:
    """Where nobody listens any longer there is no answer at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    asking = HttpAsk("127.0.0.1", port, "/", "", time.monotonic() + 2.0)
    assert follow(asking).kind == "silent"
    asking.close()


def test_a_log_line_counts_from_where_the_run_began(tmp_path: Path) -> None:
    """What an earlier run printed makes no later one ready; a lost file says nothing."""
    path = tmp_path / "x.out"
    path.write_text("listening on 1\n")
    assert log_answer(path, 0, r"^listening on \d$").kind == "ok"
    assert log_answer(path, path.stat().st_size, "listening").kind == "no"
    assert log_answer(tmp_path / "none", 0, "x").kind == "unknown"
