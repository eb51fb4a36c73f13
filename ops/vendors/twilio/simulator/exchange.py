"""Who exists and which calls are up: the account, its numbers, the phones of the world, the queue."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from dataclasses import replace
from functools import cached_property
from typing import Any

from ops.vendors.twilio.simulator import twiml
from ops.vendors.twilio.simulator.account import Account, Number
from ops.vendors.twilio.simulator.callbacks import Requester
from ops.vendors.twilio.simulator.calls import Call, Direction, Instructions, utc_now
from ops.vendors.twilio.simulator.clock import Clock
from ops.vendors.twilio.simulator.debugger import Debugger
from ops.vendors.twilio.simulator.errors import Notice, invalid
from ops.vendors.twilio.simulator.faults import Faults
from ops.vendors.twilio.simulator.phone import Person, Phone

CALLS_KEPT = 1000
RECORDINGS_KEPT = 50
E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


class Exchange:
    """One account's world. All its methods belong to one event loop."""

    def __init__(
        self, account: Account, numbers: tuple[Number, ...], *, resume_after_loss: bool = True
    ) -> None:
        self.account = account
        self.numbers = {number.sid: number for number in numbers}
        self.people: dict[str, Person] = {}
        self.phones: dict[str, Phone] = {}
        self.faults = Faults()
        self.debugger = Debugger()
        self.requests: deque[dict[str, Any]] = deque(maxlen=1000)
        self.answering = 0  # requests of REST that have come and not been answered
        self.resume_after_loss = resume_after_loss
        self.requester = Requester(account.token)
        self._next_start = 0.0

    @cached_property
    def clock(self) -> Clock:
        """What all lines run by; it begins with the first of them, when the event loop runs."""
        return Clock()

    def new_sid(self, prefix: str) -> str:
        return prefix + secrets.token_hex(16)

    def number_of(self, phone_number: str) -> Number | None:
        return next((each for each in self.numbers.values() if each.phone_number == phone_number), None)

    def place(
        self, to: str, from_: str, instructions: Instructions, *, timeout: float, time_limit: float
    ) -> Phone:
        """An outbound call as REST asks for it; one starts each second, the others wait in the queue.

        It rings for `timeout` seconds and lasts `time_limit` at most. Raises RestError.
        """
        self._admit(to, from_)
        now = asyncio.get_running_loop().time()
        start = max(now, self._next_start)
        self._next_start = start + 1 / self.account.calls_per_second
        call = self._call(from_, to, "outbound-api", instructions)
        number = self.number_of(from_)
        call = replace(
            call, timeout=timeout, time_limit=time_limit, number_sid=number.sid if number else None
        )
        return self._up(call, self.people.get(to, Person()), start - now)

    def _admit(self, to: str, from_: str) -> None:
        if not E164.fullmatch(to):
            raise invalid(21211, f"The phone number you are attempting to call, {to[:40]}, is not valid.")
        if not E164.fullmatch(from_):
            raise invalid(21212, f"The phone number provided as 'From', {from_[:40]}, is not valid.")
        if not self.number_of(from_) and from_ not in self.account.verified:
            raise invalid(
                21210,
                f"The source phone number provided, {from_}, is not yet verified for your account. "
                "You may only make calls from phone numbers that you've verified or purchased from Twilio.",
            )
        if not self._reachable(to):
            raise invalid(
                21219,
                f"The number {to} is unverified. Trial accounts may only make calls to verified numbers.",
            )

    def _reachable(self, to: str) -> bool:
        return not self.account.trial or to in self.account.verified or self.number_of(to) is not None

    def ring(self, from_: str, to: str, person: Person, webhook: str | None) -> Phone:
        """Somebody calls one of the account's numbers (KeyError: it has no such number)."""
        number = self.number_of(to)
        if number is None:
            raise KeyError(to)
        instructions = replace(number.voice, url=webhook) if webhook else number.voice
        call = replace(self._call(from_, to, "inbound", instructions), number_sid=number.sid)
        return self._up(call, person, 0.0)

    def dial_out(self, parent: Phone, verb: twiml.Dial) -> Phone | None:
        """The second leg of a `<Dial>`; None when it may not be dialled, which the debugger tells."""
        caller_id = verb.caller_id or parent.call.from_
        own = (parent.call.from_, parent.call.to)
        if caller_id not in own and not self.number_of(caller_id) and caller_id not in self.account.verified:
            parent.notice(Notice(13214, f"{caller_id} is not a number of this account"))
            return None
        to = verb.number if verb.number.startswith("+") else f"+{verb.number}"
        if not E164.fullmatch(to) or not self._reachable(to):
            parent.notice(Notice(13223, f"{verb.number} cannot be called"))
            return None
        instructions = Instructions(
            status_callback=parent.documents.address(verb.status_callback) if verb.status_callback else None,
            status_method=verb.status_method,
            status_events=verb.status_events,
        )
        call = self._call(caller_id, to, "outbound-dial", instructions)
        call = replace(call, parent_sid=parent.call.sid, timeout=float(verb.timeout))
        return self._up(call, self.people.get(to, Person()), 0.0)

    def _call(self, from_: str, to: str, direction: Direction, instructions: Instructions) -> Call:
        sid = self.new_sid("CA")
        return Call(sid, self.account.sid, from_, to, direction, utc_now(), instructions)

    def _up(self, call: Call, person: Person, delay: float) -> Phone:
        phone = self.phones[call.sid] = Phone(call, person, self, delay)
        over = [each for each in self.phones.values() if each.ended.done()]
        for old in over[:-RECORDINGS_KEPT]:
            if old.line:
                old.line.recording.close()
        for old in over[:-CALLS_KEPT]:
            del self.phones[old.call.sid]
        return phone

    async def close(self) -> None:
        """Hang up every call and let the last callbacks go out."""
        phones = list(self.phones.values())
        for phone in phones:
            phone.hang_up("shutdown")
        tasks = [task for phone in phones for task in (phone.task, phone.reports.task) if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)
        for task in tasks:
            task.cancel()
        for phone in phones:
            if phone.line:
                phone.line.recording.close()
        await self.requester.close()
        self.clock.close()
