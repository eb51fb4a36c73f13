"""When to try again: how long to wait, when to give up, when a success counts. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How often and how patiently to try; all times in seconds.

    Delays double from `first` to `cap`, each spread by `jitter` (a share of itself) so that many
    clients do not return at the same moment. Only a connection that lasted `stable` seconds
    counts as a success: a server that accepts and closes at once is not hammered.
    """

    limit: int = 3
    first: float = 1.0
    cap: float = 30.0
    jitter: float = 0.3
    stable: float = 5.0


@dataclass(frozen=True)
class Attempts:
    """How many tries in a row have failed so far."""

    failed: int = 0

    def after(self, policy: Policy, uptime: float) -> Attempts:
        """The count after one more connection ended that had been open for `uptime` seconds."""
        return Attempts(1 if uptime >= policy.stable else self.failed + 1)

    def exhausted(self, policy: Policy) -> bool:
        return self.failed > policy.limit

    def delay(self, policy: Policy, dice: random.Random) -> float:
        """Seconds to wait before the next try."""
        steps = min(self.failed - 1, 30) if self.failed else 0
        wanted: float = min(policy.cap, policy.first * 2**steps)
        return wanted * (1 + policy.jitter * dice.uniform(-1, 1))
