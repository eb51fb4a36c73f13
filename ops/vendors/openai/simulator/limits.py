"""Rate limits as `rate_limits.updated` tells them: what one session took in the last minute. Pure."""

from __future__ import annotations

from ops.vendors.faults import Armed
from ops.vendors.openai.simulator.events import Event, Problem, event

LIMITS = {"requests": 5000, "tokens": 400_000}
RESERVED = 4096  # output tokens that a response reserves when it begins
MINUTE = 60.0


class Limits:
    """Counts what responses took."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, int]] = []

    def take(self, now: float, tokens: int) -> Problem | None:
        """A response that reads so many tokens begins; what it fails with where too little is left for it."""
        self._taken = [(at, count) for at, count in self._taken if at > now - MINUTE]
        asked = {"requests": 1, "tokens": tokens + RESERVED}
        for name, used in self._used().items():
            if used + asked[name] > LIMITS[name]:
                wait = self._taken[0][0] + MINUTE - now if self._taken else MINUTE
                return Problem(
                    f"Rate limit reached on {name} per min: Limit {LIMITS[name]}, Used {used}, "
                    f"Requested {asked[name]}. Please try again in {wait:.3f}s.",
                    "rate_limit_exceeded",
                    type=name,
                )
        self._taken.append((now, asked["tokens"]))
        return None

    def event(self, low: Armed | None = None) -> Event:
        """The event at the beginning of a response; a fault leaves little."""
        used = self._used()
        return event(
            "rate_limits.updated",
            rate_limits=[
                {
                    "name": name,
                    "limit": limit,
                    "remaining": max(0, limit - used[name])
                    if low is None
                    else int(limit * low.numbers["share"]),
                    "reset_seconds": round(MINUTE * used[name] / limit, 3),
                }
                for name, limit in LIMITS.items()
            ],
        )

    def _used(self) -> dict[str, int]:
        return {"requests": len(self._taken), "tokens": sum(count for _, count in self._taken)}
