"""Knocks at the public door as Twilio does, and as a stranger does: a signed webhook, an upgrade."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree

from ops.config import Settings
from ops.errors import OpsError, Refused
from ops.findings import Finding, skip
from ops.net.http import Answer, Http
from ops.net.probe import Opened, opened
from ops.vendors.ngrok import client as ngrok
from ops.vendors.twilio import wire
from ops.vendors.twilio.client import Twilio
from ops.world import World

VOICE_PATH = "/twiml"
STREAM_PATH = "/call"
HEADER = "X-Twilio-Signature"
WRONG = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="  # has a signature's shape: base64 of 20 bytes


def origin(settings: Settings, *, deadline: float = 0.5) -> str:
    """The public origin that Twilio would call."""
    return ngrok.public_url(settings, deadline=deadline)


def service(world: World) -> tuple[str, ...]:
    """The check that must be well before anything is asked of the bridge on this machine."""
    return (f"service.{world.bridge.name}",) if world.bridge else ("service.stack",)


def tunnel(world: World) -> tuple[str, ...]:
    """The check that must be well before the public URL is known; none with PUBLIC_URL."""
    return () if world.settings.public_url or not world.has_way_in else ("ngrok.tunnel",)


def nobody(id: str, world: World) -> Finding | None:
    """Why nobody can be knocked at, as a skip; None when there is a door."""
    if world.bridge is None:
        return skip(
            id, "No service of this stack listens on WEBSOCKET_PORT.", port=world.settings.websocket_port
        )
    if not world.has_way_in:
        return skip(id, "No public URL and no tunnel belong to this stack.")
    return None


def form(settings: Settings) -> dict[str, str]:
    """The voice webhook of a call that does not exist, as Twilio would send it."""
    caller, called = "+12025550111", settings.twilio_phone_number or "+12025550100"
    return {
        "CallSid": "CA" + secrets.token_hex(16),
        "AccountSid": settings.twilio_account_sid or "",
        "ApiVersion": "2010-04-01",
        "CallStatus": "ringing",
        "Direction": "inbound",
        "From": caller,
        "Caller": caller,
        "To": called,
        "Called": called,
        "TrunklineProbe": "1",  # signed like the rest: our own bridge keeps no record of such a call
    }


def voice_url(world: World) -> str:
    """The webhook's public address: the bridge's own path, or for a stack of the user's own the path
    that the number asks, if it points at this origin."""
    here = origin(world.settings)
    if world.own_stack:
        with suppress(OpsError), Twilio.of(world.settings, timeout=2.0) as twilio:
            for number in twilio.numbers():
                ours = number.phone_number == world.settings.twilio_phone_number
                if ours and number.voice_url.startswith(here + "/"):
                    return number.voice_url
    return here + VOICE_PATH


def webhook(
    settings: Settings,
    url: str,
    *,
    fields: Mapping[str, str] | None = None,
    signature: str | None = None,
    timeout: float = 5.0,
) -> Answer:
    """POSTs the voice webhook to `url`, rightly signed unless another signature is given."""
    fields = fields or form(settings)
    with Http(reached(settings, url), timeout=timeout) as http:
        return http.post("", fields, headers={HEADER: signature or sign(settings, url, fields)})


@contextmanager
def stream(
    settings: Settings, url: str, *, signature: str | None = None, timeout: float = 4.0
) -> Iterator[Opened]:
    """Opens the media stream at `url` and sends nothing: no session is opened upstream."""
    headers = {HEADER: signature or sign(settings, url)}
    with opened(reached(settings, url), headers=headers, timeout=timeout) as connection:
        yield connection


def reached(settings: Settings, url: str) -> str:
    """Where a public URL is asked: there, or at one bridge of this machine (`validate --at`)."""
    if settings.door_at is None:
        return url
    parts, door = urlsplit(url), urlsplit(settings.door_at)
    scheme = door.scheme.replace("http", "ws") if parts.scheme.startswith("ws") else door.scheme
    return urlunsplit((scheme, door.netloc, parts.path, parts.query, ""))


def sign(settings: Settings, url: str, fields: Mapping[str, str] | None = None) -> str:
    token = settings.twilio_auth_token
    return wire.sign(token.reveal() if token else "", url, fields)


@dataclass(frozen=True)
class Twiml:
    """What a TwiML document asks for: its verbs in order, and the stream it connects to."""

    verbs: tuple[str, ...]
    stream_url: str | None
    parameters: Mapping[str, str]
    one_way: bool = False  # <Start><Stream>: the caller is heard, but nothing can be played


def parse_twiml(text: str) -> Twiml:
    """Reads TwiML as strictly as Twilio does; `Refused` says where it is not TwiML."""
    if not text.startswith("<"):
        shown = text[:40].replace("\n", " ")
        raise Refused(
            f"The webhook's answer is not TwiML: expected '<' as its first character, got {shown!r}.",
            fix="answer with XML alone: no text, blank or byte order mark before it",
            code=12100,
        )
    if "<!DOCTYPE" in text:
        raise Refused(
            "The webhook's answer is not TwiML: expected <Response>, got a document with a DOCTYPE (a web "
            "page?).",
            fix="check the webhook's path: a web page answers there",
            code=12100,
        )
    try:
        root = ElementTree.fromstring(text)  # without a DOCTYPE there are no entities to expand
    except ElementTree.ParseError as problem:
        line, column = problem.position
        raise Refused(
            f"The webhook's answer is not TwiML: {problem.msg if hasattr(problem, 'msg') else problem} "
            f"(line {line}, column {column}).",
            fix="build the answer with twilio.twiml, or escape & and < in it",
            code=12100,
        ) from None
    if root.tag != "Response":
        raise Refused(
            f"The webhook's answer is not TwiML: expected <Response> as its root, got <{root.tag}>.",
            fix="check the webhook's path, and that the root is spelled Response",
            code=12100,
        )
    node, one_way = root.find("Connect/Stream"), False
    if node is None and (node := root.find("Start/Stream")) is not None:
        one_way = True
    parameters = {
        one.get("name", ""): one.get("value", "")
        for one in (node.findall("Parameter") if node is not None else ())
    }
    return Twiml(
        tuple(child.tag for child in root), node.get("url") if node is not None else None, parameters, one_way
    )


def stream_of(answer: Answer) -> tuple[str | None, Mapping[str, str]]:
    """The stream's URL and parameters of a webhook's answer; no URL when Twilio would open none."""
    twiml = parse_twiml(answer.text) if answer.status == 200 else None
    if twiml is None or twiml.stream_url is None or twiml.one_way or stream_fault(twiml.stream_url):
        return None, {}
    return twiml.stream_url, twiml.parameters


def stream_fault(url: str) -> tuple[str, str] | None:
    """What Twilio would refuse in a stream's URL, and the fix; None when it is fine."""
    if re.search(r"\s", url) or url.count("://") != 1:
        return f"{url!r} is not a URL", "set PUBLIC_URL to one scheme and a host name, without spaces"
    if not url.startswith(("wss://", "ws://127.", "ws://localhost", "ws://[::1]")):
        return f"{url} does not begin with wss://", "write the stream's URL with wss://"
    if "?" in url:
        return (
            f"{url} has a query string, which Twilio does not support (31920)",
            "pass values as <Parameter> children of <Stream>",
        )
    return None
