"""The controls on a media stream until its call is carried: handshake, start message, ticket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect

from ops.apps import carrier, tickets
from ops.apps.streams import Stream
from ops.apps.switchboard import Switchboard
from ops.apps.tickets import Ticket, Tickets
from ops.apps.transports import Socket
from ops.vendors.twilio import wire
from tests.apps.controls import Control, nothing, yes
from tests.apps.inside import Inside
from tests.apps.test_bridge import new_call
from tests.apps.test_forgeries import Forgery, ask

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
MEDIA = '{"event":"media","streamSid":"MZ1","media":{"timestamp":"0","payload":"UFBQUA=="}}'


async def ticket_of(one: Inside, sid: str, path: str = "/twiml") -> str:
    """The ticket that a signed webhook of this call is given."""
    form = {"CallSid": sid, "AccountSid": one.account, "From": "+12025550123"}
    _, body = await ask(one, Forgery(form, path=path).bytes(one))
    found = re.search(rb'name="ticket" value="([^"]+)"', body)
    assert found, body
    return found[1].decode()


async def until_either(phone: ClientConnection, one: Inside, what: Callable[[], bool]) -> bool:
    """Whether something was so at the model before the phone's socket was closed."""
    waiting = [asyncio.create_task(phone.wait_closed()), asyncio.create_task(one.model.until(what))]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return what()


async def let_in(one: Inside, phone: ClientConnection, *messages: str) -> bool:
    """Whether these messages open a session of the model."""
    before = one.model.connections
    for message in messages:
        await phone.send(message)
    return await until_either(phone, one, lambda: one.model.connections > before)


async def shown(one: Inside, sid: str, ticket: str, **changes: Any) -> bool:
    """Whether a signed stream with this start message is let in."""
    async with one.stream() as phone:
        return await let_in(one, phone, CONNECTED, one.start(sid, ticket, **changes))


async def asked(one: Inside, path: str, headers: dict[str, str]) -> bool:
    """Whether a handshake with these headers, and then a right start, is let in."""
    sid = new_call()
    start = one.start(sid, await ticket_of(one, sid))
    url = f"ws://127.0.0.1:{one.port}{path}"
    try:
        async with connect(url, additional_headers=headers, compression=None, proxy=None) as phone:
            return await let_in(one, phone, start)
    except Exception:
        return False


async def unsigned(one: Inside) -> bool:
    return await asked(one, "/call", {})


async def on_another_path(one: Inside) -> bool:
    signature = wire.sign(one.token, f"ws://127.0.0.1:{one.port}/call")
    return await asked(one, "/call/other", {"X-Twilio-Signature": signature})


def any_call(path: bytes, media_path: str) -> bool:
    return path.startswith(media_path.encode())


async def beside_one_that_says_nothing(one: Inside) -> bool:
    async with one.stream():
        signature = wire.sign(one.token, f"ws://127.0.0.1:{one.port}/call")
        return await asked(one, "/call", {"X-Twilio-Signature": signature})


def however_many(self: Switchboard, peer: str, signatures: Any) -> bool:
    return self.door.upgrade(signatures) is None


async def starting_late(one: Inside) -> bool:
    """It keeps talking, but the start message comes too late."""
    sid = new_call()
    ticket = await ticket_of(one, sid)
    async with one.stream() as phone:
        try:
            for _ in range(6):
                await phone.send(CONNECTED)
                await asyncio.sleep(0.03)
            return await let_in(one, phone, one.start(sid, ticket))
        except Exception:
            return False


async def starting_after_much(one: Inside) -> bool:
    """All at once, so that nobody can have taken any of it."""
    sid = new_call()
    ticket = await ticket_of(one, sid)
    async with one.stream() as phone:
        return await let_in(one, phone, *[CONNECTED] * 20, one.start(sid, ticket))


async def starting_with_sound(one: Inside) -> bool:
    sid = new_call()
    ticket = await ticket_of(one, sid)
    async with one.stream() as phone:
        return await let_in(one, phone, MEDIA, one.start(sid, ticket))


async def any_first(socket: Socket) -> wire.Start:
    while not isinstance(message := wire.decode(await socket.receive()), wire.Start):
        pass
    return message


async def of_another_account(one: Inside) -> bool:
    sid = new_call()
    return await shown(one, sid, await ticket_of(one, sid), accountSid="AC" + "f" * 32)


async def of_another_sound(one: Inside) -> bool:
    sid = new_call()
    wide = {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1}
    return await shown(one, sid, await ticket_of(one, sid), mediaFormat=wide)


_redeem, _find = Stream._redeem, Tickets.redeem


async def of_any_account(self: Stream, start: wire.Start) -> Any:
    return await _redeem(self, replace(start, account_sid=self._bridge.settings.twilio_account_sid))


async def of_any_sound(self: Stream, start: wire.Start) -> Any:
    return await _redeem(self, replace(start, encoding="audio/x-mulaw", sample_rate=8000))


async def with_a_guess(one: Inside) -> bool:
    sid = new_call()
    await ticket_of(one, sid)
    return await shown(one, sid, "x" * 43)


