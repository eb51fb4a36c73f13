"""What a Session asks its owner to do, and what it is told about its call. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct


class ToPhone(Struct, frozen=True):
    """Send this message to the phone."""

    text: str


class ToModel(Struct, frozen=True):
    """Send this command to the model."""

    text: str


class OpenModel(Struct, frozen=True):
    """Open a Realtime socket, in place of any earlier one; what comes from it is told with its generation."""

    generation: int = 1


class CloseModel(Struct, frozen=True):
    """Close the Realtime socket: nothing more is wanted of it."""


class RunTool(Struct, frozen=True):
    """Run one of the agent's tools, once, and tell `tool_done`."""

    call_id: str
    name: str
    arguments: str


class Transfer(Struct, frozen=True):
    """Connect the caller to this number by updating the live call; tell `transferred`."""

    number: str


class Remember(Struct, frozen=True):
    """An event of the call that must outlive this process: one line of the call's file."""

    event: str
    fields: Mapping[str, Any]


class Hangup(Struct, frozen=True):
    """The call is over: close both sockets; the phone's with this code."""

    code: int
    reason: str


class Note(Struct, frozen=True):
    """Something for the journal."""

    level: str
    event: str
    message: str = ""
    fields: Mapping[str, Any] = {}


class Measure(Struct, frozen=True):
    """A number for the metrics: which series, and its value."""

    series: str
    value: float = 1.0
    label: str = ""


Action = ToPhone | ToModel | OpenModel | CloseModel | RunTool | Transfer | Remember | Hangup | Note | Measure


class Spent(Struct, frozen=True):
    """What a call had of its caps before its stream came."""

    seconds: float = 0.0
    dollars: float = 0.0


NOTHING = Spent()


@dataclass(frozen=True)
class Agent:
    """What one call's agent is told, how it sounds, what it may do, and the caps of the call.

    `lines` are recorded sentences by name, each a row of base64 pieces of mu-law: what can be said
    when the model cannot. `transfer_to` is the one number that this call may be connected to.
    """

    instructions: str
    voice: str
    transcription: str
    max_seconds: float = 3600.0
    model: str = ""
    max_dollars: float = 5.0
    greets: bool = True
    tools: tuple[Mapping[str, Any], ...] = ()
    transfer_to: str | None = None
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
