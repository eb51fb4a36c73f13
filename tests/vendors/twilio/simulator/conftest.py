"""A small bridge that plays the customer, and the simulator as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import httpx
import psutil
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as WsRequest
from websockets.http11 import Response as WsResponse

from ops.speech import g711

ACCOUNT = "AC" + secrets.token_hex(16)
TOKEN = secrets.token_hex(16)
AGENT = "+12025550100"
PERSON = "+12025550123"
TONE = g711.encode([8000 if (t // 10) % 2 else -8000 for t in range(1600)])  # 200 ms of 400 Hz
SAY_TONE = {"do": "say", "audio": base64.b64encode(TONE).decode()}


@dataclass
class Hook:
    """One webhook as it came."""

    path: str
    method: str
    url: str
    form: dict[str, str]
    headers: dict[str, str]


@dataclass
class Customer:
    """The customer's server: answers webhooks with the TwiML in `answers`, and talks on streams."""

    port: int
    stream_port: int
    answers: dict[str, Any] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    streams: list[StreamLog] = field(default_factory=list)
    talk: Callable[[StreamLog], Awaitable[None]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.stream_port}/call"

    def connect(self, after: str = "", parameters: str = "", attributes: str = "", connect: str = "") -> str:
        stream = f'<Stream url="{self.stream_url}" {attributes}>{parameters}</Stream>'
        return f"<Response><Connect {connect}>{stream}</Connect>{after}</Response>"

    def of(self, path: str) -> list[Hook]:
        return [hook for hook in self.hooks if hook.path == path]

    async def webhook(self, request: Request) -> Response:
        body = (await request.body()).decode()
        pairs = [pair.partition("=") for pair in body.split("&") if pair]
        form = {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
        hook = Hook(request.url.path, request.method, str(request.url), form, dict(request.headers))
        self.hooks.append(hook)
        answer = self.answers.get(request.url.path, "")
        if callable(answer) and not isinstance(answer, Response):
            answer = answer(hook)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, Response) else Response(answer, media_type="text/xml")

    async def stream(self, connection: ServerConnection) -> None:
        log = StreamLog(connection)
        self.streams.append(log)
        with contextlib.suppress(ConnectionClosed):
            if self.talk is not None:
                await self.talk(log)
            await log.until("stop")


class StreamLog:
    """One media stream as the customer sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.headers = dict(socket.request.headers.raw_items()) if socket.request else {}
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.sid = ""

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.recv())
        self.messages.append(message)
        self.times.append(time.monotonic())
        self.sid = message.get("streamSid", self.sid)
        return message

    async def until(self, event: str) -> dict[str, Any]:
        while (message := await self.receive())["event"] != event:
            pass
        return message

    async def send(self, event: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"event": event, "streamSid": self.sid, **fields}))

    async def play(self, audio: bytes) -> None:
        await self.send("media", media={"payload": base64.b64encode(audio).decode()})

    async def mark(self, name: str) -> None:
        await self.send("mark", mark={"name": name})

    def cut(self) -> None:
        """End the connection without a close frame."""
        self.socket.transport.abort()

    def stop_reading(self) -> None:
        """Take nothing more from the network."""
        self.socket.transport.pause_reading()

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]


@contextlib.contextmanager
def customer_at(port: int, stream_port: int) -> Iterator[Customer]:
    """A customer's server in a thread of its own, so that its event loop is not the test's."""
    customer = Customer(port, stream_port)
    app = Starlette(routes=[Route("/{path:path}", customer.webhook, methods=["GET", "POST"])])
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", stream_port))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with serve(
            customer.stream, sock=listening, process_request=only_call, compression=None, close_timeout=0.5
        ):
            await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the customer's server")
    try:
        yield customer
    finally:
        server.should_exit = True
        thread.join(10)


def only_call(connection: ServerConnection, request: WsRequest) -> WsResponse | None:
    return None if request.path.startswith("/call") else connection.respond(404, "no stream here\n")


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 15.0) -> Any:
    """Poll until `condition()` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return value


