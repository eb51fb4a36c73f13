"""The bridge as a process: real sockets to a phone and to a model, both written here."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

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
        fields = {"CallSid": call_sid, "AccountSid": self.account, **form}
        signature = wire.sign(self.token, self.origin + path, fields)
        async with httpx.AsyncClient(trust_env=False) as http:
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
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.get(f"{self.origin}/health", headers=headers)

    def journal(self, call_sid: str) -> list[dict[str, Any]]:
        path = self.root / "logs/calls" / call_sid / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


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
            process.terminate()
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
                assert [await next_event(phone), await next_event(phone)] == ["media", "mark"]
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


def test_strangers_reach_nothing_upstream(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """No signature, wrong signature, no ticket, a ticket of another call, another account, another sound, no
    start: the model is never dialled."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            url = f"ws://127.0.0.1:{one.port}/call"
            for headers in ({}, {"X-Twilio-Signature": wire.sign("other", url)}):
                with pytest.raises(InvalidStatus) as caught:
                    await connect(url, additional_headers=headers, proxy=None)
                assert caught.value.response.status_code == 403
            mine, other = new_call(), new_call()
            ticket = await one.ticket(other)
            wrong = [
                one.start(mine, "nothing"),
                one.start(mine, ticket),
                one.start(other, ticket, accountSid="AC" + secrets.token_hex(16)),
                one.start(
                    other,
                    ticket,
                    mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
                ),
                '{"event":"media","streamSid":"MZ1","media":{"timestamp":"0","payload":"AA=="}}',
                "garbage",
            ]
            for first in wrong:
                async with one.stream() as phone:
                    await phone.send(first)
                    assert await close_code(phone) == 1008, first
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.post(
                    f"{one.origin}/twiml", data={"CallSid": mine, "AccountSid": one.account}
                )
            assert (answer.status_code, answer.text) == (403, "")
            assert one.model.connections == 0

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


def test_a_ticket_is_good_for_one_stream(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """A second stream of a live call is refused, and so is the used ticket, and the ended call's webhook."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            sid = new_call()
            ticket = await one.ticket(sid)
            async with one.stream() as phone:
                await phone.send(one.start(sid, ticket))
                assert await next_event(phone) == "media"
                fresh = await one.ticket(sid)  # Twilio repeats the webhook of a live call
                for shown in (ticket, fresh):
                    async with one.stream() as second:
                        await second.send(one.start(sid, shown))
                        assert await close_code(second) == 1008
                assert one.model.connections == 1
            await one.model.until(lambda: one.model.open == 0)
            assert (await one.webhook(sid)).status_code == 403

    asyncio.run(scenario())


def test_a_model_with_another_codec_is_refused(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """The call ends with a clear record instead of noise."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            one.model.format = "audio/pcm"
            sid = new_call()
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid)))
                assert await close_code(phone) == 1011
        assert "model.codec" in [record["event"] for record in one.journal(sid)]

    asyncio.run(scenario())


def test_garbage_on_a_live_stream_is_survived(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Malformed messages on the phone's socket do not end the call; an oversized one closes that socket only."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            sid = new_call()
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid)))
                assert await next_event(phone) == "media"
                for garbage in (
                    "", "{", "[" * 30_000, '{"event":"x"}', b"\x00\xff", '{"event":"mark"}', "null", "NaN",
                    '{"event":"media","media":{"timestamp":Infinity,"payload":"AA=="}}',
                    '{"event":"media","media":{"timestamp":' + "9" * 5000 + ',"payload":"AA=="}}',
                    '{"event":"media","media":{"timestamp":"-1","payload":"AA=="}}',
                    '{"event":"mark","mark":{"name":"\\ud800"}}', '{"event":"dtmf","dtmf":{"digit":{}}}',
                    '{"event":"stop","event":"x"}',
                ):  # fmt: skip
                    await phone.send(garbage)
                await phone.send('{"event":"media","media":{"timestamp":"0","payload":"' + FRAME + '"}}')
                await one.model.until(lambda: one.model.got[-1]["type"] == "input_audio_buffer.append")
                await phone.send("x" * 70_000)
                assert await close_code(phone) == 1009
            assert (await one.health()).status_code == 200

    asyncio.run(scenario())


def test_garbage_from_the_model_is_survived(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Malformed and unknown events do not end the call: the caller still hears the agent."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            one.model.greeting = ("", "{", "null", "[" * 30_000, '{"type":7}', '{"type":"new"}', b"\x00\xff",
                                  '{"type":"response.output_audio.delta"}', '{"type":"error"}')  # fmt: skip
            sid = new_call()
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid)))
                assert await next_event(phone) == "media"
        assert "model.malformed" in [record["event"] for record in one.journal(sid)]

    asyncio.run(scenario())


