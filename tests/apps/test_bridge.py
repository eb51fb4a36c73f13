"""The bridge as a process: real sockets to a phone and to a model, both written here."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from ops.vendors.twilio import wire

REPOSITORY = Path(__file__).parents[2]
FRAME = base64.b64encode(b"\x50" * 160).decode()


@dataclass
class Model:
    """A Realtime server that greets, and remembers what it got."""

    url: str = ""
    connections: int = 0
    open: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    format: str = "audio/pcmu"
    greeting: tuple[str | bytes, ...] = ()  # sent before anything else

    async def serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        self.open += 1
        await self._tell()
        try:
            for message in self.greeting:
                await socket.send(message)
            await socket.send(json.dumps({"type": "session.created", "session": {"id": "s", "model": "m"}}))
            async for message in socket:
                event = json.loads(message)
                self.got.append(event)
                await self._tell()
                if event["type"] == "session.update":
                    side = {"format": {"type": self.format}}
                    updated = {
                        "type": "session.updated",
                        "session": {"audio": {"input": side, "output": side}},
                    }
                    await socket.send(json.dumps(updated))
                elif event["type"] == "response.create":
                    for reply in self.answer():
                        await socket.send(json.dumps(reply))
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1
            await self._tell()

    def answer(self) -> tuple[dict[str, Any], ...]:
        """What it says when it is asked to speak."""
        return (
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": FRAME},
            {"type": "response.done", "response": {"id": "r", "status": "completed"}},
        )

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, what: Callable[[], bool]) -> None:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(what), 20)


@dataclass
class Bridge:
    """A running bridge, its model, and the account whose token signs."""

    port: int
    root: Path
    model: Model
    account: str
    token: str

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def webhook(self, call_sid: str, path: str = "/twiml", **form: str) -> httpx.Response:
        path += f"?asked={int(time.time())}" if path == "/resume" else ""
        fields = {"CallSid": call_sid, "AccountSid": self.account, **form}
        signature = wire.sign(self.token, self.origin + path, fields)
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            headers = {"X-Twilio-Signature": signature}
            return await http.post(self.origin + path, data=fields, headers=headers)

    async def ticket(self, call_sid: str, path: str = "/twiml") -> str:
        twiml = ElementTree.fromstring((await self.webhook(call_sid, path)).text)
        parameter = twiml.find(".//Parameter")
        assert parameter is not None
        return parameter.attrib["value"]

    def stream(self, token: str | None = None) -> connect:
        url = f"ws://127.0.0.1:{self.port}/call"
        headers = {"X-Twilio-Signature": wire.sign(token or self.token, url)}
        return connect(url, additional_headers=headers, compression=None, proxy=None)

    @asynccontextmanager
    async def talking(self, call_sid: str) -> AsyncIterator[ClientConnection]:
        """The stream of a new call on which the agent is heard."""
        async with self.stream() as phone:
            await phone.send(self.start(call_sid, await self.ticket(call_sid)))
            assert await next_event(phone) == "media"
            yield phone

    def start(self, call_sid: str, ticket: str, **changes: Any) -> str:
        return json.dumps(
            {
                "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
                "start": {
                    "accountSid": self.account, "callSid": call_sid, "streamSid": "MZ1", "tracks": ["inbound"],
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                    "customParameters": {"ticket": ticket}, **changes,
                },
            }
        )  # fmt: skip

    async def health(self, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            return await http.get(f"{self.origin}/health", headers=headers)

    def journal(self, call_sid: str) -> list[dict[str, Any]]:
        """A call's records in the order of their time: several processes write them."""
        path = self.root / "logs/calls" / call_sid / "journal.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return sorted(rows, key=lambda row: str(row["ts"]))


@dataclass
class World(Bridge):
    """A bridge as a process."""

    process: asyncio.subprocess.Process


