"""What went through a tunnel: its metrics, and the requests as the inspector keeps them. No sockets here."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from ops.vendors.ngrok.simulator.http1 import Head

KEPT = 500  # requests, as the agent keeps them
RAW_LIMIT = 65_536  # bytes of each body that are kept


@dataclass
class Meter:
    """Counts and durations of connections or requests, in the shape of the agent's metrics."""

    count: int = 0
    gauge: int = 0
    ends: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=5000))  # (when, seconds)

    def begin(self) -> None:
        self.count += 1
        self.gauge += 1

    def end(self, now: float, seconds: float) -> None:
        self.gauge -= 1
        self.ends.append((now, seconds))

    def shown(self, now: float, *, gauge: bool) -> dict[str, float]:
        """Rates are events a second over 1, 5 and 15 minutes; percentiles are nanoseconds."""
        rates = {
            f"rate{minutes}": sum(when > now - 60 * minutes for when, _ in self.ends) / (60 * minutes)
            for minutes in (1, 5, 15)
        }
        durations = sorted(seconds for _, seconds in self.ends)
        percentiles = {f"p{rank}": _percentile(durations, rank) * 1e9 for rank in (50, 90, 95, 99)}
        return {"count": self.count, **({"gauge": self.gauge} if gauge else {}), **rates, **percentiles}


@dataclass
class Exchange:
    """One request through the tunnel and what came back, bodies up to 64 KiB."""

    id: str
    tunnel: str
    remote: str
    started: datetime
    request: Head
    request_body: bytearray = field(default_factory=bytearray)
    response: Head | None = None
    response_body: bytearray = field(default_factory=bytearray)
    seconds: float = 0.0

    def shown(self) -> dict[str, Any]:
        """As `GET /api/requests/http/:id` answers; duration in nanoseconds, raw in base64."""
        answer = self.response
        return {
            "uri": f"/api/requests/http/{self.id}",
            "id": self.id,
            "tunnel_name": self.tunnel,
            "remote_addr": self.remote,
            "start": self.started.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "duration": round(self.seconds * 1e9),
            "request": {
                "method": self.request.method,
                "proto": self.request.start.rsplit(" ", 1)[1],
                "headers": self.request.grouped,
                "uri": self.request.target,
                "raw": _raw(self.request, self.request_body),
            },
            "response": answer
            and {
                "status": answer.start.split(" ", 1)[1],
                "status_code": answer.status,
                "proto": answer.start.split(" ", 1)[0],
                "headers": answer.grouped,
                "raw": _raw(answer, self.response_body),
            },
        }


def keep(into: bytearray, piece: bytes) -> None:
    """Append what still fits of a body."""
    into += piece[: RAW_LIMIT - len(into)]


def listing(exchanges: Iterable[Exchange], limit: int, tunnel: str) -> dict[str, Any]:
    """As `GET /api/requests/http` answers: newest first, at most `limit`, of one tunnel where named."""
    found = [each.shown() for each in exchanges if tunnel in ("", each.tunnel)][:limit]
    query = urlencode({key: value for key, value in (("tunnel_name", tunnel),) if value})
    return {"uri": "/api/requests/http" + (f"?{query}" if query else ""), "requests": found}


def _raw(head: Head, content: bytearray) -> str:
    return base64.b64encode(head.encode() + content).decode()


def _percentile(ordered: list[float], rank: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * rank // 100)] if ordered else 0.0