async def with_anothers_ticket(one: Inside) -> bool:
    sid = new_call()
    await ticket_of(one, sid)
    return await shown(one, sid, await ticket_of(one, new_call()))


def of_any_call(self: Tickets, call_sid: str, secret: str, now: float) -> Ticket | None:
    found = [sid for sid, ticket in self._out.items() if ticket.secret == secret]
    return _find(self, found[0] if found else call_sid, secret, now)


async def with_a_used_ticket(one: Inside) -> bool:
    """Its first stream is gone, and the call is not over."""
    sid = new_call()
    ticket = await ticket_of(one, sid)
    async with one.stream() as phone:
        assert await let_in(one, phone, one.start(sid, ticket))
        phone.transport.abort()
    await one.model.until(lambda: one.model.open == 0)
    return await shown(one, sid, ticket)


def again_and_again(self: Tickets, call_sid: str, secret: str, now: float) -> Ticket | None:
    kept = dict(self._out)
    found = _find(self, call_sid, secret, now)
    self._out = kept
    return found


async def with_a_late_ticket(one: Inside) -> bool:
    sid = new_call()
    ticket = await ticket_of(one, sid)
    await asyncio.sleep(0.08)
    return await shown(one, sid, ticket)


async def with_an_older_ticket(one: Inside) -> bool:
    sid = new_call()
    older = await ticket_of(one, sid)
    await ticket_of(one, sid)
    return await shown(one, sid, older)


class AllOfThem(Tickets):
    """Tickets of which a newer one does not void the older."""

    def __init__(self) -> None:
        super().__init__()
        self._older: list[Ticket] = []

    def issue(self, call_sid: str, *rest: Any, **options: Any) -> str:
        if call_sid in self._out:
            self._older.append(self._out[call_sid])
        return super().issue(call_sid, *rest, **options)

    def redeem(self, call_sid: str, shown: str, now: float) -> Ticket | None:
        older = next((ticket for ticket in self._older if ticket.secret == shown), None)
        return older or super().redeem(call_sid, shown, now)


async def beside_one_that_lives(one: Inside) -> bool:
    """With a right ticket, which the repeated webhook of a live call is given."""
    sid = new_call()
    async with one.stream() as phone:
        assert await let_in(one, phone, one.start(sid, await ticket_of(one, sid)))
        return await shown(one, sid, await ticket_of(one, sid))


async def more_than_may_live(one: Inside) -> bool:
    """Two webhooks come while there is a line for each, and then both streams."""
    first, second = new_call(), new_call()
    tickets = [await ticket_of(one, sid) for sid in (first, second)]
    async with one.stream() as phone:
        assert await let_in(one, phone, one.start(first, tickets[0]))
        return await shown(one, second, tickets[1])


async def with_room(self: Stream, start: wire.Start) -> Any:
    return self._bridge.tickets.redeem(start.call_sid, start.parameters["ticket"], 0.0)


same = SimpleNamespace(compare_digest=yes)
SHORT = {"ops.apps.tickets.LIFE": 0.05}

CONTROLS = {
    "a signature": Control(unsigned, {"ops.apps.door.Door.upgrade": nothing}),
    "the stream's own path": Control(on_another_path, {"ops.apps.listener.is_media": any_call}),
    "few without a start": Control(
        beside_one_that_says_nothing,
        {"ops.apps.switchboard.Switchboard.admit": however_many},
        settings={"MAX_LIVE_CALLS": "1"},
    ),
    "a start in time": Control(
        starting_late,
        {"ops.apps.carrier.START_WITHIN": carrier.START_WITHIN},
        {"ops.apps.carrier.START_WITHIN": 0.1},
    ),
    "few messages that wait": Control(
        starting_after_much, {"ops.apps.transports.KEPT": 1000}, {"ops.apps.transports.KEPT": 5}
    ),
    "a start before all else": Control(
        starting_with_sound, {"ops.apps.carrier._start_message": any_first}
    ),
    "our own account": Control(
        of_another_account, {"ops.apps.streams.Stream._redeem": of_any_account}
    ),
    "mu-law at 8 kHz": Control(of_another_sound, {"ops.apps.streams.Stream._redeem": of_any_sound}),
    "the ticket's secret": Control(with_a_guess, {"ops.apps.tickets.hmac": same}),
    "the ticket of this call": Control(with_anothers_ticket, {"ops.apps.tickets.Tickets.redeem": of_any_call}),
    "a ticket once": Control(with_a_used_ticket, {"ops.apps.tickets.Tickets.redeem": again_and_again}),
    "a ticket in time": Control(with_a_late_ticket, {"ops.apps.tickets.LIFE": tickets.LIFE}, SHORT),
    "the newest ticket": Control(with_an_older_ticket, {"ops.apps.switchboard.Tickets": AllOfThem}),
    "one stream that lives": Control(beside_one_that_lives, {"ops.apps.streams.DELIVERS": 0.0}),
    "calls at once, however they came": Control(
        more_than_may_live,
        {"ops.apps.streams.Stream._redeem": with_room},
        {"ops.apps.switchboard.Switchboard.full": nothing},
        {"MAX_LIVE_CALLS": "1"},
    ),
}  # fmt: skip
