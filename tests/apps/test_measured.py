"""What calls tell of themselves: every series of the metrics page, and each reason for a degraded health."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

from tests.apps.inside import Inside, inside, run
from tests.apps.test_bridge import FRAME, Bridge, Model, close_code, new_call, next_event

QUIET = "/twiml?greeting=off"
USAGE = {
    "input_token_details": {
        "text_tokens": 1000, "audio_tokens": 2000,
        "cached_tokens_details": {"text_tokens": 400, "audio_tokens": 500},
    },
    "output_token_details": {"text_tokens": 100, "audio_tokens": 300},
}  # fmt: skip


@dataclass
class Scripted(Model):
    """It says what it is told to say, and nothing of its own accord."""

    socket: ServerConnection | None = None

    async def serve(self, socket: ServerConnection) -> None:
        self.socket = socket
        await super().serve(socket)

    async def says(self, *said: dict[str, Any]) -> None:
        assert self.socket is not None
        for event in said:
            await self.socket.send(json.dumps(event))


def spoke(item: str, kind: str, ms: int) -> dict[str, Any]:
    """The caller began to speak, or fell silent."""
    at = {"started": "audio_start_ms", "stopped": "audio_end_ms"}[kind]
    return {"type": f"input_audio_buffer.speech_{kind}", "item_id": item, at: ms}


def begun(response: str) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": response}}


def piece(response: str, item: str) -> dict[str, Any]:
    """20 ms of an answer."""
    return {"type": "response.output_audio.delta", "response_id": response, "item_id": item, "delta": FRAME}


def done(response: str) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": response, "status": "completed", "usage": USAGE}}


ANSWERED = (
    spoke("c1", "started", 0),
    spoke("c1", "stopped", 500),
    begun("r1"),
    piece("r1", "i1"),
    done("r1"),
)


async def heard(one: Inside, phone: ClientConnection) -> None:
    """A call whose agent waits for the caller, and whose first frame the model has heard."""
    sid = new_call()
    await phone.send(one.start(sid, await one.ticket(sid, QUIET)))
    await phone.send('{"event":"media","media":{"timestamp":"0","payload":"' + FRAME + '"}}')
    await one.model.until(
        lambda: one.model.got[-1:] == [{"type": "input_audio_buffer.append", "audio": FRAME}]
    )


async def page(one: Bridge) -> dict[str, float]:
    """The metrics, by name and labels."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{one.origin}/metrics")).text
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("voice_"): float(value) for name, value in rows}


async def reason(one: Bridge) -> str:
    """Why the bridge is degraded; nothing where it is not."""
    told = (await one.health()).json()
    assert (told["status"] == "degraded") == ("reason" in told)
    return str(told.get("reason", ""))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_call_moves_every_series(root: Path, workers: str) -> None:
    """A turn that is answered, an answer that runs dry, one that is interrupted, a model that is lost; carried
    by the bridge itself, or by a worker, who tells it."""
    rates = {"text": (600 * 4, 400 * 0.4, 100 * 24), "audio": (1500 * 32, 500 * 0.4, 300 * 64)}
    tokens = {"text": (600, 400, 100), "audio": (1500, 500, 300)}

    async def scenario() -> None:
        model = Scripted()
        async with inside(root, model, WEBSOCKET_WORKERS=workers) as one, one.stream() as phone:
            before = await page(one)
            await heard(one, phone)
            await model.says(*ANSWERED, begun("r2"), piece("r2", "i2"))
            assert [await next_event(phone) for _ in range(3)] == ["media", "mark", "media"]
            await asyncio.sleep(0.06)  # longer than the piece, and than what a phone bridges
            await model.says(piece("r2", "i2"))
            assert await next_event(phone) == "media"
            await model.says(spoke("c2", "started", 600))
            assert await next_event(phone) == "clear"
            assert model.socket is not None
            model.socket.transport.abort()
            await model.until(lambda: model.connections == 2)
            async with asyncio.timeout(10):  # a worker's numbers come a moment later
                while (after := await page(one))["reconnects_total"] == 0:
                    await asyncio.sleep(0.01)
        for series in ("turn_latency_seconds_count", "barge_in_stop_seconds_count", "underruns_total",
                       "reconnects_total", "calls_total"):  # fmt: skip
            assert (before[series], after[series]) == (0, 1), series
        for modality, counts in tokens.items():
            for how, count, cost in zip(("in", "cached", "out"), counts, rates[modality], strict=True):
                labels = f'{{modality="{modality}",kind="{how}"}}'
                assert after[f"tokens_total{labels}"] == count
                assert after[f"dollars_total{labels}"] == pytest.approx(cost / 1e6)
        assert after["cached_input_share"] == 0.3
        assert not any(name.startswith(("tokens_total", "dollars_total")) for name in before)

    run(scenario)


def test_without_a_tunnel_health_is_degraded(root: Path) -> None:
    """Nobody knows yet where the world reaches the bridge."""

    async def scenario() -> None:
        async with inside(root, PUBLIC_URL="") as one:
            assert await reason(one) == "the public URL is not known: no tunnel"
            assert (await one.health()).status_code == 200  # calls that live go on
            one.bridge.door.origin = one.origin
            assert not await reason(one)

    run(scenario)


def test_a_model_that_could_not_be_had_degrades_health_until_one_answers(root: Path) -> None:
    """A refused key ends the call with an apology; the next call's first answer says that it is well again."""

    async def scenario() -> None:
        model = Scripted()
        async with inside(root, model) as one:
            refusal = {"type": "error", "error": {"code": "invalid_api_key", "message": "no"}}
            model.greeting = (json.dumps(refusal),)
            async with one.talking(new_call()):
                assert await reason(one) == "the model could not be had for a call a moment ago"
                assert (await page(one))["given_up_total"] == 1
            model.greeting = ()
            async with one.stream() as phone:
                await heard(one, phone)
                assert await reason(one)
                await model.says(*ANSWERED)
                assert await next_event(phone) == "media"
                assert not await reason(one)

    run(scenario)


def test_a_disk_that_does_not_take_the_calls_files_degrades_health(root: Path) -> None:
    """The call goes on; that it could not come back is told, until the disk takes a row again."""
    calls = root / "logs/run/calls"
    calls.parent.mkdir(parents=True)
    calls.write_text("in the folder's place")

    async def ended(one: Inside) -> None:
        async with one.talking(sid := new_call()) as phone:
            await phone.send('{"event":"stop"}')
            assert await close_code(phone) == 1000
        await one.bridge.book.read(sid)  # returns when all its rows have been written

    async def scenario() -> None:
        async with inside(root) as one:
            await ended(one)
            assert await reason(one) == "the disk does not take the calls' files: a call could not be resumed"
            calls.unlink()
            calls.mkdir()
            await ended(one)
            assert not await reason(one)

    run(scenario)
