"""The whole line without a phone: a signed webhook, the media stream, speech in, and an answer heard.

It behaves as Twilio does towards the public URL: frames of 20 ms at the pace of a phone, a true
play-out clock, marks that come back when the audio before them was played. It opens one session
of the model, so it is asked only on request (`validate --deep`).
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.doctor import knock
from ops.errors import OpsError, Refused
from ops.findings import Check, Finding, Knowledge, fail, ok
from ops.net.probe import UpgradeRefused
from ops.speech import g711, library
from ops.world import World

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

FRAME, TICK = 160, 0.02  # bytes of mu-law, seconds
SILENCE = g711.SILENCE * FRAME
LINE = "caller-hours"
GREETING_WITHIN, QUIET, ANSWER_WITHIN = 2.5, 0.4, 3.5  # seconds
AUDIBLE = -45.0  # dBFS
INSTEAD = ("agent-moment", "agent-apology")  # recorded lines of the built-in bridge
SURE = 10 * FRAME  # bytes: so much of an answer is awaited, and no two recordings begin alike for so long


@dataclass
class Phone:
    """The far end of a media stream: what it has heard, and when what it was sent has been played."""

    stream_sid: str
    heard: bytearray = field(default_factory=bytearray)
    plays_until: float = 0.0
    marks: list[tuple[float, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    frames: int = 0

    def receive(self, text: str | bytes, now: float) -> None:
        """One message of the bridge."""
        try:
            message = json.loads(text)
            kind = message["event"]
            if message["streamSid"] != self.stream_sid:
                raise ValueError("another streamSid")
            if kind == "media":
                audio = base64.b64decode(message["media"]["payload"], validate=True)
                self.heard += audio
                self.plays_until = max(now, self.plays_until) + len(audio) / 8000
            elif kind == "mark":
                self.marks.append((max(now, self.plays_until), str(message["mark"]["name"])))
            elif kind == "clear":
                self.plays_until = now
                self.marks = [(now, name) for _, name in self.marks]
            else:
                raise ValueError(f"event {kind}")
        except (ValueError, KeyError, TypeError) as problem:
            self.faults.append(f"{type(problem).__name__}: {problem}"[:100])

    def speaks(self, now: float) -> bool:
        """Whether the agent can be heard now."""
        return now < self.plays_until

    def returned(self, now: float) -> Iterator[str]:
        """The marks whose audio has been played."""
        due = [name for at, name in self.marks if at <= now]
        self.marks = [(at, name) for at, name in self.marks if at > now]
        return iter(due)

    def frame(self, audio: bytes) -> str:
        """The next 20 ms of the caller, as Twilio writes it."""
        self.frames += 1
        return self.message(
            "media",
            self.frames + 1,
            media={
                "track": "inbound",
                "chunk": str(self.frames),
                "timestamp": str((self.frames - 1) * 20),
                "payload": base64.b64encode(audio).decode(),
            },
        )

    def message(self, event: str, number: int, **rest: Any) -> str:
        message = {"event": event, "sequenceNumber": str(number), "streamSid": self.stream_sid, **rest}
        return json.dumps(message)


class Broken(Exception):
    """The line broke at a hop."""

    def __init__(self, hop: str, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.hop, self.reason, self.fix = hop, reason, fix


def line(world: World) -> Finding:
    """Walks the hops of a call in order; the first that fails is named."""
    id = "deep.line"
    hops: dict[str, int] = {}
    began = time.monotonic()

    def passed(hop: str) -> None:
        hops[hop] = round((time.monotonic() - began) * 1000)

    try:
        call_sid, latency, level = _walk(world, passed)
    except Broken as broken:
        return fail(
            id,
            f"The line breaks at the {broken.hop}: {broken.reason}",
            fix=broken.fix,
            hop=broken.hop,
            hops_ms=hops,
        )
    return ok(
        id,
        f"Speech went in through the public URL, and an answer came out {latency} ms after it ended.",
        call_sid=call_sid,
        hops_ms=hops,
        latency_ms=latency,
        answer_dbfs=round(level, 1),
    )


def _walk(world: World, passed: Any) -> tuple[str, int, float]:
    settings = world.settings
    log = "read the bridge's log: `inv logs`"
    try:
        url = knock.voice_url(world)
        fields = knock.form(settings)
        answer = knock.webhook(settings, url, fields=fields)
        if answer.status != 200:
            raise Broken(
                "webhook", f"{url} answered {answer.status}.", "`inv validate --only webhook` says why"
            )
        passed("webhook")
        twiml = knock.parse_twiml(answer.text)
        if twiml.stream_url is None or knock.stream_fault(twiml.stream_url):
            raise Broken(
                "TwiML", "it has no stream that Twilio would open.", "`inv validate --only webhook` says why"
            )
        passed("twiml")
        with knock.stream(settings, twiml.stream_url) as connection:
            passed("upgrade")
            latency, level = _talk(connection.socket, fields, twiml.parameters, passed)
    except UpgradeRefused as problem:
        raise Broken("upgrade", problem.message, "`inv validate --only websocket` says why") from None
    except Refused as problem:
        raise Broken("TwiML", problem.message, problem.fix) from None
    except OpsError as problem:
        raise Broken("way in", problem.message, problem.fix) from None
    except OSError as problem:
        raise Broken("stream", f"the connection was lost ({problem}).", log) from None
    return fields["CallSid"], latency, level


def start_of(phone: Phone, fields: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[str, str]:
    """The first two messages of a media stream, as Twilio writes them: connected and start."""
    start = {
        "accountSid": fields["AccountSid"],
        "streamSid": phone.stream_sid,
        "callSid": fields["CallSid"],
        "tracks": ["inbound"],
        "customParameters": dict(parameters),
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    connected = json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    return connected, phone.message("start", 1, start=start)


def _talk(
    socket: ClientConnection, fields: dict[str, str], parameters: Any, passed: Any
) -> tuple[int, float]:
    """Speaks one line after the greeting; gives the answer's latency in ms and its level in dBFS."""
    phone = Phone("MZ" + secrets.token_hex(16))
    for message in start_of(phone, fields, parameters):
        socket.send(message)
    passed("start")
    _until_quiet(socket, phone, passed)
    speech = library.line(LINE).audio
    for index in range(0, len(speech), FRAME):
        _tick(socket, phone, speech[index : index + FRAME].ljust(FRAME, g711.SILENCE))
    ended, before, instead = time.monotonic(), len(phone.heard), 0
    passed("speech")
    while len(phone.heard) < before + instead + SURE:
        _tick(socket, phone, SILENCE)
        instead = said_instead(bytes(phone.heard[before:]))
        if time.monotonic() - ended > ANSWER_WITHIN:
            heard = (
                "nothing was heard" if not instead else "only the bridge's own recorded sentence was heard"
            )
            raise Broken(
                "answer",
                f"{ANSWER_WITHIN:g} s after the caller's words {heard}"
                + (f" ({phone.faults[0]})." if phone.faults else "."),
                "`inv validate --only openai` asks the model alone; `inv logs` shows this call",
            )
    latency = round((time.monotonic() - ended) * 1000)
    for _ in range(15):
        _tick(socket, phone, SILENCE)
    passed("answer")
    call = {"accountSid": fields["AccountSid"], "callSid": fields["CallSid"]}
    socket.send(phone.message("stop", phone.frames + 2, stop=call))
    level = g711.level(bytes(phone.heard[before + instead :]))
    if level < AUDIBLE:
        raise Broken(
            "answer", f"what came is silence ({level:.0f} dBFS).", "check the audio formats of the session"
        )
    return latency, level


