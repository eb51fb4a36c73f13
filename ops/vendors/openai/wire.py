"""The OpenAI Realtime protocol in its GA shape: events as values, commands as texts. Pure.

Source: OpenAI's Realtime API reference (client and server events). Another dialect would be
another file with the same names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FORMAT = "audio/pcmu"  # G.711 mu-law at 8 kHz: what the phone speaks, so nothing is transcoded
SILENCE_MS = 500  # the model's voice activity detection waits this long before it answers

PADDING_MS = 300  # it counts speech from this long before it noticed it


@dataclass(frozen=True)
class Created:
    """The session exists; it waits for our settings."""

    session_id: str
    model: str


@dataclass(frozen=True)
class Ready:
    """The session took our settings; `input_format` and `output_format` are what it confirmed."""

    input_format: str
    output_format: str


@dataclass(frozen=True)
class SpeechStarted:
    """The caller began to speak, `at_ms` after the first audio sent to the session."""

    at_ms: int
    item_id: str


@dataclass(frozen=True)
class SpeechStopped:
    """The caller fell silent; `at_ms` includes the silence that was waited for."""

    at_ms: int
    item_id: str


@dataclass(frozen=True)
class ResponseCreated:
    response_id: str


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of an answer: base64 of mu-law."""

    response_id: str
    item_id: str
    payload: str


@dataclass(frozen=True)
class Transcript:
    """What was said, by whom: `caller` or `agent`."""

    speaker: str
    item_id: str
    text: str


@dataclass(frozen=True)
class Speaking:
    """A few more words of what the agent is saying, ahead of the whole `Transcript`."""

    item_id: str
    text: str


@dataclass(frozen=True)
class ToolCall:
    """The model wants a function called; `arguments` is JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    item_id: str = ""


@dataclass(frozen=True)
class ResponseDone:
    """An answer is complete, cancelled, incomplete or failed; `reason` and `code` say why."""

    response_id: str
    status: str
    reason: str = ""
    code: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An error event; the session goes on unless its code says otherwise."""

    code: str
    message: str
    event_id: str = ""

    @property
    def fatal(self) -> bool:
        return self.code in FATAL_CODES


@dataclass(frozen=True)
class Other:
    """An event that needs nothing from us."""

    type: str


@dataclass(frozen=True)
class Garbage:
    """Not an event of this protocol: what was expected, what came."""

    reason: str


_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
Event = (
    Created | Ready | SpeechStarted | SpeechStopped | ResponseCreated | Audio | Transcript | Speaking
    | ToolCall | ResponseDone | Failure | Other | Garbage
)  # fmt: skip
FATAL_CODES = frozenset(
    {"invalid_api_key", "beta_api_shape_disabled", "insufficient_quota", "model_not_found"}
)  # trying again cannot help
EXPIRED = "session_expired"  # the session is over, the conversation need not be


def decode(text: str | bytes) -> Event:
    """One server event; anything malformed becomes `Garbage`, never an exception."""
    try:
        event = json.loads(text)
        kind = event["type"]
        decoder = _DECODERS.get(kind)
        return decoder(event) if decoder else Other(str(kind))
    except RecursionError:
        return Garbage("expected a Realtime event, got JSON nested too deeply")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as problem:
        return Garbage(f"expected a Realtime event, got {type(problem).__name__}: {problem}"[:200])


def _ms(value: Any) -> int:
    found = int(value)
    if not 0 <= found < 1_000_000_000:
        raise ValueError("a time within a session")
    return found


def _created(event: dict[str, Any]) -> Created:
    session = event["session"]
    return Created(str(session.get("id", "")), str(session.get("model", "")))


def _ready(event: dict[str, Any]) -> Ready:
    audio = event["session"]["audio"]
    return Ready(str(audio["input"]["format"]["type"]), str(audio["output"]["format"]["type"]))


def _audio(event: dict[str, Any]) -> Audio:
    payload = event["delta"]
    if not isinstance(payload, str) or not _BASE64.fullmatch(payload):  # it goes on as it is, into JSON
        raise TypeError("delta holds base64")
    return Audio(str(event["response_id"]), str(event["item_id"]), payload)


