"""The set-ups in which a healthy stack must raise no alarm: who is live, whose bridge, which way in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

WayIn = Literal["tunnel", "public-url", "bridge", "none"]


@dataclass(frozen=True)
class Setup:
    """One set-up: vendors that are live by their shape (credentials in .env, a simulator at their address),
    the user's own bridge or the built-in one, how calls come in, and more settings."""

    name: str
    live: frozenset[str] = frozenset()
    own: bool = False
    way_in: WayIn = "tunnel"
    started: bool = True
    more: Mapping[str, str] = field(default_factory=dict)


ALL = frozenset({"twilio", "openai", "ngrok"})

LIVE = Setup("built-in, all live, tunnel", ALL)
OWN = Setup("own stack, all live, tunnel", ALL, own=True)
BARE = Setup("not started", started=False)
SETUPS: tuple[Setup, ...] = (
    LIVE,
    Setup("built-in, all simulated, tunnel"),
    Setup("built-in, all live, public URL", ALL, way_in="public-url"),
    Setup("built-in, Twilio alone live", frozenset({"twilio"})),
    Setup("built-in, OpenAI alone live", frozenset({"openai"})),
    Setup("built-in, all simulated, bridge reached directly", way_in="bridge"),
    Setup("built-in, production", ALL, way_in="public-url", more={"OPS_ENV": "production"}),
    Setup(
        "built-in, API key, agent's number", ALL, more={"TWILIO_AGENT_NUMBER": "+12025550144", "API_KEY": "1"}
    ),
    OWN,
    Setup("own stack, all live, public URL", ALL, own=True, way_in="public-url"),
    Setup(
        "own stack, Twilio and OpenAI live", frozenset({"twilio", "openai"}), own=True, way_in="public-url"
    ),
    Setup("own stack, nothing live, no way in", own=True, way_in="none"),
)
