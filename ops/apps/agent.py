"""Who answers a call: what the agent is told, what it may do, and what can be said without the model."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from ops.apps import tools
from ops.apps.actions import Agent
from ops.apps.tickets import Terms
from ops.config import Settings
from ops.speech import library

LINES = ("agent-moment", "agent-apology", "agent-goodbye", "agent-transfer")
PIECE = 8000  # bytes of a recorded line in one message: a second


def agent_of(settings: Settings, toolbox: tools.Toolbox, terms: Terms) -> Agent:
    """The agent of one call: the settings', with what its webhook asked for."""
    to = settings.twilio_agent_number
    transfer_to = to if to is not None and terms.party not in (to, "") else None
    return Agent(
        terms.instructions or settings.openai_instructions,
        terms.voice or settings.openai_voice,
        settings.openai_transcription_model,
        settings.max_seconds_per_call,
        model=settings.openai_model,
        max_dollars=settings.max_dollars_per_call,
        greets=terms.greets,
        tools=offered(toolbox, transfers=transfer_to is not None),
        transfer_to=transfer_to,
        lines=recorded_lines(),
    )


def offered(toolbox: tools.Toolbox, *, transfers: bool) -> tuple[Mapping[str, Any], ...]:
    """The tools that the model is told of: the agent's own, the end of a call, and its transfer."""
    return (*toolbox.definitions, tools.HANG_UP, *((tools.TRANSFER,) if transfers else ()))


@cache
def recorded_lines() -> dict[str, tuple[str, ...]]:
    """What can be said without the model, in pieces of base64."""
    return {
        name: tuple(base64.b64encode(audio[at : at + PIECE]).decode() for at in range(0, len(audio), PIECE))
        for name, audio in ((name, library.line(name).audio) for name in LINES)
    }