def _item_done(event: dict[str, Any]) -> ToolCall | Other:
    item = event["item"]
    if item.get("type") != "function_call":
        return Other("response.output_item.done")
    if item.get("status", "completed") != "completed":  # cut off: its arguments are not whole
        return Other("response.output_item.done")
    call_id, name, arguments = item["call_id"], item["name"], item["arguments"]
    if not all(isinstance(text, str) and text.isprintable() for text in (call_id, name)):
        raise TypeError("a function call has an id and a name")
    return ToolCall(call_id[:64], name[:64], str(arguments), str(item.get("id", "")))


def _done(event: dict[str, Any]) -> ResponseDone:
    response = event["response"]
    details = response.get("status_details") or {}
    error = details.get("error") or {}
    usage = response.get("usage")
    return ResponseDone(
        response_id=str(response["id"]),
        status=str(response["status"]),
        reason=str(details.get("reason") or details.get("type") or ""),
        code=str(error.get("code") or error.get("type") or ""),
        usage=usage if isinstance(usage, dict) else {},
    )


def _failure(event: dict[str, Any]) -> Failure:
    error = event["error"]
    code = error.get("code") or error.get("type") or "unknown"
    return Failure(str(code), str(error.get("message", ""))[:500], str(error.get("event_id") or ""))


_DECODERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "session.created": _created,
    "session.updated": _ready,
    "input_audio_buffer.speech_started": lambda e: SpeechStarted(_ms(e["audio_start_ms"]), str(e["item_id"])),
    "input_audio_buffer.speech_stopped": lambda e: SpeechStopped(_ms(e["audio_end_ms"]), str(e["item_id"])),
    "response.created": lambda e: ResponseCreated(str(e["response"]["id"])),
    "response.output_audio.delta": _audio,
    "response.output_audio_transcript.done": lambda e: Transcript(
        "agent", str(e["item_id"]), str(e["transcript"])
    ),
    "response.output_audio_transcript.delta": lambda e: Speaking(str(e["item_id"]), str(e["delta"])),
    "response.output_item.done": _item_done,
    "conversation.item.input_audio_transcription.completed": lambda e: Transcript(
        "caller", str(e["item_id"]), str(e["transcript"])
    ),
    "response.done": _done,
    "error": _failure,
}


def configure(
    *, instructions: str, voice: str, transcription: str, tools: Sequence[Mapping[str, Any]] = ()
) -> str:
    """`session.update`: phone audio both ways, voice activity detection and transcripts on, the tools."""
    return json.dumps(
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "instructions": instructions,
                "output_modalities": ["audio"],
                "audio": {
                    "input": {
                        "format": {"type": FORMAT},
                        "transcription": {"model": transcription},
                        "turn_detection": {
                            "type": "server_vad",
                            "threshold": 0.5,
                            "prefix_padding_ms": PADDING_MS,
                            "silence_duration_ms": SILENCE_MS,
                            "create_response": True,
                            "interrupt_response": True,
                        },
                    },
                    "output": {"format": {"type": FORMAT}, "voice": voice},
                },
                **({"tools": [dict(tool) for tool in tools], "tool_choice": "auto"} if tools else {}),
            },
        }
    )


def append(payload: str) -> str:
    """The caller's audio: base64 of mu-law, as the phone sent it."""
    return f'{{"type":"input_audio_buffer.append","audio":"{payload}"}}'


def answer(instructions: str | None = None) -> str:
    """Asks for an answer now: the greeting, or one that failed; `instructions` hold for this one alone."""
    if instructions is None:
        return '{"type":"response.create"}'
    return json.dumps({"type": "response.create", "response": {"instructions": instructions}})


def truncate(item_id: str, heard_ms: int) -> str:
    """Tells the model how much of its answer the caller really heard."""
    return json.dumps(
        {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": heard_ms,
        }
    )


def message(role: str, text: str) -> str:
    """Adds a message to the conversation: of `user`, `assistant` or `system`, as text."""
    content = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    return _item({"type": "message", "role": role, "content": [content]})


def tool_call(call_id: str, name: str, arguments: str) -> str:
    """Adds a function call that the model made in an earlier session of the same conversation."""
    return _item({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments})


def tool_output(call_id: str, output: str) -> str:
    """Adds what a function returned."""
    return _item({"type": "function_call_output", "call_id": call_id, "output": output})


def _item(item: Mapping[str, Any]) -> str:
    return json.dumps({"type": "conversation.item.create", "item": item})
