"""The texts of a media stream: what Twilio sends, and what it accepts. Pure.

Source: Twilio, "Media Streams - WebSocket messages" and the page of warning 31951. All numbers
that Twilio sends inside messages are strings.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'


def start(
    sequence: int,
    *,
    account_sid: str,
    call_sid: str,
    stream_sid: str,
    tracks: tuple[str, ...],
    parameters: Mapping[str, str],
    encoding: str = "audio/x-mulaw",
) -> str:
    """The second message: whose stream it is, its format, and the TwiML's parameters."""
    return _text(
        event="start",
        sequenceNumber=str(sequence),
        start={
            "accountSid": account_sid,
            "streamSid": stream_sid,
            "callSid": call_sid,
            "tracks": list(tracks),
            "mediaFormat": {"encoding": encoding, "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        },
        streamSid=stream_sid,
    )


def media(sequence: int, stream_sid: str, track: str, chunk: int, timestamp: int, audio: bytes) -> str:
    """One frame; `timestamp` is ms since the stream began. Formatted by hand: 50 a second and call."""
    payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
    return (
        f'{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"{track}","chunk":"{chunk}",'
        f'"timestamp":"{timestamp}","payload":"{payload}"}},"streamSid":"{stream_sid}"}}'
    )


def mark(sequence: int, stream_sid: str, name: str) -> str:
    return _text(event="mark", sequenceNumber=str(sequence), streamSid=stream_sid, mark={"name": name})


def dtmf(sequence: int, stream_sid: str, digit: str) -> str:
    return _text(
        event="dtmf",
        streamSid=stream_sid,
        sequenceNumber=str(sequence),
        dtmf={"track": "inbound_track", "digit": digit},
    )


def stop(sequence: int, stream_sid: str, *, account_sid: str, call_sid: str) -> str:
    return _text(
        event="stop",
        sequenceNumber=str(sequence),
        stop={"accountSid": account_sid, "callSid": call_sid},
        streamSid=stream_sid,
    )


@dataclass(frozen=True, slots=True)
class Media:
    """Audio to be played: raw mu-law of any length."""

    audio: bytes
    oddity: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A name to be sent back once the audio before it has been played."""

    name: str
    oddity: str = ""


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget what has not been played yet."""

    oddity: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """Not a message that Twilio accepts (warning 31951): what was expected, what came."""

    reason: str


Accepted = Media | Mark | Clear


def read(text: str, stream_sid: str) -> Accepted | Wrong:
    """One message of the server's side.

    `oddity` tells of unexpected fields and of a file header in the audio: warned about, but played.
    """
    try:
        message = json.loads(text)
    except RecursionError:
        return Wrong("expected JSON, got it nested too deeply")
    except ValueError as problem:
        return Wrong(f"expected JSON, got {problem}")
    if not isinstance(message, dict):
        return Wrong(f"expected a JSON object, got {type(message).__name__}")
    event = message.get("event")
    if event not in ("media", "mark", "clear"):
        return Wrong(f"expected event media, mark or clear, got {_short(event)}")
    if message.get("streamSid") != stream_sid:
        return Wrong(f"expected streamSid {stream_sid} in {event}, got {_short(message.get('streamSid'))}")
    if event == "clear":
        return Clear(_unexpected(message, {"event", "streamSid"}))
    part = message.get(event)
    if not isinstance(part, dict):
        return Wrong(f"expected an object {event}.{event}, got {_short(part)}")
    if event == "mark":
        name = part.get("name")
        if not isinstance(name, str) or not name:
            return Wrong(f"expected mark.name as text, got {_short(name)}")
        return Mark(name, _unexpected(message, {"event", "streamSid", "mark"}) or _unexpected(part, {"name"}))
    payload = part.get("payload")
    if not isinstance(payload, str):
        return Wrong(f"expected media.payload as base64 text, got {_short(payload)}")
    try:
        audio = base64.b64decode(payload, validate=True)
    except ValueError as problem:
        return Wrong(f"expected media.payload as base64, got {problem}")
    oddity = "media.payload begins with a WAV header" if audio[:4] == b"RIFF" else ""
    return Media(
        audio,
        oddity or _unexpected(message, {"event", "streamSid", "media"}) or _unexpected(part, {"payload"}),
    )


def _unexpected(found: Mapping[str, Any], known: set[str]) -> str:
    more = found.keys() - known
    return f"unexpected fields {', '.join(sorted(more))[:80]}" if more else ""


def _short(value: object) -> str:
    return repr(value)[:60]


def _text(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))
