"""Who may come in: signatures on webhooks and streams, caps, and what strangers may see at all.

The public origin comes from the settings or the tunnel's own API, never from a request's Host.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from ops.vendors.twilio import spelling, wire

CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")
_PARTY = re.compile(r"\+[0-9]{1,20}|[^+].*|", re.DOTALL)  # a number, or else: anonymous, sip:…, client:…
_WORD = re.compile(r"[a-z-]{1,40}")
# What is signed has no delimiters: with these shapes no field holds another one's name and value.
SHAPES = dict.fromkeys(("From", "To", "Called", "Caller"), _PARTY) | dict.fromkeys(
    ("CallStatus", "Direction", "StreamEvent"), _WORD
)
HERE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?", re.IGNORECASE)
FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
BODY_LIMIT = 64 * 1024
HOUR = 3600.0  # seconds
LEEWAY = 60.0
MISFIT = "the signature does not fit"


Explanation = Generator[None, None, str]  # in small steps: the whole takes milliseconds


@dataclass(frozen=True)
class Refusal:
    """Why a request is not let in: the HTTP status it gets, and a reason for our log alone.

    `explain` says more, behind the answer; who is flooded with forgeries need not explain each.
    """

    status: int
    reason: str
    explain: Callable[[], Explanation] | None = None


@dataclass(frozen=True)
class Webhook:
    """A rightly signed form of Twilio's: its fields, each once."""

    call_sid: str
    form: Mapping[str, str]


@dataclass
class Door:
    """Checks what arrives on the public port against the account's token and the public origin."""

    account_sid: str
    token: str
    origin: str | None  # https://… as Twilio writes it; None until the tunnel is known
    max_calls_per_hour: int
    name: str | None = None  # of this bridge among several: what belongs to its calls comes back to it
    # When this hour's calls were asked for, and which of them have had no stream yet; the oldest first.
    _hour: array[float] = field(default_factory=lambda: array("d"))
    _asked: dict[str, float] = field(default_factory=dict)

    def stream_url(self) -> str:
        """The media stream's address as it stands in the TwiML: `wss`, or `ws` on loopback."""
        return re.sub(r"^http", "ws", self.origin or "") + self.media_path

    @property
    def media_path(self) -> str:
        """The path of the media stream: the one, or the one of this bridge among several."""
        return f"/call{self._suffix}"

    def resume_url(self, now: float) -> str:
        """Where Twilio asks what to do when a stream ended and its call did not, and when it was told so, in
        unix time; the fragment, which is neither sent nor signed, makes it ask again when nobody answers at
        once."""
        return f"{self.origin}/resume{self._suffix}?asked={int(now)}#rc=4&rp=ct,rt,5xx"

    @property
    def _suffix(self) -> str:
        return f"/{self.name}" if self.name else ""

    def webhook(
        self,
        path: str,
        query: str,
        content_type: str,
        body: bytes,
        signatures: Sequence[str],
        hosts: Sequence[str] = (),
    ) -> Webhook | Refusal:
        """A webhook's form, or why it is refused. Every refusal looks the same from outside, and comes after
        the same work: its time does not tell what was wrong. The hosts that the request names are for the
        explanation alone."""
        if self.origin is None:
            return Refusal(503, "the public URL is not known yet")
        pairs, unreadable = _pairs(body)
        form = dict(pairs)
        url = self.origin + path + (f"?{query}" if query else "")
        fits = wire.signed(self.token, wire.spellings(url), form, signatures)
        if content_type.split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            return Refusal(403, f"expected a form, got {content_type[:80]!r}")
        if unreadable:
            return Refusal(403, unreadable)
        if len(form) != len(pairs):  # the signature's text has no delimiters: repeated names can be re-split
            return Refusal(403, "a parameter is repeated")
        if not fits:
            return Refusal(403, MISFIT, partial(self._misfit, url, form, signatures, hosts))
        if form.get("AccountSid") != self.account_sid:
            return Refusal(403, "signed, but of another account")
        if not CALL_SID.fullmatch(form.get("CallSid", "")):
            return Refusal(403, "signed, but without a CallSid")
        if odd := [name for name in SHAPES.keys() & form.keys() if not SHAPES[name].fullmatch(form[name])]:
            return Refusal(403, f"signed, but {min(odd)} is none: the form may have been split anew")
        return Webhook(form["CallSid"], form)

    def upgrade(self, signatures: Sequence[str]) -> Refusal | None:
        """Why a media stream's handshake is refused; None when it is rightly signed."""
        if self.origin is None:
            return Refusal(503, "the public URL is not known yet")
        url = self.stream_url()
        if not wire.signed(self.token, wire.spellings(url), {}, signatures):
            return Refusal(403, MISFIT, partial(self._misfit, url, {}, signatures))
        return None

    def _misfit(
        self, url: str, form: Mapping[str, str], signatures: Sequence[str], hosts: Sequence[str] = ()
    ) -> Explanation:
        """Why a signature does not fit: for our log, which spelling of the URL it does fit, if any. All are
        tried, whichever fits: who asks meanwhile cannot feel it."""
        if len(signatures) != 1:
            return f"expected one signature, got {len(signatures)}"
        found: spelling.Variant | None = None
        others = [host for host in hosts if _is_host(host)][:2]  # they are a stranger's
        for variant in spelling.variants(url, hosts=others, websocket=url.startswith("ws")):
            yield
            fits = spelling.explain(self.token, form, signatures[0][:200], (variant,))
            found = found or fits
        if found is None:
            return f"the signature does not fit {url} in any spelling: another token, or another form"
        fix = "correct PUBLIC_URL"
        if urlsplit(found.url).hostname != urlsplit(url).hostname:
            fix = f"the number points at another address, or {fix}"
        return f"the signature fits {found.url} ({found.difference}), not {url}: {fix}"

    def admit(self, call_sid: str, now: float) -> bool:
        """Whether one more signed call fits into this hour's cap. One that is asked for again counts once: a
        captured webhook must not use up the hour."""
        ago = now - HOUR
        del self._hour[: bisect_right(self._hour, ago)]
        while self._asked and next(iter(self._asked.values())) <= ago:
            del self._asked[next(iter(self._asked))]
        if call_sid in self._asked:
            return True
        if len(self._hour) >= self.max_calls_per_hour:
            return False
        self._hour.append(now)
        self._asked[call_sid] = now
        return True

    def began(self, call_sid: str) -> None:
        """The call has its stream: whoever asks for it again is refused, and nothing counts."""
        self._asked.pop(call_sid, None)


def _is_host(text: str) -> bool:
    return HOST.fullmatch(text) is not None and int(text.partition(":")[2] or 0) < 1 << 16


def _pairs(body: bytes) -> tuple[list[tuple[str, str]], str]:
    """The names and values of a form, and why there are none."""
    try:
        return parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=200), ""
    except ValueError as problem:
        return [], f"not a form: {problem}"


def in_time(asked: str, now: float, lasts: float) -> bool:
    """Whether a resume webhook's address is of now, and not of a call that must long be over; its clock may
    have been another machine's."""
    return re.fullmatch(r"[0-9]{1,12}", asked) is not None and -LEEWAY <= now - int(asked) <= lasts + LEEWAY


def is_local(peer: str, host: str, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from this machine itself and through no proxy or tunnel."""
    return (
        peer in ("127.0.0.1", "::1")
        and HERE.fullmatch(host) is not None
        and not any(header in headers for header in FORWARDING)
    )
