"""Places a test call and follows it live until its last record: Twilio's status, the call's journal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from ops import values
from ops.calls.scenario import Scenario
from ops.calls.timeline import HOPS
from ops.config import Settings
from ops.errors import OpsError, Refused
from ops.journal.collect import Source
from ops.journal.entry import Entry
from ops.journal.follow import Tail
from ops.journal.hops import Hop
from ops.journal.write import logger
from ops.vendors.twilio.client import Twilio
from ops.vendors.twilio.destinations import Destinations

RING = 45.0  # seconds: a phone may ring this long before somebody answers
UNHEARD = 1.0  # seconds that a call without a media stream is still looked at
LOOK = 0.05  # seconds between two looks at the journal
TERMINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_SID = re.compile(r"CA[0-9a-f]{32}")
_log = logger(__name__)

Kind = Literal["note", "status", "hop", "caller", "agent", "turn", "trouble"]


@dataclass(frozen=True)
class Progress:
    """One thing that was seen while the call goes on, ms after it was placed."""

    at_ms: float
    kind: Kind
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Followed:
    """A call that is over: its last status at Twilio, its records, and whether we had to end it."""

    call_sid: str
    status: str
    records: tuple[Mapping[str, Any], ...]
    cut_short: bool


def numbers(settings: Settings, to: str | None) -> tuple[str, str]:
    """Who is called and from which number; OpsError says which setting is missing or odd, or
    why the number may not be dialled."""
    called, caller = to or settings.twilio_agent_number, settings.twilio_phone_number
    if not called:
        raise OpsError("There is no number to call.", fix="add --to +1…, or set TWILIO_AGENT_NUMBER in .env")
    if not caller:
        raise OpsError(
            "The agent has no number to call from.",
            fix="set TWILIO_PHONE_NUMBER in .env to a number of the Twilio account",
        )
    try:
        parsed = values.phone_number(called)
    except ValueError as problem:
        raise OpsError(f"--to: expected {problem}, got {called[:40]!r}.", fix="correct the number") from None
    number = str(parsed.value) if isinstance(parsed, values.Repaired) else parsed
    if number == caller:
        raise OpsError(f"The agent cannot call itself at {caller}.", fix="name another number with --to")
    if (refusal := Destinations.of(settings).refusal(number)) is not None:
        raise refusal  # the client would say so too, but only after the phone was taught and the tunnel asked
    return number, caller


def place(
    settings: Settings,
    scenario: Scenario,
    *,
    public_url: str,
    to: str | None,
    progress: Callable[[Progress], None],
) -> Followed:
    """Place the call and follow it to its end. Every way out, Ctrl-C too, leaves no call behind.

    Raises Refused or Unreachable when Twilio does not take the call.
    """
    called, caller = numbers(settings, to)
    asked = datetime.now(UTC)
    with Twilio.of(settings) as twilio:
        call = twilio.create_call(
            to=called,
            from_=caller,
            url=f"{public_url}/twiml?record=1",
            status_callback=f"{public_url}/status",
        )
        if not _SID.fullmatch(call.sid):
            raise Refused(
                f"Twilio answered with a call SID that is none: {call.sid[:60]!r}.",
                fix="check TWILIO_API_URL: it is not Twilio's API",
            )
        _log.hop(Hop.PLACED, "the test call was placed", call_sid=call.sid)
        following = _Following(settings, scenario, twilio, call.sid, asked, progress)
        following.tell("status", call.status)
        try:
            return following.to_the_end()
        except BaseException:
            following.hang_up()
            raise
        finally:
            following.close()


class _Following:
    def __init__(
        self,
        settings: Settings,
        scenario: Scenario,
        twilio: Twilio,
        call_sid: str,
        asked: datetime,
        progress: Callable[[Progress], None],
    ) -> None:
        self._settings, self._scenario, self._twilio = settings, scenario, twilio
        self._sid, self._progress = call_sid, progress
        self._origin, self._began = asked.timestamp(), time.monotonic()
        placed = Entry(asked, "INFO", "call", Hop.PLACED, fields={"call_sid": call_sid})
        self._records: list[Mapping[str, Any]] = [placed.to_dict()]
        self._tail = Tail(Source(settings.logs / "calls" / call_sid / "journal.jsonl", "call"))
        self._seen: set[str] = set()
        self._started: float | None = None
        self._status = "queued"
        self._next_poll = 0.0

    def to_the_end(self) -> Followed:
        """Until Twilio calls it over and the bridge wrote its last record, each with its limit."""
        cut_short = not self._until(self._over, self._limit)
        if cut_short:
            self.tell("trouble", "the call takes too long and is hung up")
            self.hang_up()
        # What is left to come: the last records of a call that reached the bridge, Twilio's last status.
        late = UNHEARD if self._started is None else self._settings.timeout_additional_logs
        ending = time.monotonic()
        self._until(lambda: Hop.ENDED in self._seen and self._status in TERMINAL, lambda: ending + late)
        self.hang_up()
        return Followed(self._sid, self._status, tuple(self._records), cut_short)

    def hang_up(self) -> None:
        """End the call at Twilio if it is not over; a refusal means that it is."""
        if self._status not in TERMINAL:
            with suppress(OpsError):
                self._status = self._twilio.hang_up(self._sid).status

    def close(self) -> None:
        self._tail.close()

    def tell(self, kind: Kind, text: str, **fields: Any) -> None:
        at = fields.pop("at_ms", round((time.monotonic() - self._began) * 1000, 1))
        self._progress(Progress(at, kind, text, fields))

    def _until(self, done: Callable[[], bool], limit: Callable[[], float]) -> bool:
        while not done():
            if time.monotonic() > limit():
                return False
            self._look()
            time.sleep(LOOK)
        return True

    def _over(self) -> bool:
        return self._status in TERMINAL or Hop.ENDED in self._seen

    def _limit(self) -> float:
        """Until when the call may go on: it may ring for a while, then it has the scenario's time."""
        return self._began + RING if self._started is None else self._started + self._scenario.seconds

    def _look(self) -> None:
        for entry in self._tail.new(last=False):
            if entry.event != Hop.PLACED:  # our own record is here already
                self._records.append(entry.to_dict())
                self._show(entry)
        if time.monotonic() >= self._next_poll and self._status not in TERMINAL:
            self._poll()

    def _poll(self) -> None:
        soon = 0.1 if Hop.ENDED in self._seen else self._settings.retry_interval
        self._next_poll = time.monotonic() + soon
        try:
            status = self._twilio.fetch_call(self._sid).status
        except OpsError as problem:  # the journal goes on telling; the next poll may be answered
            self.tell("trouble", problem.message)
            return
        if status != self._status:
            self._status = status
            self.tell("status", status)

    def _show(self, entry: Entry) -> None:
        event, at = entry.event, round((entry.ts.timestamp() - self._origin) * 1000, 1)
        if event == Hop.ANSWERED:
            latency, interrupted = entry.fields.get("latency_ms"), entry.fields.get("barge_in") is True
            text = f"turn {entry.fields.get('turn', '?')} answered after {latency} ms"
            text += ", after an interruption" if interrupted else ""
            self.tell("turn", text, at_ms=at, latency_ms=latency, barge_in=interrupted)
        elif event in ("transcript.caller", "transcript.agent"):
            speaker: Kind = "caller" if event == "transcript.caller" else "agent"
            self.tell(speaker, str(entry.fields.get("text", "")), at_ms=at)
        elif entry.level in ("ERROR", "WARNING"):
            self.tell("trouble", f"{event}: {entry.msg}", at_ms=at, level=entry.level)
        if event == Hop.STARTED and self._started is None:
            self._started = time.monotonic()
        if event in HOPS and event not in self._seen:
            self._seen.add(event)
            self.tell("hop", event, at_ms=at)
