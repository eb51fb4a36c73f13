"""What the bridge holds at once at most, and what nobody can make it unpack."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ops.vendors.twilio import wire
from tests.apps.inside import inside, run
from tests.apps.test_bridge import close_code, new_call, next_event


def test_calls_at_once_are_limited(root: Path) -> None:
    """At the cap a further caller hears that all lines are busy, and signed streams that have not shown a ticket
    yet cannot pile up either; a free line is taken again."""

    async def scenario() -> None:
        async with inside(root, MAX_LIVE_CALLS="1") as one:
            sid = new_call()
            async with one.stream() as phone:
                with pytest.raises(InvalidStatus) as caught:
                    await one.stream()
                assert caught.value.response.status_code == 403
                await phone.send(one.start(sid, await one.ticket(sid)))
                assert await next_event(phone) == "media"
                busy = (await one.webhook(new_call())).text
                assert "<Stream" not in busy
                assert "<Say>" in busy
                assert "<Stream" not in (await one.webhook(new_call(), "/resume")).text
                await phone.send('{"event":"stop"}')
                await close_code(phone)
            await one.model.until(lambda: one.model.open == 0)
            async with asyncio.timeout(20):
                while "<Stream" not in (await one.webhook(new_call())).text:
                    await asyncio.sleep(0.02)
            assert one.model.connections == 1

    run(scenario)


def test_a_stream_is_never_packed(root: Path) -> None:
    """Who offers compression gets none: what does not unpack cannot explode."""

    async def scenario() -> None:
        async with inside(root) as one:
            url = f"ws://127.0.0.1:{one.port}/call"
            headers = {"X-Twilio-Signature": wire.sign(one.token, url)}
            async with connect(url, additional_headers=headers, compression="deflate", proxy=None) as phone:
                assert phone.response is not None
                assert "Sec-WebSocket-Extensions" not in phone.response.headers

    run(scenario)