def test_what_strangers_see(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Through a tunnel only a bare health answers; metrics and the rest are 404 there and 200 on this machine."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            assert (await one.health(**{"X-Forwarded-For": "192.0.2.1"})).json() == {"status": "ok"}
            assert (await one.health()).json()["public_url"] == one.origin
            async with httpx.AsyncClient(trust_env=False) as http:
                for path in ("/metrics", "/public-url", "/tools"):
                    assert (await http.get(one.origin + path)).status_code == 200
                    for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Host": "voice.example.com"}):
                        assert (await http.get(one.origin + path, headers=headers)).status_code == 404
                assert (await http.get(f"{one.origin}/docs")).status_code == 404
                assert (await http.get(f"{one.origin}/twiml")).status_code == 405
                outside = {"X-Forwarded-For": "192.0.2.1"}
                for path in ("/health", "/metrics", "/twiml", "/nothing"):
                    answer = await http.get(one.origin + path, headers=outside)
                    assert "server" not in answer.headers, path  # nor which version of what serves
                    assert len(answer.text) < 30, path

    asyncio.run(scenario())


def test_only_a_call_that_has_not_ended_comes_back(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """A stream that was lost is given another one by /resume, with the history; after the caller's stop, and after
    too many times, there is none."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            sid = new_call()
            ticket = await one.ticket(sid)
            for again in range(6):
                async with one.stream() as phone:
                    await phone.send(one.start(sid, ticket))
                    assert await next_event(phone) == "media"
                    phone.transport.abort()
                twiml = ElementTree.fromstring((await one.webhook(sid, "/resume")).text)
                parameter = twiml.find(".//Parameter")
                if again == 5:
                    assert parameter is None
                    assert twiml.find("Hangup") is not None
                else:
                    assert parameter is not None
                    ticket = parameter.attrib["value"]
            over = new_call()
            async with one.stream() as phone:
                await phone.send(one.start(over, await one.ticket(over)))
                assert await next_event(phone) == "media"
                await phone.send('{"event":"stop"}')
                await close_code(phone)
            assert [
                child.tag for child in ElementTree.fromstring((await one.webhook(over, "/resume")).text)
            ] == ["Hangup"]
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.post(f"{one.origin}/resume", data={"CallSid": over})).status_code == 403
        events = [record["event"] for record in one.journal(sid)]
        assert events.count("stream.resumed") == 5

    asyncio.run(scenario())


def test_one_call_may_have_settings_of_its_own(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """The query of the signed webhook sets voice and instructions for its call, and whether the agent greets."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            sid = new_call()
            path = "/twiml?voice=cedar&instructions=Speak+Danish.&greeting=off"
            twiml = ElementTree.fromstring((await one.webhook(sid, path)).text)
            parameter = twiml.find(".//Parameter")
            assert parameter is not None
            async with one.stream() as phone:
                await phone.send(one.start(sid, parameter.attrib["value"]))
                await one.model.until(lambda: bool(one.model.got))
                session = one.model.got[0]["session"]
                assert session["instructions"] == "Speak Danish."
                assert session["audio"]["output"]["voice"] == "cedar"
                assert "hang_up" in [tool["name"] for tool in session["tools"]]
                media = {"event": "media", "streamSid": "MZ1", "media": {"timestamp": "0", "payload": FRAME}}
                await phone.send(json.dumps(media))
                await one.model.until(lambda: one.model.got[-1]["type"] == "input_audio_buffer.append")
                assert "response.create" not in [event["type"] for event in one.model.got]

    asyncio.run(scenario())


def test_a_refusal_is_explained_in_the_log_alone(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """A signature for another spelling of the URL: the answer says nothing, the log says which it fits."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            fields = {"CallSid": new_call(), "AccountSid": one.account}
            wrong = one.origin.replace("http://", "https://") + "/twiml"
            headers = {"X-Twilio-Signature": wire.sign(one.token, wrong, fields)}
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.post(f"{one.origin}/twiml", data=fields, headers=headers)
            assert (answer.status_code, answer.text) == (403, "")
        log = (root / "logs/websocket-server.jsonl").read_text()
        assert "scheme https in place of http" in log

    asyncio.run(scenario())


def test_the_models_events_can_be_watched_on_this_machine(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """WS /logs shows every event of every call, without audio; not through a tunnel, not to another site's page."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            url = f"ws://127.0.0.1:{one.port}/logs"
            for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Origin": "https://evil.example"}):
                with pytest.raises(InvalidStatus):
                    await connect(url, additional_headers=headers, proxy=None)
            async with connect(url, proxy=None) as watcher, one.stream() as phone:
                sid = new_call()
                await phone.send(one.start(sid, await one.ticket(sid)))
                kinds = []
                while "response.done" not in kinds:
                    event = json.loads(await asyncio.wait_for(watcher.recv(), 20))
                    assert event["call_sid"] == sid
                    kinds.append(event["type"])
                assert "session.updated" in kinds
                assert "response.output_audio.delta" not in kinds

    asyncio.run(scenario())
