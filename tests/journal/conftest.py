"""What the journal's tests share: a journal that is closed again, programs that write one, canaries."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ops.config import Settings
from ops.journal import write

PROJECT = Path(__file__).parents[2]
NOON = datetime(2025, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def logs(root: Path) -> Iterator[Path]:
    """An empty logs folder; whatever journal a test sets up is closed before the next."""
    yield root / "logs"
    write.close()


@pytest.fixture
def settings(root: Path) -> Settings:
    return Settings.load(root, {}, files=False)


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`program(text, *arguments)` runs Python text in a process of its own; none outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(text: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", text, *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen(command, cwd=PROJECT, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def line(
    ts: datetime, service: str = "web", level: str = "INFO", event: str = "e", msg: str = "", **fields: Any
) -> str:
    """One line as the journal writes it."""
    head = {
        "ts": ts.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "level": level, "service": service,
        "pid": 1, "logger": "ops.test", "event": event, "msg": msg,
    }  # fmt: skip
    return json.dumps(head | fields, separators=(",", ":")) + "\n"


def call_sid() -> str:
    return "CA" + secrets.token_hex(16)


def canaries() -> dict[str, str]:
    """Fresh secrets of every kind that a stack holds."""
    return {
        "twilio": secrets.token_hex(16),
        "openai": "sk-proj-" + secrets.token_urlsafe(30),
        "ngrok": secrets.token_hex(10) + "_" + secrets.token_hex(11),
        "odd": f'p"w/\\{secrets.token_hex(6)}+ü&=',
    }


def disguises(secret: str) -> list[str]:
    """The same secret as it may come along: quoted, encoded, inside a header."""
    return [
        secret,
        quote(secret, safe=""),
        repr(secret),
        json.dumps({"key": secret}),
        base64.b64encode(secret.encode()).decode(),
        "Basic " + base64.b64encode(f"AC{'0' * 32}:{secret}".encode()).decode(),
        "Basic " + base64.b64encode(f"me:{secret}".encode()).decode(),
        "Basic " + base64.urlsafe_b64encode(f"u:{secret}".encode()).decode(),
    ]


def traces(secret: str) -> list[str]:
    """Texts that give a secret away wherever they stand: it, its encodings, and most of their inside."""
    found = [
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    ]
    for offset in range(3):
        text = base64.b64encode(b"x" * offset + secret.encode()).decode().rstrip("=")
        found += [text[4:-3], text[4:-3].replace("+", "-").replace("/", "_")]
    return found
