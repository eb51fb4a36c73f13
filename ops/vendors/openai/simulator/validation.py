"""What a client may send: each event's shape, from OpenAI's client events reference. Pure."""

from __future__ import annotations

import json
from typing import Any

from ops.vendors.openai.simulator.events import Problem
from ops.vendors.openai.simulator.shapes import (
    Shape,
    anything,
    array,
    boolean,
    decimal,
    either,
    integer,
    mapping,
    missing,
    nullable,
    object_of,
    one_of,
    tagged,
    text,
    unsupported,
    wrong_type,
)

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
TRANSCRIBERS = (
    "whisper-1", "gpt-transcribe", "gpt-live-transcribe", "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize",
    "gpt-realtime-whisper",
)  # fmt: skip
BETA_FIELDS = {
    "modalities", "input_audio_format", "output_audio_format", "input_audio_transcription", "temperature",
    "max_response_output_tokens",
}  # fmt: skip

_FORMAT = tagged(
    "type",
    {
        "audio/pcm": object_of({"type": text(), "rate": one_of(24000)}, ("rate",)),
        "audio/pcmu": object_of({"type": text()}),
        "audio/pcma": object_of({"type": text()}),
    },
)
_TURNS = {"type": text(), "create_response": boolean, "interrupt_response": boolean}
_TURN_DETECTION = tagged(
    "type",
    {
        "server_vad": object_of(
            {
                **_TURNS,
                "threshold": decimal(0.0, 1.0),
                "prefix_padding_ms": integer(0, 10_000),
                "silence_duration_ms": integer(0, 10_000),
                "idle_timeout_ms": nullable(integer(5_000, 30_000)),
            }
        ),
        "semantic_vad": object_of({**_TURNS, "eagerness": one_of("low", "medium", "high", "auto")}),
    },
)
_TRANSCRIPTION = object_of(
    {
        "model": one_of(*TRANSCRIBERS),
        "language": nullable(text(20)),
        "languages": array(text(20)),
        "prompt": nullable(text(1024)),
        "keywords": array(text()),
        "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
    }
)
_VOICE = either(VOICES, object_of({"id": text()}, ("id",)))
_FUNCTION = object_of(
    {"type": text(), "name": text(64), "description": text(), "parameters": nullable(anything)}, ("name",)
)
_MCP = object_of(
    {
        "type": text(), "server_label": text(), "server_url": text(), "connector_id": text(),
        "tunnel_id": text(), "authorization": text(), "headers": nullable(anything),
        "allowed_tools": nullable(anything), "require_approval": nullable(anything),
        "server_description": text(), "defer_loading": boolean, "allowed_callers": anything,
    },
    ("server_label",),
)  # fmt: skip
_TOOLS = array(tagged("type", {"function": _FUNCTION, "mcp": _MCP}), 128)
_TOOL_CHOICE = either(
    ("none", "auto", "required"),
    tagged(
        "type",
        {
            "function": object_of({"type": text(), "name": text()}, ("name",)),
            "mcp": object_of(
                {"type": text(), "server_label": text(), "name": nullable(text())}, ("server_label",)
            ),
        },
    ),
)
_TRUNCATION = either(
    ("auto", "disabled"),
    tagged(
        "type",
        {
            "retention_ratio": object_of(
                {
                    "type": text(),
                    "retention_ratio": decimal(0.0, 1.0),
                    "token_limits": object_of({"post_instructions": integer(0)}),
                },
                ("retention_ratio",),
            )
        },
    ),
)
_PROMPT = nullable(
    object_of(
        {"id": text(), "version": nullable(text()), "variables": nullable(anything)}, ("id",)
    )
)  # fmt: skip
_REASONING = nullable(object_of({"effort": one_of("minimal", "low", "medium", "high", "xhigh")}))
_MODEL_OUTPUT = {
    "output_modalities": array(one_of("text", "audio"), 1),
    "instructions": text(),
    "tools": _TOOLS,
    "tool_choice": _TOOL_CHOICE,
    "max_output_tokens": either("inf", integer(1, 4096)),
    "prompt": _PROMPT,
    "reasoning": _REASONING,
    "parallel_tool_calls": boolean,
}
_AUDIO_INPUT = object_of(
    {
        "format": _FORMAT,
        "transcription": nullable(_TRANSCRIPTION),
        "turn_detection": nullable(_TURN_DETECTION),
        "noise_reduction": nullable(
            object_of({"type": one_of("near_field", "far_field"), "strength": decimal(0.0, 1.0)})
        ),
    }
)
_TRACING = object_of({"group_id": text(), "metadata": nullable(anything), "workflow_name": text()})
_SESSION = object_of(
    {
        **_MODEL_OUTPUT,
        "type": text(),
        "model": text(),
        "audio": object_of(
            {
                "input": _AUDIO_INPUT,
                "output": object_of({"format": _FORMAT, "voice": _VOICE, "speed": decimal(0.25, 1.5)}),
            }
        ),
        "include": nullable(array(one_of("item.input_audio_transcription.logprobs"))),
        "tracing": nullable(either("auto", _TRACING)),
        "truncation": _TRUNCATION,
    }
)  # fmt: skip

