"""Frames of a phone and events of a model, valid ones and what chance makes of them; all chance is seeded."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

SOUND = base64.b64encode(b"\x50" * 160).decode()
SPEECH = base64.b64encode(bytes(range(0x20, 0x70)) * 2).decode()
START = phone.Start("MZ1", "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})


def media(payload: str) -> dict[str, Any]:
    """A frame of the caller's."""
    return {"event": "media", "media": {"payload": payload, "timestamp": "20"}}


LOUD, QUIET, VOICE = (media(payload) for payload in (SOUND, base64.b64encode(b"\xff" * 160).decode(), SPEECH))
KEY = {"event": "dtmf", "dtmf": {"digit": "1"}}
PHONE: list[dict[str, Any]] = [
    *[LOUD] * 20,
    *[VOICE] * 10,
    *[QUIET] * 10,
    *[{"event": "mark", "mark": {"name": "0:20"}}] * 5,
    *[KEY] * 5,
    {"event": "connected", "protocol": "Call"},
    {
        "event": "start",
        "start": {
            "accountSid": START.account_sid,
            "callSid": START.call_sid,
            "streamSid": "MZ1",
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"ticket": "t"},
        },
    },
    {"event": "stop", "stop": {}},
]


def called(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A function call of the model's."""
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    return {"type": "response.output_item.done", "item": item}


def done(status: str, **details: Any) -> dict[str, Any]:
    """The end of a response."""
    return {"type": "response.done", "response": {"id": "r", "status": status, "status_details": details}}


SIDE = {"format": {"type": model.FORMAT}}
USAGE = {
    "input_token_details": {"audio_tokens": 500, "cached_tokens_details": {"audio_tokens": 90}},
    "output_token_details": {"audio_tokens": 900, "text_tokens": 40},
}
CREATED: dict[str, Any] = {"type": "session.created", "session": {"id": "s"}}
UPDATED: dict[str, Any] = {"type": "session.updated", "session": {"audio": {"input": SIDE, "output": SIDE}}}
AUDIO = {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": SOUND}
SPOKEN: list[dict[str, Any]] = [  # what a session says in any state of a call
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 100, "item_id": "u"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "u"},
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "u", "transcript": "well"},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1500, "item_id": "v"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2100, "item_id": "v"},
    {"type": "response.created", "response": {"id": "r"}},
    *[AUDIO] * 3,
    {**AUDIO, "item_id": "j"},
    {"type": "response.output_audio_transcript.delta", "item_id": "i", "delta": "yes, "},
    {"type": "response.output_audio_transcript.delta", "item_id": "j", "delta": "of course"},
    {"type": "response.output_audio_transcript.done", "item_id": "i", "transcript": "yes, of course"},
    {"type": "conversation.item.added", "item": {"id": "u"}},
    called("c", "hang_up", "{}"),
    called("d", "lookup", '{"day": "monday", "count": 2}'),
    called("e", "lookup", '{"day": "monday"}'),
    called("f", "fails", "{}"),
    called("g", "transfer_to_agent", "{}"),
    {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": USAGE}},
    done("completed"),
    done("cancelled", reason="turn_detected"),
    done("incomplete", reason="content_filter"),
    done("failed", error={"type": "server_error"}),
    {"type": "error", "error": {"type": "x", "message": "m"}},
]
MODEL: list[dict[str, Any]] = [
    *SPOKEN * 3,
    CREATED,
    UPDATED,
    done("failed", error={"code": "insufficient_quota"}),
    {"type": "error", "error": {"type": "x", "code": "session_expired", "message": "m"}},
    {"type": "error", "error": {"type": "x", "code": "invalid_api_key"}},
]
ODD: list[Any] = [
    None, True, -1, 0, 1e308, float("inf"), float("nan"), 10**400, "", "\ud800", "\u202e", '"}', "x" * 3000,
    [], {}, [[[]]], {"a": {}},
]  # fmt: skip


def mutated(frame: Any, dice: random.Random) -> Any:
    """The frame with one value somewhere in it replaced, removed or doubled."""
    if not isinstance(frame, dict) or not frame or dice.random() < 0.15:
        return dice.choice(ODD)
    key = dice.choice(list(frame))
    kind = dice.random()
    if kind < 0.2:
        return {name: value for name, value in frame.items() if name != key}
    return {**frame, key: mutated(frame[key], dice) if kind < 0.8 else dice.choice(ODD)}


def frames(valid: list[dict[str, Any]], count: int, dice: random.Random) -> Iterator[str | bytes]:
    """So many: a fifth as they are, seven tenths with something changed, a tenth bytes of chance."""
    for _ in range(count):
        text = json.dumps(dice.choice(valid))
        kind = dice.random()
        if kind < 0.2:
            yield text
        elif kind < 0.75:
            yield json.dumps(mutated(json.loads(text), dice))
        elif kind < 0.9:
            at = dice.randrange(len(text))
            yield (
                text[:at]
                + chr(dice.choice((0, 34, 91, 123, 0xFFFD, 0x1F600))) * dice.choice((1, 3, 500))
                + text[at:]
            )
        else:
            yield dice.randbytes(dice.randrange(60))
