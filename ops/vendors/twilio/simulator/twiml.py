"""What a TwiML document can say, as values. Pure.

Source: Twilio, "TwiML for Programmable Voice". `grammar` reads them from XML, `verbs` carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.vendors.twilio.simulator.errors import Notice


@dataclass(frozen=True)
class Say:
    text: str
    loop: int = 1


@dataclass(frozen=True)
class Play:
    url: str
    loop: int = 1
    digits: str = ""


@dataclass(frozen=True)
class Pause:
    seconds: int = 1


@dataclass(frozen=True)
class Hangup:
    pass


@dataclass(frozen=True)
class Reject:
    reason: str = "rejected"


@dataclass(frozen=True)
class Redirect:
    url: str
    method: str = "POST"


@dataclass(frozen=True)
class Gather:
    """Waits for digits; `digits` 0 means as many as come until `finish_on` or `timeout` seconds."""

    prompts: tuple[Say | Play | Pause, ...] = ()
    action: str = ""
    method: str = "POST"
    timeout: int = 5
    digits: int = 0
    finish_on: str = "#"
    on_empty: bool = False


@dataclass(frozen=True)
class Dial:
    number: str
    caller_id: str = ""
    timeout: int = 30
    time_limit: int = 14_400
    action: str = ""
    method: str = "POST"
    status_callback: str = ""
    status_method: str = "POST"
    status_events: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stream:
    url: str
    name: str = ""
    track: str = "inbound_track"
    parameters: tuple[tuple[str, str], ...] = ()
    status_callback: str = ""
    status_method: str = "POST"


@dataclass(frozen=True)
class Connect:
    """A two-way stream; the verbs after it wait until the server closes it."""

    stream: Stream
    action: str = ""
    method: str = "POST"


@dataclass(frozen=True)
class Start:
    """A one-way stream beside the verbs that follow."""

    stream: Stream


@dataclass(frozen=True)
class Stop:
    """Ends the one-way stream of that name."""

    name: str


@dataclass(frozen=True)
class NotSimulated:
    """A verb of Twilio's that this stand-in does not carry out."""

    name: str


Verb = Say | Play | Pause | Hangup | Reject | Redirect | Gather | Dial | Connect | Start | Stop | NotSimulated


@dataclass(frozen=True)
class Document:
    verbs: tuple[Verb, ...]
    warnings: tuple[Notice, ...] = ()