class Simulator:
    """The simulator as a process, spoken to as a customer does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=10)

    def rest(self, method: str, path: str, **form: Any) -> httpx.Response:
        kind = {"params": form} if method == "GET" else {"data": form}
        return self.http.request(
            method, f"/2010-04-01/Accounts/{ACCOUNT}{path}", auth=(ACCOUNT, TOKEN), **kind
        )

    def create(self, url: str, *, to: str = PERSON, **form: Any) -> str:
        answer = self.rest("POST", "/Calls.json", To=to, From=AGENT, Url=url, **form)
        assert answer.status_code == 201, answer.text
        sid: str = answer.json()["sid"]
        return sid

    def person(self, *steps: dict[str, Any], number: str = PERSON, **more: Any) -> None:
        order = {"steps": list(steps), "ring_ms": 50, **more}
        answer = self.http.put(f"/_sim/phones/{number}", json=order)
        assert answer.status_code == 200, answer.text

    def dial(self, *steps: dict[str, Any], **more: Any) -> str:
        answer = self.http.post(
            "/_sim/dial", json={"from": PERSON, "to": AGENT, "steps": list(steps), **more}
        )
        assert answer.status_code == 201, answer.text
        sid: str = answer.json()["call_sid"]
        return sid

    def fault(self, name: str, times: int = 1, **options: Any) -> None:
        answer = self.http.post("/_sim/faults", json={"name": name, "times": times, **options})
        assert answer.status_code == 200, answer.text

    def call(self, sid: str) -> dict[str, Any]:
        answer = self.http.get(f"/_sim/calls/{sid}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    def over(self, sid: str, seconds: float = 15.0) -> dict[str, Any]:
        """Wait until the call has ended; what is known of it."""
        final = ("completed", "busy", "failed", "no-answer", "canceled")
        view: dict[str, Any] = wait_for(
            lambda: (found := self.call(sid))["status"] in final and found, f"the end of {sid}", seconds
        )
        return view

    def number(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rest("GET", "/IncomingPhoneNumbers.json").json()[
            "incoming_phone_numbers"
        ][0]
        return found


@contextlib.contextmanager
def simulator_at(
    port: int, voice_url: str, root: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[Simulator]:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "ops.vendors.twilio.simulator",
            f"--port={port}", f"--voice-url={voice_url}", f"--root={root}", "--calls-per-second=1000"
        ],
        env={
            "PATH": os.environ.get("PATH", ""),
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_PHONE_NUMBER": AGENT,
            "LOG_LEVEL": "DEBUG",
            **(environment or {}),
        },
    )  # fmt: skip
    simulator = Simulator(port)

    def healthy() -> bool:
        assert process.poll() is None, f"the simulator ended with {process.returncode}"
        try:
            return simulator.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(healthy, "the simulator's health")
        yield simulator
    finally:
        simulator.http.close()
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def ports() -> list[int]:
    sockets = [socket.socket() for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


@pytest.fixture(scope="module")
def shared(
    ports: list[int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Customer, Simulator]]:
    root = tmp_path_factory.mktemp("root")
    with customer_at(ports[0], ports[2]) as customer:
        with simulator_at(ports[1], f"{customer.url}/twiml", root) as simulator:
            yield customer, simulator


@pytest.fixture
def customer(shared: tuple[Customer, Simulator]) -> Customer:
    """The customer's server, with nothing answered and nothing remembered."""
    customer = shared[0]
    customer.answers.clear()
    customer.hooks.clear()
    customer.streams.clear()
    customer.talk = None
    return customer


@pytest.fixture
def simulator(shared: tuple[Customer, Simulator], customer: Customer) -> Simulator:
    """The running simulator, without faults and without phones of an earlier test."""
    return shared[1]


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test may not leave a process behind; the simulator that a module shares is there before it."""
    if "simulator" in request.fixturenames:
        request.getfixturevalue("shared")
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before
