"""The routes and the socket, with the official SDK and with plain websockets."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from openai import APIStatusError, AsyncOpenAI, AuthenticationError, NotFoundError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ops.speech import library
from ops.vendors.openai.simulator.faults import Faults
from tests.vendors.openai.simulator.rig import MODEL, PCMU, serving

Ports = Callable[[int], list[int]]


def _key() -> str:
    return "sk-" + secrets.token_hex(20)


def _sdk(port: int, key: str) -> AsyncOpenAI:
    base = f"127.0.0.1:{port}/v1"
    return AsyncOpenAI(
        api_key=key, base_url=f"http://{base}", websocket_base_url=f"ws://{base}", max_retries=0
    )


def _socket(port: int, key: str, *, model: str = MODEL, **options: Any) -> connect:
    headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
    url = f"ws://127.0.0.1:{port}/v1/realtime" + (f"?model={model}" if model else "")
    return connect(url, additional_headers=headers, max_size=None, **options)


async def _closed(socket: ClientConnection) -> tuple[dict[str, Any], int, str]:
    """The last event, and the code and reason of the close."""
    last: dict[str, Any] = {}
    try:
        while True:
            last = json.loads(await socket.recv())
    except ConnectionClosed as closed:
        frame = closed.rcvd
        return last, frame.code if frame else 1006, frame.reason if frame else ""


def test_a_call_with_the_official_sdk(free_ports: Ports) -> None:
    """Configure, greet, hear a caller over the real socket, answer, truncate: all through openai-python."""
    [port], key = free_ports(1), _key()

    async def call() -> None:
        async with serving(port, key=key) as simulator:
            async with _sdk(port, key) as sdk, sdk.realtime.connect(model=MODEL) as connection:
                await connection.session.update(session=PCMU)  # type: ignore[arg-type]
                await connection.response.create()
                said, heard, item = [], "", ""
                async for event in connection:
                    assert event.type != "error", event
                    if event.type == "conversation.item.input_audio_transcription.completed":
                        heard = event.transcript
                    if event.type == "response.done":
                        assert event.response.output
                        [message] = event.response.output
                        said.append(message.content[0].transcript)  # type: ignore[union-attr,index]
                        item = str(message.id)
                        if len(said) == 1:
                            audio = library.line("caller-hours").audio + b"\xff" * 4800
                            encoded = base64.b64encode(audio).decode()
                            await connection.input_audio_buffer.append(audio=encoded)
                        else:
                            await connection.conversation.item.truncate(
                                item_id=item, content_index=0, audio_end_ms=200
                            )
                    if event.type == "conversation.item.truncated":
                        break
            assert said == ["Hello! How can I help?", "Yes, from nine to five."]
            assert heard == "Hi, are you open on Saturday?"
            while simulator.live:
                await asyncio.sleep(0.01)
            [shown] = [each.shown() for each in simulator.ended]
            assert (shown["live"], shown["heard"], shown["errors"]) == (False, ["caller-hours"], [])
            assert shown["received"]["conversation.item.truncate"] == 1

    asyncio.run(call())


def test_models_and_their_end(free_ports: Ports) -> None:
    """models.list through the SDK; one of them is announced to end; an unknown one is a 404."""
    [port], key = free_ports(1), _key()

    async def ask() -> None:
        async with serving(port, key=key), _sdk(port, key) as sdk:
            models = {model.id: model for model in (await sdk.models.list()).data}
            assert models[MODEL].shutdown_date is None
            assert models["gpt-realtime"].shutdown_date == "2027-01-20"
            assert (await sdk.models.retrieve(MODEL)).id == MODEL
            with pytest.raises(NotFoundError, match="does not exist"):
                await sdk.models.retrieve("gpt-nothing")

    asyncio.run(ask())


def test_a_wrong_key_is_refused_everywhere(free_ports: Ports) -> None:
    """REST: 401 invalid_api_key. Socket: opened, told, closed with 3000. No key at all: HTTP 401."""
    [port] = free_ports(1)

    async def ask() -> None:
        async with serving(port, key=_key()):
            async with _sdk(port, _key()) as sdk:
                with pytest.raises(AuthenticationError) as refused:
                    await sdk.models.list()
            assert refused.value.code == "invalid_api_key"
            async with _socket(port, _key()) as socket:
                last, code, reason = await _closed(socket)
            assert last["error"]["code"] == "invalid_api_key"
            assert (code, reason) == (3000, "invalid_request_error.invalid_api_key")
            with pytest.raises(InvalidStatus) as status:
                await connect(f"ws://127.0.0.1:{port}/v1/realtime?model={MODEL}")
            assert status.value.response.status_code == 401
            assert "API key" in json.loads(status.value.response.body)["error"]["message"]

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("rest-rate-limit", 429, "rate_limit_exceeded"),
        ("rest-no-quota", 429, "insufficient_quota"),
        ("rest-unavailable", 503, None),
    ],
)
def test_a_refused_rest_request(free_ports: Ports, name: str, status: int, code: str | None) -> None:
    """Once, in OpenAI's error shape, as the SDK reads it; then the answer comes."""
    [port], key, faults = free_ports(1), _key(), Faults()
    faults.arm(name)

    async def ask() -> None:
        async with serving(port, key=key, faults=faults), _sdk(port, key) as sdk:
            with pytest.raises(APIStatusError) as refused:
                await sdk.models.list()
            assert (refused.value.status_code, refused.value.code) == (status, code)
            assert (await sdk.models.list()).data

    asyncio.run(ask())


