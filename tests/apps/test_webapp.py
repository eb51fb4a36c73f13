from __future__ import annotations

import http.client
import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ops.apps.guard import page_policy

HTML = (Path(__file__).parents[2] / "ops" / "apps" / "page.html").read_text("utf-8")


@contextmanager
def running(root: Path, port: int, bridge_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The web page as the supervisor starts it: its own process, settings from its environment."""
    project = Path(__file__).parents[2]
    env = {"WEBAPP_PORT": str(port), "WEBSOCKET_PORT": str(bridge_port), "PYTHONPATH": str(project)}
    process = subprocess.Popen([sys.executable, "-m", "ops.apps.webapp"], cwd=root, env=env)
    try:
        until = time.monotonic() + 20
        while True:
            try:
                if ask(port, "/health").status == 200:
                    break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """One request with exactly these headers; the body is read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in ({"Host": f"127.0.0.1:{port}"} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    response.close()
    connection.close()
    return response


class Stream:
    """An open event stream; `until` gives the first matching event of a section."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.connection.request("GET", "/events")
        self.response = self.connection.getresponse()
        assert self.response.headers["content-type"].startswith("text/event-stream")
        self.text = ""
        self.sections: dict[str, Any] = {}

    def until(self, section: str, wanted: Callable[[Any], Any]) -> Any:
        """The section's value, now or later, that is as wanted."""
        name = ""
        while section not in self.sections or not wanted(self.sections[section]):
            line = self.response.readline().decode()
            assert line, f"the stream ended before {section} was as wanted"
            self.text += line
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: "):
                self.sections[name] = json.loads(line[6:])
        return self.sections[section]

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self.connection.close()


def test_the_page_needs_nothing_from_elsewhere_and_makes_no_markup_from_text() -> None:
    """No address of another machine; no way to turn a text into elements; no inline handler or style."""
    assert not re.search(r"https?://", HTML)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", HTML)
    assert not re.search(r"<[^>]+\s(on\w+|style)=", HTML)


def test_the_page_follows_a_call_and_hands_out_its_files(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """A record that is written now is on the page now; a report's file is served, and nothing beside it."""
    port, bridge_port = free_ports(2)
    token, sid = secrets.token_hex(16), "CA" + secrets.token_hex(16)
    (root / "logs" / "run").mkdir()
    (root / "logs" / "run" / "stack.json").write_text(json.dumps({"token": token, "services": []}))
    folder = root / "logs" / "calls" / sid
    folder.mkdir(parents=True)
    with running(root, port, bridge_port), Stream(port) as stream:
        stream.until("stack", lambda stack: stack["services"])
        head = {"level": "INFO", "service": "s", "pid": 1, "logger": "x", "msg": ""}
        line = {
            "ts": "2026-11-23T06:20:00.000000Z",
            **head,
            "event": "transcript.caller",
            "text": "</script>",
        }
        (folder / "journal.jsonl").write_text(json.dumps(line) + "\n")
        (call,) = stream.until("calls", bool)
        assert (call["call_sid"], call["said"][0]["text"]) == (sid, "</script>")
        (folder / "report.json").write_text('{"verdict": "ok"}')
        (folder / "report.html").write_text("<p>fine</p>")
        assert stream.until("reports", bool)[0]["files"] == ["report.html"]
        own = stream.until("stack", lambda stack: stack["services"][1]["health"]["answers"])["services"]
        assert own[0]["health"]["answers"] is False
        assert token not in stream.text

        page = ask(port, "/")
        assert page.headers["content-security-policy"] == page_policy(HTML)
        assert page.headers["x-content-type-options"] == "nosniff"
        report = ask(port, f"/calls/{sid}/report.html")
        assert (report.status, report.body) == (200, b"<p>fine</p>")  # type: ignore[attr-defined]
        assert "script" not in report.headers["content-security-policy"]
        (folder / "report.json").unlink()
        (folder / "report.json").symlink_to(root / "logs" / "run" / "stack.json")
        (root / "logs" / "report.html").write_text("not a call's")
        for path in (
            "/calls/../report.html",
            f"/calls/{sid}/report.json",
            f"/calls/{sid}/journal.jsonl",
            f"/calls/{sid}/call.wav",
            f"/calls/{sid.lower()}/report.html",
            f"/calls/{sid}/..%2F..%2Frun%2Fstack.json",
            "/calls/..%2Frun/report.json",
            "/logs/run/stack.json",
        ):
            assert ask(port, path).status == 404, path
        assert ask(port, "/", "POST").status == 405


def test_strangers_get_403_on_every_path(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """The guard stands before every route, those that do not exist too."""
    port, bridge_port = free_ports(2)
    with running(root, port, bridge_port):
        for path in ("/", "/events", "/health", "/calls/x/report.html", "/nothing"):
            assert ask(port, path, Host="evil.example").status == 403, path
            assert ask(port, path, Origin="https://evil.example").status == 403, path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_page_stops_although_somebody_looks_on(
    root: Path, free_ports: Callable[[int], list[int]], number: signal.Signals
) -> None:
    """An open event stream is ended, not waited for."""
    port, bridge_port = free_ports(2)
    with running(root, port, bridge_port) as process, Stream(port) as stream:
        stream.until("stack", lambda _: True)
        process.send_signal(number)
        assert process.wait(20) == 0
        assert stream.response.read().endswith(b"\n\n")
