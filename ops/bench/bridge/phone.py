"""One caller: asks the door as Twilio does, opens the media stream, speaks fifty frames a second."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from ops.bench.bridge import frames
from ops.bench.bridge.book import Calls, Page
from ops.errors import Unreachable
from ops.vendors.twilio import wire as twilio

if TYPE_CHECKING:
    import ssl

    import httpx

TEXT = WSMsgType.TEXT
ANSWERED_WITHIN = 5.0  # seconds for the webhook, and for the handshake


@dataclass(frozen=True)
class Door:
    """Where a call goes in: `webhook` is asked first and signed, or else `stream` is opened as it is."""

    stream: str = ""
    webhook: str = ""
    account: str = "AC" + "0" * 32
    token: str = ""


class Phone(WSListener):
    """A call's media stream, from Twilio's side. A mark comes back with the next frame that is spoken:
    by then its audio, which began to sound when it came, is played."""

    def __init__(self, calls: Calls, speech: tuple[bytes, ...]) -> None:
        self.sid = "CA" + secrets.token_hex(16)
        self.stream = b"MZ" + secrets.token_hex(16).encode()
        self.page: Page = calls.open()
        self.gone = asyncio.Event()
        self.cleared_at: float | None = None  # when it was last told to drop what it holds
        self._speech = speech
        self._marks: list[bytes] = []  # to come back
        self._sequence = 1
        self._transport: WSTransport | None = None
        self._send: Callable[[bytes], None] | None = None

    async def call(self, door: Door, client: httpx.AsyncClient, trust: ssl.SSLContext | None = None) -> None:
        """Open the stream; raises Unreachable where the call is not taken."""
        url = door.stream
        parameters: dict[str, str] = {}
        headers = {}
        if door.webhook:
            url, parameters = await self._ask(door, client)
            headers["X-Twilio-Signature"] = twilio.sign(door.token, url)
        try:
            self._transport, _ = await ws_connect(
                lambda: self,
                url,
                ssl_context=trust,
                extra_headers=headers,
                websocket_handshake_timeout=ANSWERED_WITHIN,
            )
        except Exception as problem:  # whatever a handshake can fail with
            raise Unreachable(f"{url}: {problem}", fix="read the bridge's output") from None
        self._send = self._transport.underlying_transport.write
        start = {
            "event": "start", "sequenceNumber": "1", "streamSid": self.stream.decode(),
            "start": {
                "accountSid": door.account, "callSid": self.sid, "streamSid": self.stream.decode(),
                "tracks": ["inbound"], "customParameters": parameters,
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        }  # fmt: skip
        self._write({"event": "connected", "protocol": "Call", "version": "1.0.0"}, start)

    def speak(self, due: float) -> None:
        """Send the next frame, and the marks that have been played."""
        if self._send is None or self.gone.is_set():
            return
        page = self.page
        number = page.leaves(time.monotonic(), due)
        sequence = self._sequence = self._sequence + 1
        speech = self._speech[number % len(self._speech)]
        messages = [frames.media(number, sequence, page.call, speech, self.stream)]
        for name in self._marks:
            sequence = self._sequence = sequence + 1
            messages.append(frames.mark(sequence, self.stream, name))
        self._marks.clear()
        self._send(frames.from_client(messages))

    def hang_up(self, *, politely: bool = True) -> None:
        """The caller hangs up: with `stop` and a close, or the connection just breaks."""
        if self._transport is None or self.gone.is_set():
            return
        if not politely:
            self._transport.underlying_transport.abort()
            return
        stop = {"event": "stop", "streamSid": self.stream.decode()}
        self._write(stop)
        self._transport.send_close()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != TEXT:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        if len(message) > frames.SHORTEST_AUDIO:
            with suppress(ValueError):  # something of the bridge's own bears no watermark
                self.page.comes(frames.value(message, frames.PAYLOAD) or b"", time.monotonic())
        elif (name := frames.value(message, frames.NAME)) is not None:
            self._marks.append(name)
        elif b'"clear"' in message:
            self.cleared_at = time.monotonic()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone.set()

    async def _ask(self, door: Door, client: httpx.AsyncClient) -> tuple[str, dict[str, str]]:
        """The webhook's TwiML: the stream's URL and its parameters."""
        import httpx

        form = {
            "CallSid": self.sid, "AccountSid": door.account, "From": "+12025550123", "To": "+12025550100",
            "CallStatus": "ringing", "Direction": "inbound", "ApiVersion": "2010-04-01",
        }  # fmt: skip
        signature = twilio.sign(door.token, door.webhook, form)
        try:
            answer = await client.post(door.webhook, data=form, headers={"X-Twilio-Signature": signature})
        except httpx.TransportError as problem:
            raise Unreachable(f"{door.webhook}: {problem!r}", fix="read the bridge's output") from None
        stream = ElementTree.fromstring(answer.text).find(".//Stream") if answer.status_code == 200 else None
        if stream is None:
            said = f"{answer.status_code} {answer.text[:200]!r}"
            raise Unreachable(
                f"{door.webhook}: expected TwiML with a stream, got {said}", fix="read the bridge's output"
            )
        return stream.get("url", ""), {
            one.get("name", ""): one.get("value", "") for one in stream.iter("Parameter")
        }

    def _write(self, *messages: Mapping[str, object]) -> None:
        assert self._send is not None
        self._send(frames.from_client([json.dumps(message).encode() for message in messages]))
