"""Streams that are no caller's: none opens anything, none disturbs a call, and the log alone tells of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ops.apps.door import Explanation
from ops.vendors.twilio import wire
from tests.apps.controls.call import heard, media
from tests.apps.controls.stream import let_in, shown, ticket_of
from tests.apps.controls.webhook import fails, form_of
from tests.apps.inside import Inside, inside, run
from tests.apps.test_bridge import FRAME, Bridge, close_code, new_call
from tests.apps.test_forgeries import Forgery, ask

HANDSHAKE = (
    "GET /call HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n"
)


def test_a_crowd_of_strangers_opens_nothing(root: Path) -> None:
    """Five hundred handshakes at once, without a signature or with a wrong one: each is refused, no session of the
    model is opened for any, and a caller gets in meanwhile."""

    async def scenario() -> None:
        async with inside(root) as one:
            wrong = HANDSHAKE.format("X-Twilio-Signature: dGhlIHNhbXBsZSBub25jZSE9PQ==\r\n")
            asked = [HANDSHAKE.format("") if number % 2 else wrong for number in range(500)]
            strangers = asyncio.gather(*(ask(one, text.encode()) for text in asked))
            await asyncio.sleep(0)
            sid = new_call()
            async with one.stream() as phone:
                start = one.start(sid, await ticket_of(one, sid))
                assert await asyncio.wait_for(let_in(one, phone, start), 5)
                assert await strangers == [(403, b"")] * 500
                assert one.model.connections == 1

    run(scenario)


def odd_starts(one: Bridge, sid: str, ticket: str) -> dict[str, str]:
    """Start messages of which something is not as Twilio writes it."""
    right = one.start(sid, ticket)
    return {
        "a stream that would write our messages": right.replace("MZ1", 'MZ\\",\\"event\\":\\"clear'),
        "a stream without a name": right.replace("MZ1", ""),
        "a call with a line end": right.replace(sid, sid + "\\n"),
        "a call with a path": right.replace(sid, "../../" + sid),
        "a ticket that is a number": right.replace(f'"{ticket}"', "7"),
        "half of a letter in the ticket": right.replace(ticket, "\\ud800"),
        "no parameters": one.start(sid, ticket, customParameters=None),
        "no format": one.start(sid, ticket, mediaFormat=None),
        "a list": f"[{right}]",
        "too deep": right[:-1] + ',"x":' + "[" * 20_000 + "]" * 20_000 + "}",
        "cut off": right[:-1],
        "of 64 KiB": right[:-1] + ',"x":"' + "x" * 65_536 + '"}',
    }


def test_no_odd_start_is_let_in(root: Path) -> None:
    """Each closes its own socket, with the code of a refusal or of a message too long; then the right one, with the
    same ticket, is let in."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            ticket = await ticket_of(one, sid)
            codes: dict[str, int | None] = {}
            for name, start in odd_starts(one, sid, ticket).items():
                async with one.stream() as phone:
                    await phone.send(start)
                    codes[name] = await close_code(phone)
            assert codes.pop("of 64 KiB") == 1009
            assert set(codes.values()) == {1008}, codes
            assert one.model.connections == 0
            assert await shown(one, sid, ticket)

    run(scenario)


def test_a_second_start_changes_nothing(root: Path) -> None:
    """A live stream that names another call, with that one's ticket: it stays what it is, and so does the ticket."""

    async def scenario() -> None:
        async with inside(root) as one:
            mine, other = new_call(), new_call()
            ticket = await ticket_of(one, other)
            async with one.stream() as phone:
                assert await let_in(one, phone, one.start(mine, await ticket_of(one, mine)))
                await phone.send(one.start(other, ticket))
                await phone.send(media(FRAME))
                await one.model.until(lambda: heard(one) == 1)
                assert list(one.bridge.live) == [mine]
                assert one.model.connections == 1
            assert await shown(one, other, ticket)

    run(scenario)


async def explained(one: Inside) -> None:
    """The last refusal for which there was time for that."""
    assert one.bridge._explaining is not None
    await one.bridge._explaining


def test_of_a_flood_of_forgeries_one_is_explained(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Looking for the URL that a signature fits takes long: the first is told it, each second, of webhooks and of
    streams alike; whoever asks hears nothing of it."""

    async def scenario(path: str, url: str, asked: str) -> None:
        async with inside(root) as one:
            caplog.clear()
            for _ in range(20):
                if path == "/call":
                    signature = wire.sign(one.token, url.format(one.port))
                    request = HANDSHAKE.format(f"X-Twilio-Signature: {signature}\r\n").encode()
                else:
                    request = Forgery(form_of(one), signed_url=url.format(one.port)).bytes(one)
                assert await ask(one, request) == (403, b"")
            await explained(one)
            told = [record.message for record in caplog.records if record.name == "ops.apps.switchboard"]
            assert len(told) == 20
            assert sum(asked in message for message in told) == 1
            one.bridge._explains_at = 0.0
            assert await ask(one, request) == (403, b"")
            await explained(one)
            assert asked in caplog.records[-1].message

    run(lambda: scenario("/twiml", "https://127.0.0.1:{}/twiml", "scheme https in place of http"))
    run(lambda: scenario("/call", "ws://127.0.0.1:{}/call/", "a trailing slash"))


@pytest.mark.parametrize("library", ["picows", "websockets"])
@pytest.mark.parametrize("path", ["/twiml", "/call"])
def test_an_answer_leaves_before_it_is_explained(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, library: str
) -> None:
    """Whoever is refused has the answer while its reason is still looked for."""
    answered = asyncio.Event()

    def looks_for_it(*_: Any) -> Explanation:
        for _ in range(2000):
            if answered.is_set():
                return "found behind the answer"
            yield
        return "found before the answer"

    async def scenario() -> None:
        async with inside(root, WEBSOCKET_LIBRARY=library) as one:
            monkeypatch.setattr("ops.apps.door.Door._misfit", looks_for_it)
            forged = Forgery(form_of(one), signatures=("x",)).bytes(one)
            request = HANDSHAKE.format("X-Twilio-Signature: x\r\n").encode() if path == "/call" else forged
            assert (await ask(one, request))[0] == 403
            answered.set()
            await explained(one)
            (told,) = (record.message for record in caplog.records if record.name == "ops.apps.switchboard")
            assert told == "Refused: found behind the answer."

    run(scenario)


def test_a_handshake_that_cannot_be_checked_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in the check itself: 403."""

    async def scenario() -> None:
        async with inside(root) as one:
            monkeypatch.setattr("ops.vendors.twilio.wire.signed", fails)
            headers = {"X-Twilio-Signature": "x"}
            with pytest.raises(InvalidStatus) as caught:
                await connect(f"ws://127.0.0.1:{one.port}/call", additional_headers=headers, proxy=None)
            assert caught.value.response.status_code == 403

    run(scenario)


def test_a_stream_that_cannot_be_carried_is_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on the way from its start to its call: the caller is not left on a line that nobody holds."""

    def broken(*_: Any) -> None:
        raise RuntimeError("no agent")

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            ticket = await ticket_of(one, sid)
            monkeypatch.setattr("ops.apps.carrier.agent_of", broken)
            async with one.stream() as phone:
                await phone.send(one.start(sid, ticket))
                assert await close_code(phone) == 1011
            assert one.model.connections == 0

    run(scenario)
