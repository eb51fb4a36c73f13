"""All calls of one bridge, and who may start one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from starlette.routing import Route, WebSocketRoute

from ops.apps import agent_tools, tools
from ops.apps.actions import Measure
from ops.apps.callbook import Callbook
from ops.apps.carriage import Live
from ops.apps.door import Door, Explanation, Refusal
from ops.apps.gauges import Gauges
from ops.apps.recent import Recent
from ops.apps.tickets import Tickets
from ops.apps.views import Views
from ops.apps.webhooks import Webhooks
from ops.config import Settings
from ops.errors import OpsError
from ops.journal import write as journal
from ops.net.http import Unanswered
from ops.vendors.ngrok import client as ngrok

ENDED_CALLS = 10_000  # remembered, so that a replayed webhook of theirs opens nothing
EXPLAINED_EVERY = 1.0  # seconds: of a flood of forgeries one is explained; each takes milliseconds
BETWEEN_STEPS = 0.001  # seconds
LOOKS = 2.0  # seconds for one look at where the tunnel leads
AILING = 60.0  # seconds for which health tells of a model that could not be had

log = journal.logger(__name__)


class Switchboard:
    """All calls of this bridge, and who may start one."""

    def __init__(self, settings: Settings) -> None:
        assert settings.twilio_account_sid is not None
        assert settings.twilio_auth_token is not None
        self.settings = settings
        self.door = Door(
            settings.twilio_account_sid,
            settings.twilio_auth_token.reveal(),
            settings.public_url,
            settings.max_signed_calls_per_hour,
            settings.bridge_name,
        )
        self.tickets = Tickets()
        self.toolbox = tools.Toolbox(agent_tools.TOOLS)
        self.gauges = Gauges()
        self.book = Callbook(settings.run_dir / "calls")
        self.live: dict[str, Live] = {}
        self.ended = Recent(ENDED_CALLS)
        self.lost: dict[str, float] = {}  # calls whose stream broke, and until when each is waited for
        self.idle = asyncio.Event()
        self.draining = False
        self._looked = asyncio.Event()  # for the public URL, whatever was found
        self._untold = False  # the last look was not answered
        self.ailments: list[Callable[[], str | None]] = []  # of others, who are asked each time
        self.views = Views(self)
        self.webhooks = Webhooks(self)
        self._ailing_until = 0.0
        self._explains_at = 0.0
        self._explaining: asyncio.Task[None] | None = None
        self.opening = 0  # streams that have shown no ticket yet
        self.idle.set()
        if settings.public_url is not None:
            self._looked.set()

    @property
    def trouble(self) -> str | None:
        """Why the bridge is degraded; None when it is not."""
        if self.door.origin is None:
            return "the public URL is not known: no tunnel"
        if self._untold:
            return "the tunnel's agent does not answer: the public URL may be another by now"
        if time.monotonic() < self._ailing_until:
            return "the model could not be had for a call a moment ago"
        if self.book.failing:
            return "the disk does not take the calls' files: a call could not be resumed"
        return next(filter(None, (ailment() for ailment in self.ailments)), None)

    def refused(self, peer: str, reason: str, path: str = "") -> None:
        """Somebody was not let in: counted, and told in the log alone."""
        self.gauges.measure("refused")
        log.warning("door.refused", f"Refused: {reason}.", path=path, peer=peer)

    def refuse(self, peer: str, refusal: Refusal, path: str) -> None:
        """Likewise, with all that is known of why, as often as there is time for that. Nothing of it is done
        before the answer has left: its time would tell what there was to explain."""
        now = time.monotonic()
        if refusal.explain is None or now < self._explains_at:
            self.refused(peer, refusal.reason, path)
            return
        self._explains_at = now + EXPLAINED_EVERY
        explaining = self._explain(peer, refusal.explain(), path)
        self._explaining = asyncio.get_running_loop().create_task(explaining)

    async def _explain(self, peer: str, steps: Explanation, path: str) -> None:
        """Step by step: before the first the connection is closed, and between any two the calls go on."""
        while True:
            await asyncio.sleep(BETWEEN_STEPS)
            try:
                next(steps)
            except StopIteration as end:
                self.refused(peer, end.value, path)
                return

    def full(self, sid: str) -> bool:
        """Whether there is no line for one more call: those on their way to their streams have one too."""
        expected = self.tickets.expected(time.monotonic(), besides=sid)
        return len(self.live) + expected >= self.settings.max_live_calls

    # The media stream.

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        """Whether a stream's handshake is let in: rightly signed, and not one too many."""
        try:
            refusal = self.door.upgrade(signatures)
        except Exception as problem:  # whatever cannot be checked does not come in
            log.exception("door.failed", "A stream's handshake could not be checked.")
            refusal = Refusal(403, f"it could not be checked: {type(problem).__name__}")
        if refusal is None and self.opening >= self.settings.max_live_calls:
            refusal = Refusal(503, "too many streams without a start message")
        if refusal is not None:
            self.refuse(peer, refusal, self.door.media_path)
        return refusal is None

    def expect_back(self, sid: str, seconds: float) -> None:
        """A call without a stream is on its way to another one: who leaves waits so long for it."""
        now = time.monotonic()
        self.lost = {lost: until for lost, until in self.lost.items() if until > now} | {sid: now + seconds}

    def any_on_the_way_back(self) -> bool:
        """Whether a lost call may still come back."""
        return any(until > time.monotonic() for until in self.lost.values())

    def over(self, sid: str) -> None:
        """Twilio says that the call is over: whatever of it lives ends, and nothing of it comes back."""
        if live := self.live.get(sid):
            live.end("Twilio says that the call is over")
        elif sid not in self.ended:
            self.remember_end(sid, "Twilio says that the call is over")

    def remember_end(self, sid: str, reason: str) -> None:
        """A call that has ended stays ended."""
        self.book.add(sid, "ended", {"reason": reason})
        self.lost.pop(sid, None)
        self.ended.add(sid)

    def measure(self, number: Measure) -> None:
        """Takes a number for the metrics, and what it says of the bridge's health."""
        if number.series == "given_up":
            self._ailing_until = time.monotonic() + AILING
        elif number.series == "turn_latency":
            self._ailing_until = 0.0
        self.gauges.measure(number.series, number.value, number.label)

    # Life.

    async def looked(self) -> None:
        """Until the public URL was looked for once, within limits: a bridge that was started anew finds
        callers at the door, and Twilio hardly asks again."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), LOOKS)

    async def follow_public_url(self) -> None:
        """Keeps the public origin right while the tunnel comes, goes and changes. An agent that does not
        answer says nothing of it: what was known holds, for the tunnel may well carry on."""
        origin: str | None
        while self.settings.public_url is None:
            try:
                origin = await asyncio.to_thread(ngrok.public_url, self.settings, deadline=LOOKS)
                self._untold = False
            except OpsError as problem:
                self._untold = isinstance(problem, Unanswered)
                origin = self.door.origin if self._untold else None
                log.debug("tunnel.unknown", str(problem))
            if origin != self.door.origin:
                log.info("tunnel.origin", f"The public URL is {origin}.", url=origin, was=self.door.origin)
                self.door.origin = origin
            self._looked.set()
            await asyncio.sleep(0.25 if origin is None or self._untold else 2.0)

    def routes(self) -> list[Route | WebSocketRoute]:
        """Every path; those that are not public answer 404 to anyone but this machine."""
        return [
            *self.webhooks.routes(),
            *self.views.routes(),
        ]
