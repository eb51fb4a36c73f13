"""Rate limits as `rate_limits.updated` tells them: requests and tokens of the last minute. Pure."""

from __future__ import annotations

from ops.vendors.faults import Armed
from ops.vendors.openai.simulator.events import Event, event

LIMITS = {"requests": 5000, "tokens": 400_000}
RESERVED = 4096  # output tokens that a response reserves when it begins


class Limits:
    """Counts what responses took; nothing is refused here, faults do that."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, int]] = []

    def event(self, now: float, tokens: int, low: Armed | None = None) -> Event:
        """The event at the beginning of a response that reads so many tokens; a fault leaves little."""
        self._taken = [(at, count) for at, count in self._taken if at > now - 60]
        self._taken.append((now, tokens + RESERVED))
        used = {"requests": len(self._taken), "tokens": sum(count for _, count in self._taken)}
        return event(
            "rate_limits.updated",
            rate_limits=[
                {
                    "name": name,
                    "limit": limit,
                    "remaining": max(0, limit - used[name])
                    if low is None
                    else int(limit * low.numbers["share"]),
                    "reset_seconds": round(60 * used[name] / limit, 3),
                }
                for name, limit in LIMITS.items()
            ],
        )