def test_a_stall_holds_the_events_back(free_ports: Ports) -> None:
    """Nothing for a while, then everything in order."""
    [port], key, faults = free_ports(1), _key(), Faults()
    faults.arm("stall", after_events=2, seconds=0.5)

    async def ask() -> None:
        async with serving(port, key=key, faults=faults), _socket(port, key) as socket:
            await socket.recv()
            await socket.recv()
            began = time.monotonic()
            await socket.send('{"type":"input_audio_buffer.clear"}')
            assert json.loads(await socket.recv())["type"] == "input_audio_buffer.cleared"
            assert time.monotonic() - began >= 0.4

    asyncio.run(ask())


def test_beta_clients_unknown_models_and_no_model(free_ports: Ports) -> None:
    """The dead header is 4000, a model that nobody has is told, a missing model is HTTP 400."""
    [port], key = free_ports(1), _key()

    async def ask() -> None:
        async with serving(port, key=key):
            async with _socket(port, key, headers={"OpenAI-Beta": "realtime=v1"}) as socket:
                last, code, reason = await _closed(socket)
            assert last["error"]["code"] == "beta_api_shape_disabled"
            assert (code, reason) == (4000, "invalid_request_error.beta_api_shape_disabled")
            async with _socket(port, key, model="gpt-4o-realtime-preview") as socket:
                assert (await _closed(socket))[0]["error"]["code"] == "model_not_found"
            async with _socket(port, key) as socket:
                await socket.send('{"type":"session.update","session":{"modalities":["audio"]}}')
                assert (await _closed(socket))[1] == 4000
            with pytest.raises(InvalidStatus) as status:
                await _socket(port, key, model="")
            assert status.value.response.status_code == 400

    asyncio.run(ask())


def test_an_ephemeral_key_opens_a_session_from_a_browser(free_ports: Ports) -> None:
    """client_secrets gives a key that works among the subprotocols, where browsers put it."""
    [port], key = free_ports(1), _key()

    async def ask() -> None:
        async with serving(port, key=key), _sdk(port, key) as sdk:
            secret = await sdk.realtime.client_secrets.create(session={"type": "realtime", "model": MODEL})
            url = f"ws://127.0.0.1:{port}/v1/realtime?model={MODEL}"
            offered: Any = ["realtime", f"openai-insecure-api-key.{secret.value}"]
            async with connect(url, subprotocols=offered) as socket:
                assert socket.subprotocol == "realtime"
                assert json.loads(await socket.recv())["type"] == "session.created"

    asyncio.run(ask())


