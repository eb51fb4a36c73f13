"""A media stream's life without words: it opens, becomes a session, ends when told; and it may fall silent.

Both checks open a stream as Twilio does. The session asks for no greeting and says nothing, so the
model is opened and makes no answer.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

from ops.doctor import knock
from ops.doctor.preflight import Phone, start_of
from ops.errors import OpsError
from ops.findings import Check, Finding, Knowledge, fail, ok, skip, warn
from ops.net.http import Http
from ops.world import World

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

APPEARS, STAYS, ENDS = 1.5, 0.5, 3.0  # seconds
IDLE = 3.0  # seconds of silence on an open stream; our own bridge waits 5 for the start
LOOK = 0.05
QUIETLY = "greeting=off"  # our own bridge's switch for one call


def session(world: World) -> Finding:
    """Opens a session, looks for it where the bridge tells of its calls, ends it, and looks again."""
    id = "deep.session"
    if nobody := knock.nobody(id, world):
        return nobody
    url = knock.voice_url(world)
    if not world.own_stack:
        url += f"?{QUIETLY}"
    fields = knock.form(world.settings)
    answer = knock.webhook(world.settings, url, fields=fields)
    stream_url, parameters = knock.stream_of(answer)
    if stream_url is None:
        return skip(id, f"{url} gave no stream to open ({answer.status}).", waits_for="webhook.signed")
    sid, states = fields["CallSid"], ["opened"]
    phone = Phone("MZ" + secrets.token_hex(16))
    with knock.stream(world.settings, stream_url) as connection:
        socket = connection.socket
        handshake = round(connection.seconds * 1000)
        for message in start_of(phone, fields, parameters):
            socket.send(message)
        if (code := _closed_within(socket, STAYS)) is not None:
            return fail(
                id,
                f"The stream opens, but the server ends it with {code or 'no code'} after its start message.",
                fix="the bridge's log says why: `inv logs`",
                asked=stream_url,
                states=[*states, f"closed {code}"],
            )
        states.append("started")
        if not world.own_stack and not _seen(world, sid, wanted=True, within=APPEARS):
            return fail(
                id,
                "The stream starts, but the bridge tells of no such call.",
                fix="the bridge's log says why: `inv logs`; another program may have its port",
                asked=stream_url,
                states=states,
            )
        states += [] if world.own_stack else ["live"]
        stop = {"accountSid": fields["AccountSid"], "callSid": sid}
        socket.send(phone.message("stop", 2, stop=stop))
    if not world.own_stack and not _seen(world, sid, wanted=False, within=ENDS):
        return fail(
            id,
            f"{ENDS:g} s after its stop message the call is still live: its session goes on and is billed.",
            fix="restart the bridge: `inv cleanup start`; and report this",
            asked=stream_url,
            states=states,
        )
    states.append("ended")
    return ok(
        id,
        f"A session opens in {handshake} ms and ends when told to ({', '.join(states)}).",
        asked=stream_url,
        handshake_ms=handshake,
        states=states,
    )


def idle(world: World) -> Finding:
    """Holds a stream open and says nothing: what is cut without a close frame was cut on the way."""
    id = "deep.idle"
    if nobody := knock.nobody(id, world):
        return nobody
    url = knock.voice_url(world)
    stream_url, _ = knock.stream_of(knock.webhook(world.settings, url))
    if stream_url is None:
        return skip(id, f"{url} gave no stream to open.", waits_for="webhook.signed")
    with knock.stream(world.settings, stream_url) as connection:
        began = time.monotonic()
        code = _closed_within(connection.socket, IDLE)
        held = round(time.monotonic() - began, 1)
    if code == 0:
        return warn(
            id,
            f"A silent media stream is cut after {held:g} s: something between Twilio and the bridge ends "
            "idle connections.",
            fix="raise the idle timeout of the proxy or tunnel above an hour (nginx: proxy_read_timeout; "
            "load balancer: idle timeout), or let the bridge ping more often than that",
            asked=stream_url,
            held_seconds=held,
        )
    if code is not None:
        return ok(id, f"After {held:g} s of silence the bridge itself ends the stream ({code}).", code=code)
    return ok(id, f"A media stream may be silent for {IDLE:g} s.", asked=stream_url, held_seconds=held)


def _closed_within(socket: ClientConnection, seconds: float) -> int | None:
    """The close code with which the stream ended in that time, 0 for an end without a close frame; None
    when it is still open. What is played meanwhile is not listened to."""
    from websockets.exceptions import ConnectionClosed

    until = time.monotonic() + seconds
    try:
        while (left := until - time.monotonic()) > 0:
            try:
                socket.recv(timeout=left)
            except TimeoutError:
                break
    except ConnectionClosed as problem:
        return problem.rcvd.code if problem.rcvd else 0
    return None


def _seen(world: World, sid: str, *, wanted: bool, within: float) -> bool:
    """Whether the bridge's own account of its calls comes to have, or not to have, this one in time."""
    until = time.monotonic() + within
    with Http(f"http://127.0.0.1:{world.settings.websocket_port}", timeout=2.0) as http:
        while True:
            try:
                there = any(one.get("call_sid") == sid for one in http.get("/health").json().get("calls", ()))
            except (OpsError, AttributeError, json.JSONDecodeError):
                there = not wanted
            if there == wanted or time.monotonic() > until:
                return there == wanted
            time.sleep(LOOK)


CHECKS: tuple[Check[World], ...] = (
    Check(
        "deep.session",
        "Does a media stream become a session, and end when it is told to?",
        session,
        needs=("webhook.signed", "websocket.stream"),
        deadline=8.0,
        about=Knowledge(
            symptom="The call connects and drops at once, or is billed long after the caller has gone.",
            evidence="The states that a session without words passes: opened, started, live, ended; and the "
            "close code where it ends early.",
            cause="The bridge refuses the start message, crashes on it, or does not end a session on stop.",
            fix="The bridge's log says why: `inv logs`.",
            verify="A session is told of by the bridge while it lives, and not after its stop message.",
            source="https://www.twilio.com/docs/voice/media-streams/websocket-messages",
            vantage="public URL",
        ),
    ),
    Check(
        "deep.idle",
        "May a media stream through the public URL be silent for a while?",
        idle,
        needs=("webhook.signed", "websocket.stream"),
        about=Knowledge(
            symptom="Calls end in the middle, always after the same time; Twilio shows 31921 or 31903.",
            evidence=f"How long a stream that says nothing stays open, up to {IDLE:g} s, and its close code.",
            cause="A proxy, load balancer or tunnel ends connections that are idle for a while.",
            fix="Raise its idle timeout, or let the bridge send pings more often.",
            verify=f"A stream without a message is open after {IDLE:g} s, or the bridge closed it itself.",
            source="https://nginx.org/en/docs/http/websocket.html",
            vantage="public URL",
        ),
    ),
)
