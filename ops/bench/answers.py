"""Asks a trivial service who it is, and waits for things with a limit."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

LOOK = 0.002  # seconds between two questions


def answering(port: int, timeout: float = 0.5) -> int | None:
    """The process number that the service on this port tells, None where nobody answers."""
    body = _get(port, "/", timeout).rpartition(b"\r\n\r\n")[2]
    return int(body) if body.isdigit() else None


def serves(port: int, path: str, timeout: float = 0.5) -> bool:
    """Whether this path is answered with 200."""
    return _get(port, path, timeout).partition(b"\r\n")[0].split(b" ")[1:2] == [b"200"]


def until(true: Callable[[], bool], seconds: float) -> float | None:
    """Seconds until it was true, None when that took longer than `seconds`."""
    began = time.perf_counter()
    while not true():
        if time.perf_counter() - began > seconds:
            return None
        time.sleep(LOOK)
    return time.perf_counter() - began


def _get(port: int, path: str, timeout: float) -> bytes:
    parts = []
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            host = f"127.0.0.1:{port}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            while part := connection.recv(4096):
                parts.append(part)
    except OSError:
        return b""
    return b"".join(parts)
