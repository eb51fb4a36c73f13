"""Twilio's media stream messages, TwiML and signatures, as values and texts. Pure.

Sources: Twilio's "Media Streams - WebSocket Messages" and "Webhooks security" pages.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

BREATH = 1  # seconds, whole ones: from the end of a stream to the question how the call goes on


@dataclass(frozen=True)
class Connected:
    """The first message of a stream."""


@dataclass(frozen=True)
class Start:
    """A stream begins: whose it is, its format, and the `<Parameter>` values of the TwiML."""

    stream_sid: str
    call_sid: str
    account_sid: str
    encoding: str
    sample_rate: int
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Media:
    """One frame from the caller: base64 of mu-law at 8 kHz, and its time in ms since the stream began."""

    payload: str
    timestamp: int


@dataclass(frozen=True)
class Mark:
    """The audio before this mark was played, or cleared."""

    name: str


@dataclass(frozen=True)
class Dtmf:
    """The caller pressed a key."""

    digit: str


@dataclass(frozen=True)
class Stop:
    """The stream ends: the caller hung up, or the TwiML went on."""


@dataclass(frozen=True)
class Garbage:
    """A message that is not Twilio's: what was expected, what came."""

    reason: str


_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
Message = Connected | Start | Media | Mark | Dtmf | Stop | Garbage


def decode(text: str | bytes) -> Message:
    """One message of the phone's side; anything malformed becomes `Garbage`, never an exception."""
    try:
        frame = json.loads(text)
        return _DECODERS[frame["event"]](frame)
    except RecursionError:
        return Garbage("expected a media stream message, got JSON nested too deeply")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as problem:
        return Garbage(f"expected a media stream message, got {type(problem).__name__}: {problem}"[:200])


def _start(frame: dict[str, Any]) -> Start:
    start = frame["start"]
    media = start["mediaFormat"]
    parameters = start.get("customParameters") or {}
    if not all(isinstance(text, str) for text in (*parameters, *parameters.values())):
        raise TypeError("customParameters hold texts")
    return Start(
        stream_sid=_sid(start["streamSid"]),
        call_sid=_sid(start["callSid"]),
        account_sid=_sid(start["accountSid"]),
        encoding=_text(media["encoding"]),
        sample_rate=int(media["sampleRate"]),
        parameters=dict(parameters),
    )


def _media(frame: dict[str, Any]) -> Media:
    media = frame["media"]
    payload = _text(media["payload"])
    if not _BASE64.fullmatch(payload):  # it goes on as it is, into JSON of ours
        raise ValueError("a payload is base64")
    timestamp = int(media["timestamp"])
    if not 0 <= timestamp < 1_000_000_000:
        raise ValueError("a timestamp is milliseconds since the stream began")
    return Media(payload, timestamp)


def _sid(value: object) -> str:
    text = _text(value)
    if not (text.isascii() and text.isalnum() and len(text) <= 64):
        raise ValueError("a SID is letters and digits")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"a text is missing, got {type(value).__name__}")
    return value


_DECODERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "connected": lambda frame: Connected(),
    "start": _start,
    "media": _media,
    "mark": lambda frame: Mark(_text(frame["mark"]["name"])),
    "dtmf": lambda frame: Dtmf(_text(frame["dtmf"]["digit"])),
    "stop": lambda frame: Stop(),
}


def media(stream_sid: str, payload: str) -> str:
    """Audio for the phone: base64 of raw mu-law, any length, no file header."""
    return f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"{payload}"}}}}'


def mark(stream_sid: str, name: str) -> str:
    """A mark that comes back when the audio sent before it has been played."""
    return json.dumps({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def clear(stream_sid: str) -> str:
    """Empties the phone's buffer; pending marks come back at once."""
    return json.dumps({"event": "clear", "streamSid": stream_sid})


def connect_stream(
    url: str, parameters: Mapping[str, str], *, callback: str | None = None, then: str | None = None
) -> str:
    """TwiML that connects the call to a bidirectional media stream.

    Values travel as `<Parameter>`: a query string in the stream's URL is refused (31920). `then` is
    asked what to do next when the stream has ended and the call has not, a breath later: who answers
    may have died with the stream, and Twilio asks but twice, quickly.
    """
    from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

    stream = Stream(url=url, status_callback=callback)
    for name, value in parameters.items():
        stream.parameter(name=name, value=value)
    connect = Connect()
    connect.append(stream)
    response = VoiceResponse()
    response.append(connect)
    if then is not None:
        response.pause(length=BREATH)
        response.redirect(then, method="POST")
    return str(response)


def dial(number: str) -> str:
    """TwiML that connects the caller to another number."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.dial(number)
    return str(response)


def hang_up() -> str:
    """TwiML that ends the call."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.hangup()
    return str(response)


def say_and_hang_up(sentence: str) -> str:
    """TwiML that tells the caller something and ends the call."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.say(sentence)
    response.hangup()
    return str(response)


def sign(token: str, url: str, params: Mapping[str, str] | None = None) -> str:
    """The `X-Twilio-Signature` of a request: base64 of HMAC-SHA1 over the URL and its sorted form."""
    from twilio.request_validator import RequestValidator

    return str(RequestValidator(token).compute_signature(url, dict(params or {})))


def signed(token: str, urls: Iterable[str], params: Mapping[str, str], signatures: Sequence[str]) -> bool:
    """Whether exactly one signature came and it fits one of the given URLs."""
    if len(signatures) != 1:
        return False
    came = signatures[0].encode("utf-8", "replace")
    return any(hmac.compare_digest(sign(token, url, params).encode(), came) for url in urls)


def spellings(url: str) -> tuple[str, ...]:
    """The URL as configured and with its default port written out: Twilio may sign either."""
    parts = urlsplit(url)
    default = {"https": 443, "wss": 443, "http": 80, "ws": 80}[parts.scheme]
    if parts.port is None:
        return url, urlunsplit(parts._replace(netloc=f"{parts.netloc}:{default}"))
    if parts.port == default:
        return url, urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0]))
    return (url,)
