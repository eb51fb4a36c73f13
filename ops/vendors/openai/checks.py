"""What OpenAI can be asked: the key, the model and its last day, a Realtime session with our settings."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from ops.errors import OpsError, Refused
from ops.findings import Check, Finding, Knowledge, fail, ok, unknown, warn
from ops.net.http import Http, Unanswered
from ops.net.probe import UpgradeRefused, opened
from ops.vendors.openai import events, wire
from ops.vendors.openai.client import FIXES, models
from ops.world import World

SOON, NEAR = 60, 30  # days before a shutdown: from SOON on it is a warning
# announced, for when the API does not say it itself
KNOWN_SHUTDOWNS = {
    "gpt-4o-realtime-preview": date(2026, 5, 12),
    "gpt-4o-mini-realtime-preview": date(2026, 5, 12),
    "gpt-realtime": date(2027, 1, 20),
    "gpt-realtime-mini": date(2027, 1, 20),
    "whisper-1": date(2027, 2, 26),
    "gpt-4o-transcribe": date(2027, 2, 26),
    "gpt-4o-mini-transcribe": date(2027, 2, 26),
}


def key(world: World) -> Finding:
    found = models(world.settings)
    asked = f"{world.settings.openai_base_url}/models"
    return ok("openai.key", f"OpenAI accepts the key; it may use {len(found)} models.", asked=asked)


def model(world: World) -> Finding:
    wanted = world.settings.openai_model
    found = {one.id for one in models(world.settings)}
    asked = f"{world.settings.openai_base_url}/models"
    if wanted not in found:
        realtime = sorted(one for one in found if "realtime" in one)
        return fail(
            "openai.model",
            f"The key may not use {wanted}; of the Realtime models it may use "
            f"{', '.join(realtime[:6]) or 'none'}.",
            fix="set OPENAI_MODEL to one of them, or allow the model for the key's project",
            asked=asked,
        )
    return ok("openai.model", f"{wanted} is available to the key.", asked=asked)


def shutdown(world: World) -> Finding:
    fix = "set OPENAI_MODEL to a current model, such as gpt-realtime-2.1, and test a call"
    return _days_left("openai.shutdown", world, world.settings.openai_model, fix)


def transcription(world: World) -> Finding:
    fix = "set OPENAI_TRANSCRIPTION_MODEL to a current model, such as gpt-transcribe"
    return _days_left("openai.transcription", world, world.settings.openai_transcription_model, fix)


def _days_left(id: str, world: World, model: str, fix: str) -> Finding:
    """How long a model stays: what the API says, else what was announced."""
    said = next((one.shutdown_date for one in models(world.settings) if one.id == model), None)
    day = said or known_shutdown(model)
    asked = f"{world.settings.openai_base_url}/models"
    if day is None:
        return ok(id, f"No shutdown of {model} is announced.", asked=asked)
    left = (day - world.today).days
    evidence = {"asked": asked, "shutdown_date": day.isoformat(), "days_left": left}
    if left < 0:
        return fail(id, f"{model} was shut down on {day}, {-left} days ago.", fix=fix, **evidence)
    if left <= SOON:
        very = "very soon, " if left <= NEAR else ""
        return warn(id, f"{model} goes away {very}in {left} days, on {day}.", fix=fix, **evidence)
    return ok(id, f"{model} stays for {left} more days, until {day}.", **evidence)


def protocol(world: World) -> Finding:
    """Some models speak another protocol, or none that is spoken over a socket."""
    settings = world.settings
    model, url = settings.openai_model, settings.openai_realtime_url
    if model.startswith("gpt-live") or "/v1/live" in url:
        return fail(
            "openai.protocol",
            f"{model} at {url} speaks the Live protocol; this bridge speaks Realtime.",
            fix="set OPENAI_MODEL to a Realtime model, such as gpt-realtime-2.1, and OPENAI_REALTIME_URL "
            "to /v1/realtime",
        )
    if re.match(r"(gpt|o\d|whisper|tts|chatgpt)\b", model) and "realtime" not in model:
        return fail(
            "openai.protocol",
            f"{model} is not a Realtime model.",
            fix="set OPENAI_MODEL to a Realtime model, such as gpt-realtime-2.1",
        )
    return ok("openai.protocol", f"{model} is a Realtime model by its name.")


def known_shutdown(model: str) -> date | None:
    """The announced last day of a model, dated snapshots included."""
    if (name := re.sub(r"-20\d\d-\d\d-\d\d$", "", model)) in KNOWN_SHUTDOWNS:
        return KNOWN_SHUTDOWNS[name]
    preview = [name for name in KNOWN_SHUTDOWNS if "preview" in name and model.startswith(name)]
    return KNOWN_SHUTDOWNS[max(preview, key=len)] if preview else None


def realtime(world: World) -> Finding:
    """Opens a session and sends our settings; it asks for no answer, so it costs nothing."""
    settings = world.settings
    secret = settings.openai_api_key
    url = f"{settings.openai_realtime_url}?model={settings.openai_model}"
    began = time.monotonic()
    until = began + 4.5
    headers = {"Authorization": f"Bearer {secret.reveal()}"} if secret else {}
    tools = _tools(world)
    wanted_settings = _configure(world, tools)
    try:
        with opened(url, headers=headers, timeout=3.0) as connection:
            created = False
            while True:
                event = _next(
                    connection.socket, url, until, "session.updated" if created else "session.created"
                )
                if isinstance(event, events.Failure):
                    return _failed(event, url)
                if isinstance(event, events.Garbage):
                    return fail(
                        "openai.realtime",
                        f"The Realtime session sent something else: {event.reason}.",
                        fix="check OPENAI_REALTIME_URL: it does not speak the Realtime protocol",
                        asked=url,
                    )
                if isinstance(event, events.Created) and not created:
                    created = True
                    created_ms = round((time.monotonic() - began) * 1000)
                    connection.socket.send(wanted_settings)
                if isinstance(event, events.Ready):
                    break
            handshake = round(connection.seconds * 1000)
    except UpgradeRefused as problem:
        return _upgrade_refused(problem, url)
    wanted = (wire.FORMAT, wire.FORMAT)
    evidence = {
        "asked": url,
        "handshake_ms": handshake,
        "created_ms": created_ms,
        "ready_ms": round((time.monotonic() - began) * 1000),
        "tools": [str(tool.get("name")) for tool in tools],
    }
    if (event.input_format, event.output_format) != wanted:
        return fail(
            "openai.realtime",
            f"The session confirmed {event.input_format} in and {event.output_format} out, not "
            f"{wire.FORMAT} both ways.",
            fix="the phone would hear noise: use a model that takes audio/pcmu, and the GA shape of "
            "session.update",
            **evidence,
        )
    return ok(
        "openai.realtime",
        f"A Realtime session takes our settings ({wire.FORMAT} both ways) in {evidence['ready_ms']} ms.",
        **evidence,
    )


def _configure(world: World, tools: Sequence[Mapping[str, Any]]) -> str:
    settings = world.settings
    return wire.configure(
        instructions=settings.openai_instructions,
        voice=settings.openai_voice,
        transcription=settings.openai_transcription_model,
        tools=tools,
    )


def _tools(world: World) -> tuple[Mapping[str, Any], ...]:
    """The tools that the running bridge offers the model; none when it does not run, or is the user's own."""
    if world.own_stack or not world.running:
        return ()
    try:
        with Http(f"http://127.0.0.1:{world.settings.websocket_port}", timeout=1.0) as http:
            found = http.get("/tools").checked().json()
    except OpsError:
        return ()
    return tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def _next(socket: object, url: str, until: float, waiting_for: str) -> events.Event:
    """The next event, or the reason why none came, with the close code where the socket was closed."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection

    assert isinstance(socket, ClientConnection)
    try:
        return wire.decode(socket.recv(timeout=max(0.05, until - time.monotonic())))
    except TimeoutError:
        raise Unanswered(url, "timeout", f"opened, but {waiting_for} did not come in time") from None
    except ConnectionClosed as problem:
        code, reason = (problem.rcvd.code, problem.rcvd.reason) if problem.rcvd else (None, "")
        name = next((one for one in FIXES if one in reason), "")
        name = name or {3000: "invalid_api_key", 4000: "beta_api_shape_disabled"}.get(code or 0, "")
        raise Refused(
            f"OpenAI closed the Realtime session with {code or 'no code'} {reason}".rstrip() + ".",
            fix=FIXES.get(name, "see the reason; OpenAI's status page shows outages"),
            code=code,
        ) from None


def _failed(event: events.Failure, url: str) -> Finding:
    return fail(
        "openai.realtime",
        f"OpenAI refused the session with {event.code}: {event.message}",
        fix=FIXES.get(event.code, "see the message; check OPENAI_MODEL and OPENAI_VOICE"),
        asked=url,
        code=event.code,
    )


def _upgrade_refused(problem: UpgradeRefused, url: str) -> Finding:
    name = next(
        (one for one in FIXES if one in problem.body),
        "invalid_api_key" if problem.status in (401, 403) else "",
    )
    evidence = {"asked": url, "status": problem.status}
    if problem.status in (429, 500, 502, 503, 504) and not name:
        return unknown("openai.realtime", problem.message, fix="wait a moment and ask again", **evidence)
    fix = FIXES.get(name, "check OPENAI_REALTIME_URL, OPENAI_MODEL and OPENAI_API_KEY")
    return fail("openai.realtime", problem.message, fix=fix, **evidence)


LOCAL: tuple[Check[World], ...] = (
    Check(
        "openai.protocol",
        "Is the model one that speaks Realtime?",
        protocol,
        about=Knowledge(
            symptom="The call is answered and silent from the first second.",
            evidence="OPENAI_MODEL and OPENAI_REALTIME_URL by their names.",
            cause="OPENAI_MODEL is a text or Live model: it does not speak the Realtime protocol.",
            fix="Set OPENAI_MODEL to a Realtime model.",
            verify="The model's name is of the Realtime family.",
            source="https://platform.openai.com/docs/models",
        ),
    ),
)

CHECKS: tuple[Check[World], ...] = (
    Check(
        "openai.key",
        "Does OpenAI accept the key?",
        key,
        unless=("env.quoting",),
        about=Knowledge(
            symptom="The caller is connected and hears nothing; the model's socket closes with 3000.",
            evidence="OpenAI's answer to GET /models.",
            cause="OPENAI_API_KEY is wrong, revoked, or of a project that may not use the API.",
            fix="Put a valid key into OPENAI_API_KEY.",
            verify="GET /models answers with the key.",
            source="https://platform.openai.com/docs/guides/error-codes",
            vantage="vendor",
        ),
    ),
    Check(
        "openai.model",
        "May the key use the model?",
        model,
        needs=("openai.key",),
        unless=("openai.protocol",),
        about=Knowledge(
            symptom="Silence after the call is answered; model_not_found in the log.",
            evidence="The Realtime models among those that GET /models names.",
            cause="OPENAI_MODEL is misspelled, retired, or not allowed for the key's project.",
            fix="Set OPENAI_MODEL to a Realtime model of the key's list.",
            verify="GET /models names the model.",
            source="https://platform.openai.com/docs/api-reference/models",
            vantage="vendor",
        ),
    ),
    Check(
        "openai.shutdown",
        "How many days does the model have left?",
        shutdown,
        needs=("openai.model",),
        about=Knowledge(
            symptom="From one day to the next every call is silent.",
            evidence="The model's shutdown_date, or the announced day, counted from today.",
            cause="The model was retired on an announced day.",
            fix="Set OPENAI_MODEL to a current model before that day, and test a call.",
            verify="The model's shutdown_date is more than 60 days away, or none is announced.",
            source="https://platform.openai.com/docs/deprecations",
            vantage="vendor",
        ),
    ),
    Check(
        "openai.realtime",
        "Does a Realtime session take our settings?",
        realtime,
        unless=("env.quoting", "openai.key", "openai.protocol", "openai.model"),
        deadline=5.0,
        about=Knowledge(
            symptom="The call is answered and then silent, or full of noise.",
            evidence="Times of handshake, session.created and session.updated, and the formats that "
            "came back.",
            cause="The key, the model, the voice or the audio format is refused, or the session speaks "
            "the retired beta shape.",
            fix="Follow the refusal's own words; the codes are explained.",
            verify="session.created comes, and session.updated confirms audio/pcmu both ways.",
            source="https://platform.openai.com/docs/api-reference/realtime",
            vantage="vendor",
        ),
    ),
    Check(
        "openai.transcription",
        "How many days does the transcription model have left?",
        transcription,
        needs=("openai.key",),
        about=Knowledge(
            symptom="Calls work, but the caller's words are missing from transcripts.",
            evidence="The transcription model's shutdown_date, or the announced day, counted from today.",
            cause="The transcription model was retired on an announced day.",
            fix="Set OPENAI_TRANSCRIPTION_MODEL to a current model before that day.",
            verify="Its shutdown_date is more than 60 days away, or none is announced.",
            source="https://platform.openai.com/docs/deprecations",
            vantage="vendor",
        ),
    ),
)