_ITEM = {"id": text(32), "object": one_of("realtime.item"), "type": text(), "status": text()}
_ROLES = tagged(
    "role",
    {
        role: object_of(
            {**_ITEM, "role": text(), "content": array(tagged("type", parts))}, ("content",)
        )
        for role, parts in {
            "system": {"input_text": object_of({"type": text(), "text": text()}, ("text",))},
            "user": {
                "input_text": object_of({"type": text(), "text": text()}, ("text",)),
                "input_audio": object_of(
                    {"type": text(), "audio": text(), "transcript": nullable(text())}, ("audio",)
                ),
                "input_image": object_of(
                    {"type": text(), "image_url": text(), "detail": one_of("auto", "low", "high")},
                    ("image_url",),
                ),
            },
            "assistant": {"output_text": object_of({"type": text(), "text": text()}, ("text",))},
        }.items()
    },
)  # fmt: skip
_CALL = {"call_id": text(64), "name": text(64), "arguments": text()}
ITEM: Shape = tagged(
    "type",
    {
        "message": _ROLES,
        "function_call": object_of({**_ITEM, **_CALL}, ("name", "arguments")),
        "function_call_output": object_of(
            {**_ITEM, "call_id": text(64), "output": text()}, ("call_id", "output")
        ),
        "mcp_approval_response": object_of(
            {**_ITEM, "approval_request_id": text(), "approve": boolean, "reason": nullable(text())},
            ("approval_request_id", "approve"),
        ),
    },
)
_REFERENCE = object_of({"type": text(), "id": text(64)}, ("id",))


def _input_item(value: Any, path: str) -> None:
    if isinstance(value, dict) and value.get("type") == "item_reference":
        _REFERENCE(value, path)
    else:
        ITEM(value, path)


_RESPONSE = object_of(
    {
        **_MODEL_OUTPUT,
        "audio": object_of({"output": object_of({"format": _FORMAT, "voice": _VOICE})}),
        "conversation": one_of("auto", "none"),
        "input": array(_input_item),
        "metadata": nullable(mapping(16, 64, 512)),
    }
)
_HEAD = {"type": text(), "event_id": text(512)}
CLIENT_EVENTS: dict[str, Shape] = {
    "session.update": object_of({**_HEAD, "session": anything}, ("session",)),
    "input_audio_buffer.append": object_of({**_HEAD, "audio": text()}, ("audio",)),
    "input_audio_buffer.commit": object_of(_HEAD),
    "input_audio_buffer.clear": object_of(_HEAD),
    "conversation.item.create": object_of(
        {**_HEAD, "item": ITEM, "previous_item_id": nullable(text())}, ("item",)
    ),
    "conversation.item.retrieve": object_of({**_HEAD, "item_id": text()}, ("item_id",)),
    "conversation.item.truncate": object_of(
        {**_HEAD, "item_id": text(), "content_index": integer(0), "audio_end_ms": integer(0)},
        ("item_id", "content_index", "audio_end_ms"),
    ),
    "conversation.item.delete": object_of({**_HEAD, "item_id": text()}, ("item_id",)),
    "response.create": object_of({**_HEAD, "response": nullable(_RESPONSE)}),
    "response.cancel": object_of({**_HEAD, "response_id": nullable(text())}),
    "output_audio_buffer.clear": object_of(_HEAD),
}


def parse(raw: str | bytes) -> dict[str, Any]:
    """The JSON object of one frame; Problem `invalid_json` for anything else."""
    try:
        text_of = raw if isinstance(raw, str) else raw.decode()
        found = json.loads(text_of, parse_constant=_no_constant)
        if "\\u" in text_of:  # a lone surrogate cannot be sent back as UTF-8
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Problem(
            "We could not parse the JSON body of your event. Expected one JSON object per message.",
            "invalid_json",
        ) from None
    if not isinstance(found, dict):
        raise wrong_type("event", "an object", found)
    return found


def check(event: dict[str, Any]) -> None:
    """Whether a parsed event has its shape; Problem says what does not fit."""
    if "type" not in event:
        raise missing("type")
    kind = event["type"]
    if not isinstance(kind, str):
        raise wrong_type("type", "a string", kind)
    if kind not in CLIENT_EVENTS:
        raise unsupported("type", kind, tuple(CLIENT_EVENTS))
    CLIENT_EVENTS[kind](event, "")


def check_session(session: Any) -> None:
    """Whether `session` of session.update is a GA realtime session."""
    if not isinstance(session, dict):
        raise wrong_type("session", "an object", session)
    if "type" not in session:
        raise missing("session.type")
    one_of("realtime", "transcription")(session["type"], "session.type")
    if session["type"] == "transcription":
        raise Problem(
            "Passing a transcription session update event to a realtime session is not allowed.",
            "invalid_session_type",
            "session.type",
        )
    _SESSION(session, "session")


def is_beta(session: Any) -> bool:
    """Whether a session has the shape of the beta API, which is shut: flat audio fields and no type."""
    return isinstance(session, dict) and "type" not in session and bool(BETA_FIELDS & session.keys())


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