def test_a_session_that_is_too_old_is_closed(free_ports: Ports) -> None:
    """With a compressed clock: the error, then 1001 with OpenAI's reason."""
    [port], key = free_ports(1), _key()

    async def ask() -> None:
        async with serving(port, key=key, lifetime=0.2), _socket(port, key) as socket:
            last, code, reason = await _closed(socket)
            assert last["error"]["code"] == "session_expired"
            assert (code, reason) == (1001, "Your session hit the maximum duration of 60 minutes.")

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("refuse", 503, None),
        ("rate-limit", 429, "rate_limit_exceeded"),
        ("no-quota", 429, "insufficient_quota"),
    ],
)
def test_a_refused_upgrade(free_ports: Ports, name: str, status: int, code: str | None) -> None:
    """Armed over HTTP, it happens once, in OpenAI's error shape; the next connection is well."""
    [port], key = free_ports(1), _key()

    async def ask() -> None:
        async with serving(port, key=key), httpx.AsyncClient() as http:
            armed = await http.post(f"http://127.0.0.1:{port}/_sim/faults", json={"name": name})
            assert armed.status_code == 201
            with pytest.raises(InvalidStatus) as refused:
                await _socket(port, key)
            assert refused.value.response.status_code == status
            assert json.loads(refused.value.response.body)["error"]["code"] == code
            async with _socket(port, key) as socket:
                assert json.loads(await socket.recv())["type"] == "session.created"

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "code"), [("invalid-key", 3000), ("beta-disabled", 4000), ("drop-after-open", 1011)]
)
def test_a_socket_that_is_closed_at_once(free_ports: Ports, name: str, code: int) -> None:
    """The handshake succeeds and the close follows."""
    [port], key, faults = free_ports(1), _key(), Faults()
    faults.arm(name)

    async def ask() -> None:
        async with serving(port, key=key, faults=faults), _socket(port, key) as socket:
            assert (await _closed(socket))[1] == code

    asyncio.run(ask())


def test_a_reset_has_no_close_frame(free_ports: Ports) -> None:
    """The client sees 1006 in the middle of an answer."""
    [port], key, faults = free_ports(1), _key(), Faults()
    faults.arm("reset", after_events=6)

    async def ask() -> None:
        async with serving(port, key=key, faults=faults), _socket(port, key) as socket:
            await socket.send('{"type":"response.create"}')
            assert (await _closed(socket))[1] == 1006

    asyncio.run(ask())


@pytest.mark.parametrize("name", ["malformed-event", "unknown-event"])
def test_a_message_that_no_client_expects(free_ports: Ports, name: str) -> None:
    """One strange message in between; everything else arrives."""
    [port], key, faults = free_ports(1), _key(), Faults()
    faults.arm(name)

    async def ask() -> None:
        async with serving(port, key=key, faults=faults), _socket(port, key) as socket:
            await socket.send('{"type":"response.create"}')
            strange, done = 0, False
            while not done:
                text = await socket.recv()
                try:
                    kind = json.loads(text)["type"]
                except ValueError:
                    strange += 1
                    continue
                strange += kind == "future.event"
                done = kind == "response.done"
            assert strange == 1

    asyncio.run(ask())