@asynccontextmanager
async def world(root: Path, port: int, model: Model | None = None, **settings: str) -> AsyncIterator[World]:
    account, token, model = "AC" + secrets.token_hex(16), secrets.token_hex(16), model or Model()
    async with serve(model.serve, "127.0.0.1", 0) as server:
        upstream = next(iter(server.sockets)).getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.apps.keeper",
            cwd=root,
            env={
                "PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"],
                "TWILIO_ACCOUNT_SID": account, "TWILIO_AUTH_TOKEN": token,
                "OPENAI_API_KEY": "sk-" + secrets.token_hex(16),
                "OPENAI_REALTIME_URL": f"ws://127.0.0.1:{upstream}/v1/realtime",
                "PUBLIC_URL": f"http://127.0.0.1:{port}", "WEBSOCKET_PORT": str(port), "RETRY_INTERVAL": "0.1",
                **settings,
            },
        )  # fmt: skip
        one = World(port, root, model, account, token, process)
        try:
            await _answers(one)
            yield one
        finally:
            await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Drained with the first signal, told to hurry with the second; clean in any case."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 0.5)
        except TimeoutError:
            with suppress(psutil.NoSuchProcess):  # the process's own method takes the exit code from asyncio,
                psutil.Process(process.pid).terminate()  # where it ends in this moment
    try:
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answers(one: World) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                await one.health()
                return
            except httpx.TransportError:
                assert one.process.returncode is None
                await asyncio.sleep(0.02)


def new_call() -> str:
    return "CA" + secrets.token_hex(16)


async def next_event(phone: ClientConnection) -> str:
    return str(json.loads(await asyncio.wait_for(phone.recv(), 20))["event"])


async def close_code(phone: ClientConnection) -> int | None:
    await asyncio.wait_for(phone.wait_closed(), 20)
    return phone.close_code


def test_a_call_from_webhook_to_hang_up(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Signed webhook, signed stream, ticket, greeting heard, stop: both sockets close, the journal
    has all hops, also where only errors are logged."""

    async def scenario() -> None:
        async with world(root, *free_ports(1), RECORD_CALLS="all", LOG_LEVEL="ERROR") as one:
            sid = new_call()
            ticket = await one.ticket(sid)
            async with one.stream() as phone:
                await phone.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
                await phone.send(one.start(sid, ticket))
                media = {"event": "media", "streamSid": "MZ1", "media": {"timestamp": "0", "payload": FRAME}}
                await phone.send(json.dumps(media))
                assert await next_event(phone) == "media"
                while await next_event(phone) != "mark":  # where the machine is busy a filler comes first
                    pass
                assert (await one.health()).json()["live_calls"] == 1
                await phone.send('{"event":"stop","streamSid":"MZ1","stop":{}}')
                assert await close_code(phone) == 1000
            await one.model.until(lambda: one.model.open == 0)
            kinds = [event["type"] for event in one.model.got]
            assert kinds.count("input_audio_buffer.append") == 1
            assert kinds[0] == "session.update"
        events = [record["event"] for record in one.journal(sid)]
        wanted = ["webhook.received", "webhook.answered", "stream.started", "model.connected", "model.ready",
                  "agent.first-audio", "stream.stopped", "model.closed", "call.ended"]  # fmt: skip
        assert [event for event in events if event in wanted] == wanted
        assert (root / "logs/calls" / sid / "call.wav").read_bytes()[:4] == b"RIFF"
        assert one.token not in "".join(p.read_text() for p in (root / "logs").glob("*.jsonl"))

    asyncio.run(scenario())


def test_a_signed_probe_is_answered_and_counts_as_no_call(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """The doctor's webhooks get TwiML, use up none of the hour's calls, and leave no call folder behind."""

    async def scenario() -> None:
        async with world(root, *free_ports(1), MAX_SIGNED_CALLS_PER_HOUR="1") as one:
            probe = new_call()
            for _ in range(3):
                assert "<Stream" in (await one.webhook(probe, TrunklineProbe="1")).text
            assert "<Stream" in (await one.webhook(new_call())).text
            assert "<Stream" not in (await one.webhook(new_call())).text
        assert not (root / "logs/calls" / probe).exists()

    asyncio.run(scenario())
