"""When the model counts as lost, when to try again, when to give up. Pure.

All times are seconds of the session's own clock. A session that was lost is replaced by another one
of the next generation; whatever an older generation still says is not heard.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf

from ops.net.retry import Attempts, Policy

STALL = 4.5  # seconds without any event while one is due
ROLL_OVER = 55 * 60.0  # the model ends a session at 60 minutes; we do so before, in a pause
ROLL_OVER_LATEST = 59 * 60.0
ANSWER_RETRIES = (0.3, 0.8, 2.0)  # seconds before a failed answer is asked for again


@dataclass
class Recovery:
    """The life of the model's sessions within one call."""

    policy: Policy = field(default_factory=Policy)
    dice: random.Random = field(default_factory=random.Random)
    generation: int = 0
    first: bool = True  # no session has taken part in the call yet
    ready_at: float | None = None  # since when the present session takes part in the call
    reopen_at: float | None = None  # when to try the next one
    due_since: float | None = None  # since when an event has been due, and none came
    failed_answers: int = 0
    _attempts: Attempts = field(default_factory=Attempts)

    def open(self) -> int:
        """The generation of the session that is opened now."""
        self.generation += 1
        self.ready_at = self.reopen_at = self.due_since = None
        return self.generation

    def opened(self, now: float) -> None:
        """Its socket is open: the session's first event is due."""
        self.due_since = now

    def ready(self, now: float) -> None:
        self.first = False
        self.ready_at, self.due_since = now, None

    def lost(self, now: float) -> bool:
        """The session is gone; whether it is tried again, which `reopen_at` then says when."""
        uptime = 0.0 if self.ready_at is None else now - self.ready_at
        self._attempts = self._attempts.after(self.policy, uptime)
        self.ready_at = self.due_since = None
        if self._attempts.exhausted(self.policy):
            self.reopen_at = None
            return False
        first = self._attempts.failed == 1  # at once, but not all calls in the same moment
        delay = self.dice.uniform(0.0, 0.1) if first else self._attempts.delay(self.policy, self.dice) / 2
        self.reopen_at = now + delay
        return True

    def succeeded(self) -> None:
        """The model answered: earlier losses no longer count."""
        self._attempts = Attempts()

    def close(self) -> None:
        """No session is wanted any more; what the last one still says is not heard."""
        self.generation += 1
        self.ready_at = self.reopen_at = self.due_since = None

    def expect(self, now: float) -> None:
        """From now on an event is due."""
        if self.due_since is None:
            self.due_since = now

    def heard(self, now: float) -> None:
        """An event came; if more is due, the wait for it begins anew."""
        if self.due_since is not None:
            self.due_since = now

    def stalled(self, now: float) -> bool:
        return self.due_since is not None and now - self.due_since >= STALL

    def answer_failed(self, now: float) -> float | None:
        """When to ask again for an answer that failed; None when it has failed too often."""
        if self.failed_answers >= len(ANSWER_RETRIES):
            return None
        delay = ANSWER_RETRIES[self.failed_answers] * (1 + 0.3 * self.dice.uniform(-1, 1))
        self.failed_answers += 1
        return now + delay

    def rolls_over(self, now: float, pause: bool) -> bool:
        """Whether the session is old enough to be replaced now; `pause` says that nobody speaks."""
        if self.ready_at is None:
            return False
        age = now - self.ready_at
        return age >= ROLL_OVER_LATEST or (pause and age >= ROLL_OVER)

    def wake_at(self, now_idle: bool) -> float:
        """When something of this is due next, in seconds; infinity: nothing is."""
        reopens = inf if self.reopen_at is None else self.reopen_at
        stalls = inf if self.due_since is None else self.due_since + STALL
        grows_old = ROLL_OVER if now_idle else ROLL_OVER_LATEST
        return min(reopens, stalls, inf if self.ready_at is None else self.ready_at + grows_old)