def test_faults_that_do_not_exist_are_named(free_ports: Ports) -> None:
    """400 with the list of those that do; GET shows the catalogue; DELETE disarms."""
    [port] = free_ports(1)

    async def ask() -> None:
        async with serving(port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/_sim") as http:
            for body in (
                {"name": "explode"},
                {"name": "delay", "hours": 1},
                {"name": "delay", "seconds": "x"},
            ):
                assert (await http.post("/faults", json=body)).status_code == 400
            assert (await http.post("/faults", content=b"{")).status_code == 400
            assert "stall" in (await http.post("/faults", json={"name": "explode"})).text
            await http.post("/faults", json={"name": "stall", "times": 2, "seconds": 1})
            assert (await http.get("/faults")).json()["armed"][0]["seconds"] == 1
            await http.delete("/faults")
            assert (await http.get("/faults")).json()["armed"] == []

    asyncio.run(ask())


def test_a_frame_that_is_too_big_ends_the_connection(free_ports: Ports) -> None:
    """More than 24 MiB is closed with 1009; 15 MiB of audio is taken; the server lives on."""
    [port] = free_ports(1)

    async def ask() -> None:
        async with serving(port):
            async with _socket(port, "any") as socket:
                await socket.recv()
                with suppress(ConnectionClosed):
                    await socket.send("x" * (25 << 20))
                assert (await _closed(socket))[1] == 1009
            async with _socket(port, "any") as socket:
                assert json.loads(await socket.recv())["type"] == "session.created"

    asyncio.run(ask())


def test_a_client_that_reads_nothing_is_let_go(free_ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded."""
    monkeypatch.setattr("ops.vendors.openai.simulator.connection.WAITING_LIMIT", 50)
    [port], faults = free_ports(1), Faults()
    faults.arm("stall", after_events=2, seconds=30)

    async def ask() -> None:
        async with serving(port, faults=faults), _socket(port, "any") as socket:
            with suppress(ConnectionClosed):
                for _ in range(100):
                    await socket.send('{"type":"input_audio_buffer.clear"}')
            async with asyncio.timeout(5):
                assert (await _closed(socket))[1] == 1006

    asyncio.run(ask())


@pytest.mark.parametrize("method", ["receive", "tick"])
def test_a_session_that_breaks_is_closed_with_1011(
    free_ports: Ports, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A bug of ours ends that one connection, and says so."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(f"ops.vendors.openai.simulator.session.Session.{method}", broken)
    [port] = free_ports(1)

    async def ask() -> None:
        async with serving(port), _socket(port, "any") as socket:
            await socket.send('{"type":"response.create"}')
            assert (await _closed(socket))[1] == 1011

    asyncio.run(ask())


def test_binary_frames_are_read_as_text(free_ports: Ports) -> None:
    """A client that sends JSON as bytes is understood; other bytes are invalid_json."""
    [port] = free_ports(1)

    async def ask() -> None:
        async with serving(port), _socket(port, "any") as socket:
            await socket.send(b"\xff\x00")
            await socket.send(b'{"type":"input_audio_buffer.clear"}')
            answers = [json.loads(await socket.recv()) for _ in range(4)][2:]
            assert answers[0]["error"]["code"] == "invalid_json"
            assert answers[1]["type"] == "input_audio_buffer.cleared"

    asyncio.run(ask())


def test_unknown_paths_answer_in_openais_shape(free_ports: Ports) -> None:
    """404 with an error object."""
    [port] = free_ports(1)

    async def ask() -> None:
        async with serving(port), httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/v1/nothing")
            assert answer.status_code == 404
            assert answer.json()["error"]["type"] == "invalid_request_error"

    asyncio.run(ask())


def test_a_refused_connection_is_shown_with_its_reason(free_ports: Ports) -> None:
    """`/_sim/sessions` tells why a connection never became a session, and how long another one lasted."""
    [port], key = free_ports(1), _key()

    async def go() -> list[dict[str, Any]]:
        async with serving(port, key=key), httpx.AsyncClient() as http:
            beta = {"OpenAI-Beta": "realtime=v1"}
            async with _socket(port, key, headers=beta) as socket:
                await _closed(socket)
            with suppress(InvalidStatus):
                async with _socket(port, key, model=""):
                    pass
            async with _socket(port, key) as socket:
                await socket.send(json.dumps({"type": "session.update", "session": PCMU}))
                while json.loads(await socket.recv())["type"] != "session.updated":
                    pass
            shown: list[dict[str, Any]] = []
            while len(shown) < 3 or any(each["live"] for each in shown):
                shown = (await http.get(f"http://127.0.0.1:{port}/_sim/sessions")).json()["sessions"]
            return shown

    beta, denied, served = asyncio.run(go())
    assert (beta["close"]["code"], beta["errors"][0]["code"]) == (4000, "beta_api_shape_disabled")
    assert (denied["status"], denied["errors"][0]["code"], denied["close"]) == (400, "missing_model", None)
    assert served["opened"] <= served["configured"] <= served["ended"]
    assert not served["errors"]
    assert beta.keys() - {"status"} == served.keys()
