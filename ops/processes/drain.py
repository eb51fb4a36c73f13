"""Asks a service on its loopback /health about its live calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Health:
    """What a service says of itself; `live_calls` is None where it does not say."""

    live_calls: int | None = None
    oldest_seconds: float | None = None
    public_url: str | None = None


def health(port: int, timeout: float = 1.0) -> Health | None:
    """The service's own account, or None when it gives none in time."""
    from http.client import HTTPConnection, HTTPException  # only a stack with calls pays for them

    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/health")
        body = connection.getresponse().read(1 << 20)
        return read_health(json.loads(body))
    except (OSError, ValueError, HTTPException):
        return None
    finally:
        connection.close()


def read_health(data: Any) -> Health | None:
    """A /health document as a value. Pure."""
    if not isinstance(data, dict):
        return None
    live, calls, url = data.get("live_calls"), data.get("calls"), data.get("public_url")
    ages = [
        float(call["seconds"])
        for call in (calls if isinstance(calls, list) else [])
        if isinstance(call, dict) and isinstance(call.get("seconds"), (int, float))
    ]
    return Health(
        live_calls=live if isinstance(live, int) else None,
        oldest_seconds=max(ages, default=None),
        public_url=url if isinstance(url, str) else None,
    )
