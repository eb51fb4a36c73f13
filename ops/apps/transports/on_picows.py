"""Sockets on picows: its parser and masking in C, its frames checked here for what it leaves to its user.

picows hands over each frame as it comes. Fragments, reserved bits, UTF-8 and close codes are held to RFC 6455
by `assembly`; a whole text frame, which nearly all are, goes straight through.
"""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import picows
from aiofastnet.constants import SSL_BIO_SIZE_DEFAULTS
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from ops.apps.passing import Piece
from ops.apps.transports import (
    ACKNOWLEDGED_WITHIN,
    FROM_MODEL,
    FROM_PHONE,
    MODEL_STRAIN,
    PHONE_STRAIN,
    SILENT,
    Address,
    NotOpened,
    Passage,
    Reception,
    Socket,
    why_not_opened,
)
from ops.apps.transports.assembly import Assembly, Violation, close_of
from ops.apps.transports.native import Lane, Listener

READ_BUFFER = 2048  # bytes, at first: a frame of 20 ms has 400, and each call has two
_TEXT, _CLOSE = picows.WSMsgType.TEXT, picows.WSMsgType.CLOSE
# Bytes, from the model and to it. They need not hold a whole record: until all of one has come, OpenSSL
# keeps what there is in 17 kB that it gives back, so that one such piece of memory serves all calls.
TLS_BUFFERS = {"ssl_incoming_bio_size": 2048, "ssl_outgoing_bio_size": 1024}
# What strangers send is told once, by us. Of a plain logger picows makes each connection one of 700 bytes.
_SILENT_LOG = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1))
_OUR_VERDICTS = frozenset((1002, 1007, 1009))  # the other side broke the protocol
_NOBODY = asyncio.Protocol()
# The names in a certificate as Python's ssl tells it, kept: it interns those that nobody has anew for each
# connection; each leaves a dead place in the interpreter's table, and full, that takes another megabyte.
_CERTIFICATE = (
    "subject", "issuer", "version", "serialNumber", "notBefore", "notAfter", "subjectAltName",
    "OCSP", "caIssuers", "crlDistributionPoints",
)  # fmt: skip


class PicowsSocket(Socket, Listener):
    """A websocket of picows, on either side."""

    def __init__(self, limit: int, strain: int, peer: str = "?") -> None:
        Socket.__init__(self, peer)
        self._assembly = Assembly(limit)
        self._strain = strain
        self._transport: picows.WSTransport
        self._told: tuple[int | None, str] = (None, "")  # the other side's close frame
        self._abandoned = False
        self._open = False

    def abandon(self) -> None:
        """Nobody waits for this connection any more: should it come, or have come a moment ago, it goes."""
        self._abandoned = True
        if self._open:
            self._abort()

    def send(self, text: str) -> None:
        self._transport.send(_TEXT, text)

    def lane_to(self, model: Socket, piece: Piece, append: str, media: str, mark: str) -> Passage | None:
        if Lane is None or not isinstance(model, PicowsSocket) or not (self._open and model._open):
            return None
        self.hears_phone = True
        self.lane = model.lane = Lane(
            self, self._transport, model, model._transport, piece, append, media, mark
        )
        return self.lane

    def leave_lane(self) -> None:
        self.lane = None

    def _send_close(self, code: int, reason: str) -> None:
        self._transport.send_close(code, reason.encode()[:120])  # type: ignore[arg-type]

    def _abort(self) -> None:
        self._transport.disconnect(graceful=False)

    # What picows tells.

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        self.send = partial(transport.send, _TEXT)  # type: ignore[method-assign]  # no frame of Python for one
        transport.underlying_transport.set_write_buffer_limits(high=self._strain)
        for handshake in (transport.request, transport.response):
            handshake.headers.clear()  # picows keeps both as long as the connection
        self._open = True
        if self._abandoned:
            self._abort()

    def on_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if transport.is_close_frame_sent and frame.msg_type is not _CLOSE:
            return  # what comes after our last word is not heard
        try:
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                raise Violation(1002, "expected no reserved bits, got some")
            if frame.fin and frame.msg_type is _TEXT and not self._assembly.under_way:
                text = frame.get_payload_as_utf8_text()
                if self._on_message is not None:
                    self._on_message(text)
                else:
                    self._came(text)
            else:
                self._on_other(transport, frame)
        except UnicodeDecodeError:
            raise picows.WSProtocolError(picows.WSCloseCode.INVALID_TEXT, "expected UTF-8") from None
        except Violation as wrong:
            raise picows.WSProtocolError(picows.WSCloseCode(wrong.code), wrong.reason) from None

    def _on_other(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """A frame that is not a whole text."""
        kind = frame.msg_type
        if kind is _CLOSE:
            self._told = close_of(frame.get_payload_as_bytes())
            self._send_close(self._told[0] or 1000, "")
            transport.disconnect()
        elif kind is picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is not picows.WSMsgType.PONG:
            message = self._assembly.add(kind.value, frame.get_payload_as_bytes(), last=frame.fin)
            self.whole = not self._assembly.under_way
            if message is not None:
                self._came(message)

    def is_user_specific_pong(self, frame: picows.WSFrame) -> bool:
        """Whatever comes while a pong is awaited proves that the other side lives."""
        self._transport.notify_user_specific_pong_received()
        return frame.msg_type is picows.WSMsgType.PONG

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        handshake = transport.close_handshake
        code, reason = self._told
        if code is None and handshake is not None and handshake.sent is not None:
            code, reason = int(handshake.sent.code), handshake.sent.reason or ""  # type: ignore[call-overload]
        if code in _OUR_VERDICTS and transport.is_client_side:
            self._forgiven = asyncio.get_running_loop().create_task(_forgive(transport))
        self._ended(code, reason)
        self.lane = None
        if self._open:
            self._open = False
            self.send = _nowhere  # type: ignore[method-assign]
            del self._transport  # it knows us: both go at once, without the collector

    def pause_writing(self) -> None:
        self.strained = True

    def resume_writing(self) -> None:
        self.strained = False


async def _forgive(transport: picows.WSTransport) -> None:
    """What the model did wrong is told with the close code: no log needs the parser's exception as well."""
    with suppress(picows.WSProtocolError):
        await transport.wait_disconnected()


def _nowhere(text: str) -> None:
    """Where the messages of a closed socket go."""


async def dial(address: Address) -> Socket:
    """A socket to the model. Raises NotOpened."""
    secure: dict[str, Any] = {}
    if address.url.startswith("wss:"):
        secure = {"ssl_context": _tls()}
    socket = PicowsSocket(FROM_MODEL, MODEL_STRAIN)
    try:
        async with asyncio.timeout(address.within):
            transport, _ = await picows.ws_connect(
                lambda *_: socket,
                address.url,
                **secure,
                extra_headers=address.headers,
                websocket_handshake_timeout=address.within,
                max_redirects=0,
                max_frame_size=FROM_MODEL,
                enable_auto_pong=False,  # `on_ws_frame` looks at a ping before it answers
                enable_auto_ping=True,
                auto_ping_idle_timeout=SILENT,
                auto_ping_reply_timeout=SILENT,
                read_buffer_init_size=READ_BUFFER,
                logger_name=_SILENT_LOG,
            )
    except asyncio.CancelledError:
        socket.abandon()
        raise
    except picows.WSHandshakeError as problem:
        if problem.response is None:
            raise why_not_opened(problem, address.within) from None
        status, body = (
            int(problem.response.status),
            (problem.raw_body or b"")[:200].decode("utf-8", "replace"),
        )
        raise NotOpened(f"refused with HTTP {status} {body}".rstrip(), status) from None
    except Exception as problem:
        socket.abandon()
        raise why_not_opened(problem, address.within) from None
    told = transport.underlying_transport.get_extra_info
    (told("peercert") or {}).clear()  # it has been checked
    wire = told("socket")
    if hasattr(sockets, "TCP_USER_TIMEOUT"):
        with suppress(OSError):  # closed as soon as it was open: who receives from it is told
            wire.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, int(ACKNOWLEDGED_WITHIN * 1000))
    return socket


