"""What a speaking model says in a call, as values that no dialect of a protocol shows through. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct


class Created(Struct, frozen=True):
    """The session exists; it waits for our settings."""

    session_id: str
    model: str


class Ready(Struct, frozen=True):
    """The session took our settings; `input_format` and `output_format` are what it confirmed."""

    input_format: str
    output_format: str


class SpeechStarted(Struct, frozen=True):
    """The caller began to speak, `at_ms` after the first audio sent to the session."""

    at_ms: int
    item_id: str


class SpeechStopped(Struct, frozen=True):
    """The caller fell silent; `at_ms` includes the silence that was waited for."""

    at_ms: int
    item_id: str


class ResponseCreated(Struct, frozen=True):
    """An answer begins."""

    response_id: str


class Audio(Struct, frozen=True):
    """A piece of an answer: base64 of mu-law."""

    response_id: str
    item_id: str
    payload: str


class Transcript(Struct, frozen=True):
    """What was said, by whom."""

    speaker: Literal["caller", "agent"]
    item_id: str
    text: str


class Speaking(Struct, frozen=True):
    """A few more words of what the agent is saying, ahead of the whole `Transcript`."""

    item_id: str
    text: str


class ToolCall(Struct, frozen=True):
    """The model wants a function called; `arguments` is JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    item_id: str = ""


class ResponseDone(Struct, frozen=True):
    """An answer is complete, cancelled, incomplete or failed; `reason` and `code` say why."""

    response_id: str
    status: str
    reason: str = ""
    code: str = ""
    usage: Mapping[str, Any] = {}
    fatal: bool = False  # asking again cannot help


class Failure(Struct, frozen=True):
    """An error event; the session goes on unless it says otherwise."""

    code: str
    message: str
    event_id: str = ""
    fatal: bool = False  # trying again cannot help
    expired: bool = False  # the session is over, the conversation need not be
    busy: bool = False  # an answer was asked for while another one was under way


class Other(Struct, frozen=True):
    """An event that needs nothing from us."""

    type: str


class Garbage(Struct, frozen=True):
    """Not an event of this protocol: what was expected, what came."""

    reason: str


Event = (
    Created | Ready | SpeechStarted | SpeechStopped | ResponseCreated | Audio | Transcript | Speaking
    | ToolCall | ResponseDone | Failure | Other | Garbage
)  # fmt: skip