def said_instead(heard: bytes) -> int:
    """How many bytes at the beginning are not the model's: what the built-in bridge plays while it waits."""
    length = 0
    while True:
        lines = (library.line(name).audio for name in INSTEAD)
        line = next((one for one in lines if heard[length:].startswith(one[:SURE])), None)
        if line is None:
            return length
        length += len(line)


def _until_quiet(socket: ClientConnection, phone: Phone, passed: Any) -> None:
    """Listens to the greeting, if there is one, until it has been played and a little longer."""
    began = quiet_since = time.monotonic()
    while True:
        _tick(socket, phone, SILENCE)
        now = time.monotonic()
        if phone.speaks(now):
            quiet_since = now
        if phone.heard and now - quiet_since > QUIET:
            passed("greeting")
            return
        if not phone.heard and now - began > GREETING_WITHIN:
            return


def _tick(socket: ClientConnection, phone: Phone, audio: bytes) -> None:
    """Sends 20 ms and takes in what comes until the next 20 ms are due."""
    from websockets.exceptions import ConnectionClosed

    due = time.monotonic() + TICK
    try:
        socket.send(phone.frame(audio))
        while (left := due - time.monotonic()) > 0:
            try:
                phone.receive(socket.recv(timeout=left), time.monotonic())
            except TimeoutError:
                break
        for name in phone.returned(time.monotonic()):
            socket.send(phone.message("mark", phone.frames + 1, mark={"name": name}))
    except ConnectionClosed as problem:
        code = problem.rcvd.code if problem.rcvd else "no code"
        raise Broken(
            "stream", f"the server closed it with {code}.", "the bridge's log says why: `inv logs`"
        ) from None


CHECKS: tuple[Check[World], ...] = (
    Check(
        "deep.line",
        "Does an answer come back when somebody speaks through the public URL?",
        line,
        needs=("webhook.signed", "websocket.stream"),
        unless=("openai.realtime", "deep.session"),
        deadline=10.0,
        about=Knowledge(
            symptom="Everything looks well, and still callers hear nothing.",
            evidence="The hops passed with their times, the answer's latency and its loudness.",
            cause="A hop between the public URL and the model loses the call; the finding names it.",
            fix="Follow the hop that is named.",
            verify="Speech sent as Twilio sends it gets an audible answer.",
            source="https://www.twilio.com/docs/voice/media-streams/websocket-messages",
            vantage="public URL",
        ),
    ),
)
