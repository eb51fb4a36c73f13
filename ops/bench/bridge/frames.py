"""The load's messages, and the watermark in each piece of audio: whose it is, and which. Pure.

A watermark is twelve decimal digits in front of a base64 payload: four for the call, eight for the
frame. Digits are base64 too, so it is nine bytes of the audio itself and passes through any relay.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ops.bench import wire

DIGITS = 12
PER_CALL = 10**8  # frames that a call can number
MOST_CALLS = 10**4
SHORTEST_AUDIO = 200  # bytes: a shorter message holds no frame of 20 ms
FRAME = 160  # bytes: 20 ms of mu-law
AUDIO, PAYLOAD, NAME, STREAM = b'"audio"', b'"payload"', b'"name"', b'"streamSid"'
_MEDIA = (
    b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d",'
    b'"payload":"%04d%08d%s"},"streamSid":"%s"}'
)


def watermark(call: int, number: int) -> bytes:
    """The digits of this call's frame. Both must be within their width."""
    return b"%0*d" % (DIGITS, call * PER_CALL + number)


def payloads(speech: bytes) -> tuple[bytes, ...]:
    """The base64 of each whole 20 ms of speech, without the place of the watermark."""
    pieces = (speech[at : at + FRAME] for at in range(0, len(speech) - FRAME + 1, FRAME))
    return tuple(base64.b64encode(piece)[DIGITS:] for piece in pieces)


def value(message: bytes, name: bytes) -> bytes | None:
    """The text behind a name in quotes, with or without spaces; None where there is none. No escapes, no
    JSON: the relays write what they read, and this must be quick."""
    at = message.find(name)
    if at < 0:
        return None
    begin = message.find(b'"', at + len(name)) + 1
    end = message.find(b'"', begin)
    return message[begin:end] if begin > 0 and end > 0 else None


def media(number: int, sequence: int, call: int, speech: bytes, stream: bytes) -> bytes:
    """A frame of the caller with its watermark, as Twilio sends it. `number` counts from 0."""
    return _MEDIA % (sequence, number + 1, number * 20, call, number, speech, stream)


def mark(sequence: int, stream: bytes, name: bytes) -> bytes:
    """A mark that comes back to who set it."""
    return b'{"event":"mark","sequenceNumber":"%d","streamSid":"%s","mark":{"name":"%s"}}' % (
        sequence, stream, name,
    )  # fmt: skip


def agent_media(stream: bytes, payload: bytes) -> bytes:
    """Audio for the caller, as a bridge sends it."""
    return b'{"event":"media","streamSid":"%s","media":{"payload":"%s"}}' % (stream, payload)


def agent_mark(stream: bytes, name: bytes) -> bytes:
    """A mark behind that audio, as a bridge sets it."""
    return b'{"event":"mark","streamSid":"%s","mark":{"name":"%s"}}' % (stream, name)


def delta(number: int, response: bytes, item: bytes, payload: bytes) -> bytes:
    """A piece of the model's answer."""
    return (
        b'{"type":"response.output_audio.delta","event_id":"event_%d","response_id":"%s","item_id":"%s",'
        b'"output_index":0,"content_index":0,"delta":"%s"}' % (number, response, item, payload)
    )


def from_client(messages: Sequence[bytes]) -> bytes:
    """Text messages as frames of a client, all in one piece."""
    return b"".join([wire.frame(wire.TEXT, text, wire.MASKED) for text in messages])


def from_server(messages: Sequence[bytes]) -> bytes:
    """Text messages as frames of a server, all in one piece."""
    return b"".join([wire.frame(wire.TEXT, text) for text in messages])
