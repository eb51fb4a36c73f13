"""Twilio's media stream messages, TwiML and signatures, as values and texts. Pure.

Sources: Twilio's "Media Streams - WebSocket Messages" and "Webhooks security" pages.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from msgspec import Meta, MsgspecError, Struct, field
from msgspec.json import Decoder

from ops.speech.payload import is_base64

BREATH = 1  # seconds, whole ones: from the end of a stream to the question how the call goes on


_Text = Annotated[str, Meta(min_length=1)]
_Sid = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9]{1,64}\Z")]


class Connected(Struct, frozen=True, tag_field="event", tag="connected"):
    """The first message of a stream."""


class Start(Struct, frozen=True):
    """A stream begins: whose it is, its format, and the `<Parameter>` values of the TwiML."""

    stream_sid: str
    call_sid: str
    account_sid: str
    encoding: str
    sample_rate: int
    parameters: Mapping[str, str] = {}


class Media(Struct, frozen=True):
    """One frame from the caller: base64 of mu-law at 8 kHz, and its time in ms since the stream began."""

    payload: _Text
    timestamp: Annotated[int, Meta(ge=0, lt=1_000_000_000)]


class Mark(Struct, frozen=True):
    """The audio before this mark was played, or cleared."""

    name: _Text


class Dtmf(Struct, frozen=True):
    """The caller pressed a key."""

    digit: _Text


class Stop(Struct, frozen=True, tag_field="event", tag="stop"):
    """The stream ends: the caller hung up, or the TwiML went on."""


class Garbage(Struct, frozen=True):
    """A message that is not Twilio's: what was expected, what came."""

    reason: str


Message = Connected | Start | Media | Mark | Dtmf | Stop | Garbage


class _Format(Struct):
    encoding: _Text
    sample_rate: int = field(name="sampleRate")


class _Start(Struct):
    stream_sid: _Sid = field(name="streamSid")
    call_sid: _Sid = field(name="callSid")
    account_sid: _Sid = field(name="accountSid")
    media_format: _Format = field(name="mediaFormat")
    parameters: dict[str, str] | None = field(name="customParameters", default=None)


class _StartFrame(Struct, tag_field="event", tag="start"):
    start: _Start


class _MediaFrame(Struct, tag_field="event", tag="media"):
    media: Media


class _MarkFrame(Struct, tag_field="event", tag="mark"):
    mark: Mark


class _DtmfFrame(Struct, tag_field="event", tag="dtmf"):
    dtmf: Dtmf


_FRAMES = Decoder(
    _MediaFrame | _MarkFrame | _DtmfFrame | _StartFrame | Connected | Stop,
    strict=False,  # Twilio writes its numbers as texts
)


def decode(text: str | bytes) -> Message:
    """One message of the phone's side; anything malformed becomes `Garbage`, never an exception."""
    try:
        frame = _FRAMES.decode(text)
    except RecursionError:
        return Garbage("expected a media stream message, got JSON nested too deeply")
    except (MsgspecError, ValueError) as problem:
        return Garbage(f"expected a media stream message, got {problem}"[:200])
    if type(frame) is _MediaFrame:
        media = frame.media
        if not is_base64(media.payload):  # it goes on as it is, into JSON of ours
            return Garbage("expected a payload in base64, got other letters")
        return media
    match frame:
        case _MarkFrame(mark):
            return mark
        case _DtmfFrame(dtmf):
            return dtmf
        case _StartFrame(start):
            return Start(
                start.stream_sid,
                start.call_sid,
                start.account_sid,
                start.media_format.encoding,
                start.media_format.sample_rate,
                start.parameters or {},
            )
        case Connected() | Stop():
            return frame
    raise AssertionError(frame)


def media(stream_sid: str, payload: str) -> str:
    """Audio for the phone: base64 of raw mu-law, any length, no file header."""
    return f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"{payload}"}}}}'


def is_media(text: str) -> bool:
    """Whether a message for the phone is audio."""
    return text.startswith('{"event":"media"')


def mark(stream_sid: str, name: str) -> str:
    """A mark, named without quotes, that comes back when the audio sent before it has been played."""
    return f'{{"event":"mark","streamSid":"{stream_sid}","mark":{{"name":"{name}"}}}}'


def clear(stream_sid: str) -> str:
    """Empties the phone's buffer; pending marks come back at once."""
    return f'{{"event":"clear","streamSid":"{stream_sid}"}}'


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


def dial(number: str, afterwards: str) -> str:
    """TwiML that connects the caller to another number; when nobody answers there, or that call is over, the
    caller is told `afterwards`, and the call ends."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.dial(number)
    response.say(afterwards)
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
    """Whether exactly one signature came and it fits one of the given URLs; as much is computed when it does
    not, nor came at all."""
    came = signatures[0].encode("utf-8", "replace") if len(signatures) == 1 else b""
    fits = [hmac.compare_digest(sign(token, url, params).encode(), came) for url in urls]
    return any(fits)


def spellings(url: str) -> tuple[str, ...]:
    """The URL as configured and with its default port written out: Twilio may sign either."""
    parts = urlsplit(url)
    default = {"https": 443, "wss": 443, "http": 80, "ws": 80}[parts.scheme]
    if parts.port is None:
        return url, urlunsplit(parts._replace(netloc=f"{parts.netloc}:{default}"))
    if parts.port == default:
        return url, urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0]))
    return (url,)
