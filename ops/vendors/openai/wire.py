"""The OpenAI Realtime protocol in its GA shape: events as values, commands as texts. Pure.

Source: OpenAI's Realtime API reference (client and server events). The names that a call needs are those of
`ops.apps.dialect.Dialect`; another dialect is another file with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, get_args

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder

from ops.speech.payload import is_base64
from ops.vendors.openai.events import (
    Audio,
    Created,
    Event,
    Failure,
    Garbage,
    Other,
    Ready,
    ResponseCreated,
    ResponseDone,
    Speaking,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    Transcript,
)

FORMAT = "audio/pcmu"  # G.711 mu-law at 8 kHz: what the phone speaks, so nothing is transcoded
SILENCE_MS = 500  # the model's voice activity detection waits this long before it answers

PADDING_MS = 300  # it counts speech from this long before it noticed it


FATAL_CODES = frozenset(
    {"invalid_api_key", "beta_api_shape_disabled", "insufficient_quota", "model_not_found"}
)  # trying again cannot help
FINAL_CODES = frozenset({401, 403, 404, 3000, 4000})  # HTTP statuses and close codes, likewise
EXPIRED = "session_expired"  # the session is over, the conversation need not be
BUSY = "conversation_already_has_active_response"

# The events as they come. Only what we need of one is named; the rest is skipped, whatever it holds.

PIECE = ("type", "response.output_audio.delta", "response_id", "item_id", "delta")

_Ms = Annotated[int, Meta(ge=0, lt=1_000_000_000)]
_Name = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\xa0\u2028\u2029]+\Z")]


class _AudioDelta(Struct, tag_field="type", tag=PIECE[1]):
    response_id: str
    item_id: str
    delta: str


class _TranscriptDelta(Struct, tag_field="type", tag="response.output_audio_transcript.delta"):
    item_id: str
    delta: str


class _AgentTranscript(Struct, tag_field="type", tag="response.output_audio_transcript.done"):
    item_id: str
    transcript: str


class _CallerTranscript(
    Struct, tag_field="type", tag="conversation.item.input_audio_transcription.completed"
):
    item_id: str
    transcript: str


class _SpeechStarted(Struct, tag_field="type", tag="input_audio_buffer.speech_started"):
    audio_start_ms: _Ms
    item_id: str


class _SpeechStopped(Struct, tag_field="type", tag="input_audio_buffer.speech_stopped"):
    audio_end_ms: _Ms
    item_id: str


class _NewSession(Struct):
    id: str = ""
    model: str = ""


class _SessionCreated(Struct, tag_field="type", tag="session.created"):
    session: _NewSession


class _Format(Struct):
    type: str


class _Side(Struct):
    format: _Format


class _BothSides(Struct):
    input: _Side
    output: _Side


class _ReadySession(Struct):
    audio: _BothSides


class _SessionUpdated(Struct, tag_field="type", tag="session.updated"):
    session: _ReadySession


class _NewResponse(Struct):
    id: str


class _ResponseCreated(Struct, tag_field="type", tag="response.created"):
    response: _NewResponse


class _Item(Struct):
    type: str = ""
    status: str | None = None
    id: str | None = None
    call_id: _Name | None = None
    name: _Name | None = None
    arguments: str | None = None


class _ItemDone(Struct, tag_field="type", tag="response.output_item.done"):
    item: _Item


class _Error(Struct):
    type: str | None = None
    code: str | None = None
    message: str | None = None
    event_id: str | None = None


class _Details(Struct):
    type: str | None = None
    reason: str | None = None
    error: _Error | None = None


class _Response(Struct):
    id: str
    status: str
    status_details: _Details | None = None
    usage: Any = None


class _ResponseDone(Struct, tag_field="type", tag="response.done"):
    response: _Response


class _ErrorEvent(Struct, tag_field="type", tag="error"):
    error: _Error


class _Kind(Struct):
    type: str


_Known = (
    _AudioDelta | _TranscriptDelta | _AgentTranscript | _CallerTranscript | _SpeechStarted | _SpeechStopped
    | _SessionCreated | _SessionUpdated | _ResponseCreated | _ItemDone | _ResponseDone | _ErrorEvent
)  # fmt: skip
_EVENTS = Decoder(_Known)
_KINDS = Decoder(_Kind)
KNOWN = frozenset(shape.__struct_config__.tag for shape in get_args(_Known))


def address(url: str, model: str, key: str) -> tuple[str, dict[str, str]]:
    """The URL of a new session and the headers of its handshake; `key` may be empty."""
    return f"{url}?model={model}", {"Authorization": f"Bearer {key}"} if key else {}


def final(code: int | None, cause: str) -> bool:
    """Whether a refusal (an HTTP status) or a close (its code) is one that trying again cannot help."""
    return code in FINAL_CODES or any(word in cause for word in FATAL_CODES)


def decode(text: str | bytes) -> Event:
    """One server event; anything malformed becomes `Garbage`, never an exception."""
    try:
        event = _EVENTS.decode(text)
        if type(event) is _AudioDelta:  # fifty a second: the others can wait for `_meaning`
            if not is_base64(event.delta):  # it goes on as it is, into JSON of ours
                return Garbage("expected audio in base64, got other letters")
            return Audio(event.response_id, event.item_id, event.delta)
        return _meaning(event)
    except RecursionError:
        return Garbage("expected a Realtime event, got JSON nested too deeply")
    except (MsgspecError, ValueError) as problem:
        return _unknown(text, problem)


def _unknown(text: str | bytes, problem: Exception) -> Event:
    """An event of a kind that we need nothing of, or one that is malformed."""
    with suppress(MsgspecError, ValueError, RecursionError):
        kind = _KINDS.decode(text).type
        if kind not in KNOWN:
            return Other(kind)
    return Garbage(f"expected a Realtime event, got {problem}"[:200])


def _meaning(event: Any) -> Event:
    match event:
        case _TranscriptDelta(item_id, delta):
            return Speaking(item_id, delta)
        case _SpeechStarted(at_ms, item_id):
            return SpeechStarted(at_ms, item_id)
        case _SpeechStopped(at_ms, item_id):
            return SpeechStopped(at_ms, item_id)
        case _AgentTranscript(item_id, transcript):
            return Transcript("agent", item_id, transcript)
        case _CallerTranscript(item_id, transcript):
            return Transcript("caller", item_id, transcript)
        case _ResponseCreated(response):
            return ResponseCreated(response.id)
        case _ResponseDone(response):
            return _done(response)
        case _ItemDone(item):
            return _item_done(item)
        case _SessionCreated(session):
            return Created(session.id, session.model)
        case _SessionUpdated(session):
            return Ready(session.audio.input.format.type, session.audio.output.format.type)
        case _ErrorEvent(error):
            code = error.code or error.type or "unknown"
            message = (error.message or "")[:500]
            return Failure(
                code, message, error.event_id or "", code in FATAL_CODES, code == EXPIRED, code == BUSY
            )
    raise AssertionError(event)


def _item_done(item: _Item) -> ToolCall | Other:
    whole = (item.status or "completed") == "completed"  # one that was cut off has half its arguments
    if item.type != "function_call" or not whole:
        return Other("response.output_item.done")
    if item.call_id is None or item.name is None or item.arguments is None:
        raise ValueError("a function call without its id, name or arguments")
    return ToolCall(item.call_id[:64], item.name[:64], item.arguments, item.id or "")


def _done(response: _Response) -> ResponseDone:
    details = response.status_details or _Details()
    error = details.error or _Error()
    code = error.code or error.type or ""
    return ResponseDone(
        response_id=response.id,
        status=response.status,
        reason=details.reason or details.type or "",
        code=code,
        usage=response.usage if isinstance(response.usage, dict) else {},
        fatal=code in FATAL_CODES,
    )


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


def probe() -> str:
    """An update that changes nothing: a session that still hears answers it with `session.updated`."""
    return '{"type":"session.update","session":{"type":"realtime"}}'


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