@cache
def _tls() -> ssl.SSLContext:
    """One context for all calls: reading the certificate authorities takes longer than a handshake."""
    SSL_BIO_SIZE_DEFAULTS.update(TLS_BUFFERS)  # as an argument of one connection it takes 16 KiB and more
    return ssl.create_default_context()


def refuse(transport: asyncio.Transport, status: int) -> None:
    """Answer a handshake that is not let in, as a `PhoneDoor` does."""
    transport.write(picows.WSUpgradeResponse.create_error_response(status, b"").to_bytes())
    transport.close()


class PhoneDoor:
    """Takes over the connections on which a phone's stream asks to be let in."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._attended: set[asyncio.Task[None]] = set()

    def take(self, transport: asyncio.Transport, head: bytes, peer: str) -> None:
        """Goes on with a connection of which `head` has been read: a request for the media path."""

        def decide(
            request: picows.WSUpgradeRequest,
        ) -> picows.WSListener | picows.WSUpgradeResponseWithListener:
            if self._reception.admit(peer, request.headers.getall("X-Twilio-Signature", [])):
                return _AttendedSocket(peer, self._attend)
            refused = picows.WSUpgradeResponse.create_error_response(403, b"")
            return picows.WSUpgradeResponseWithListener(refused, None)

        protocol = WSProtocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=decide,
            logger=_SILENT_LOG,
            disconnect_on_exception=True,
            websocket_handshake_timeout=None,  # the head is here already
            enable_auto_ping=False,  # a phone that sends no frames is gone: the session sees to that
            auto_ping_idle_timeout=0,
            auto_ping_reply_timeout=0,
            auto_ping_strategy=picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=FROM_PHONE,
            extra_headers=None,
            read_buffer_init_size=READ_BUFFER,
        )
        # The kernel shall not hold more than a few seconds of audio that the phone does not take either.
        transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, PHONE_STRAIN)
        protocol.connection_made(transport)
        while head:
            room = protocol.get_buffer(len(head))
            size = min(len(room), len(head))
            room[:size] = head[:size]
            head = head[size:]
            protocol.buffer_updated(size)
        transport.set_protocol(_NOBODY)  # else uvloop holds on to the one before, with all that it read
        transport.set_protocol(protocol)

    def _attend(self, socket: Socket) -> None:
        task = asyncio.get_running_loop().create_task(self._reception.attend(socket))
        self._attended.add(task)
        task.add_done_callback(self._attended.discard)


class _AttendedSocket(PicowsSocket):
    """A phone's socket: as soon as it is open, somebody attends to it."""

    def __init__(self, peer: str, attend: Callable[[Socket], None]) -> None:
        super().__init__(FROM_PHONE, PHONE_STRAIN, peer)
        self._attend = attend

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        super().on_ws_connected(transport)
        self._attend(self)
