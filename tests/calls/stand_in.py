"""A small real server where Twilio's REST API and the simulated phone are asked; and a bridge that
writes a history into the call's journal, faster than it happened."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ops.config import Settings
from ops.journal.entry import stamp
from tests.calls.histories import Records

SPEED = 30  # times faster than the history


class StandIn:
    """What the server shall do, and what it was asked."""

    def __init__(self, logs: Path, history: Records, *, status: str = "completed") -> None:
        self.sid = "CA" + secrets.token_hex(16)
        self.logs, self.history, self.status = logs, history, status
        self.ours = True  # whether it knows the project's account
        self.faults = {"drop-frames"}
        self.view: dict[str, Any] = {"steps": [], "errors": [], "events": [{"name": "stream.started"}]}
        self.wav: bytes | None = None  # what the bridge records
        self.phone_wav: bytes | None = None  # what the phone heard
        self.asked: list[tuple[str, str, str]] = []
        self.placed = threading.Event()
        self.hung_up = threading.Event()
        self._over = threading.Event()
        self._bridge = threading.Thread(target=self._write)

    def answer(self, method: str, path: str, body: str) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        if path.endswith("/Calls.json"):
            self._bridge.start()
            self.placed.set()
            return 201, self._call("queued")
        if path.endswith(f"/Calls/{self.sid}.json"):
            if method == "POST" and not self.hung_up.is_set():
                self.hung_up.set()
                self._over.set()
                self._record(
                    {"event": "call.ended", "level": "SUCCESS", "reason": "hung up"}, datetime.now(UTC)
                )
            return 200, self._call(self.status if self._over.is_set() else "in-progress")
        if "/Accounts/" in path and path.endswith(".json"):
            return (
                (200, {"status": "active"})
                if self.ours
                else (401, {"code": 20003, "message": "Authenticate"})
            )
        if path.startswith("/_sim/phones/"):
            return 200, {}
        if path == "/_sim/faults" and method == "POST":
            name = json.loads(body)["name"]
            return (200, {}) if name in self.faults else (404, {"error": f"no fault {name}"})
        if path.endswith("/audio.wav"):
            return (200, self.phone_wav) if self.phone_wav else (404, {})
        if path.startswith("/_sim/calls/"):
            return 200, self.view
        return 404, {}

    def _call(self, status: str) -> dict[str, str]:
        return {"sid": self.sid, "status": status, "to": "", "from": "", "direction": "outbound-api"}

    def _write(self) -> None:
        began, origin = datetime.now(UTC), datetime.fromisoformat("2026-11-23T06:20:00+00:00")
        self._journal.parent.mkdir(parents=True)
        for record in self.history:
            at = (datetime.fromisoformat(record["ts"]) - origin) / SPEED
            while datetime.now(UTC) - began < at:
                time.sleep(0.002)
            self._record(record, began + at)
        if self.wav:
            (self._journal.parent / "call.wav").write_bytes(self.wav)
        if self.history and self.history[-1]["event"] == "call.ended":
            self._over.set()

    @property
    def _journal(self) -> Path:
        return self.logs / "calls" / self.sid / "journal.jsonl"

    def _record(self, record: dict[str, Any], at: datetime) -> None:
        head = {"level": "INFO", "service": "bridge", "pid": 1, "logger": "", "msg": ""}
        with self._journal.open("a") as file:
            file.write(json.dumps({**head, **record, "ts": stamp(at), "call_sid": self.sid}) + "\n")

    def join(self) -> None:
        if self._bridge.ident:
            self._bridge.join()


@contextmanager
def serving(stand_in: StandIn) -> Iterator[str]:
    """The server's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, document = stand_in.answer(self.command, self.path.partition("?")[0], body)
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _reply

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        stand_in.join()


def settings_for(root: Path, address: str, **more: str) -> Settings:
    """Settings of an offline project whose Twilio stands at that address, without a tunnel."""
    environ = {
        "TWILIO_API_URL": address,
        "OPENAI_BASE_URL": f"{address}/v1",
        "PUBLIC_URL": "http://127.0.0.1:9",
        "RETRY_INTERVAL": "0.1",
        "TIMEOUT_ADDITIONAL_LOGS": "1",
    }
    return Settings.load(root, environ | more)
