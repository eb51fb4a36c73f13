"""Twenty thousand mutated frames from each side into one session after the other; a million with --long."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from ops.apps.actions import Agent, ToModel, ToPhone
from ops.apps.session import Session
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

SOUND = base64.b64encode(b"\x50" * 160).decode()
START = phone.Start("MZ1", "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})
PHONE: list[dict[str, Any]] = [
    {"event": "media", "media": {"payload": SOUND, "timestamp": "20"}},
    {"event": "mark", "mark": {"name": "0:20"}},
    {"event": "dtmf", "dtmf": {"digit": "1"}},
    {"event": "connected", "protocol": "Call"},
    {"event": "stop", "stop": {}},
]
SIDE = {"format": {"type": "audio/pcmu"}}
MODEL: list[dict[str, Any]] = [
    {"type": "session.created", "session": {"id": "s"}},
    {"type": "session.updated", "session": {"audio": {"input": SIDE, "output": SIDE}}},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 100, "item_id": "u"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "u"},
    {"type": "response.created", "response": {"id": "r"}},
    {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": SOUND},
    {"type": "response.output_audio_transcript.delta", "item_id": "i", "delta": "yes"},
    {"type": "response.output_audio_transcript.done", "item_id": "i", "transcript": "yes"},
    {
        "type": "response.output_item.done",
        "item": {"type": "function_call", "call_id": "c", "name": "hang_up", "arguments": "{}"},
    },
    {
        "type": "response.done",
        "response": {"id": "r", "status": "failed", "usage": {"input_token_details": {}}},
    },
    {"type": "error", "error": {"type": "x", "code": "session_expired", "message": "m"}},
]
ODD: list[Any] = [
    None, True, -1, 0, 1e308, float("inf"), float("nan"), 10**400, "", "\ud800", "\u202e", '"}', "x" * 3000,
    [], {}, [[[]]], {"a": {}},
]  # fmt: skip


def mutated(frame: Any, dice: random.Random) -> Any:
    """The frame with one value somewhere in it replaced, removed or doubled."""
    if not isinstance(frame, dict) or not frame or dice.random() < 0.15:
        return dice.choice(ODD)
    key = dice.choice(list(frame))
    kind = dice.random()
    if kind < 0.2:
        return {name: value for name, value in frame.items() if name != key}
    return {**frame, key: mutated(frame[key], dice) if kind < 0.8 else dice.choice(ODD)}


def frames(valid: list[dict[str, Any]], count: int, dice: random.Random) -> Any:
    for _ in range(count):
        text = json.dumps(dice.choice(valid))
        kind = dice.random()
        if kind < 0.2:
            yield text
        elif kind < 0.75:
            yield json.dumps(mutated(json.loads(text), dice))
        elif kind < 0.9:
            at = dice.randrange(len(text))
            yield (
                text[:at]
                + chr(dice.choice((0, 34, 91, 123, 0xFFFD, 0x1F600))) * dice.choice((1, 3, 500))
                + text[at:]
            )
        else:
            yield dice.randbytes(dice.randrange(60))


@pytest.mark.parametrize("side", ["phone", "model"])
def test_no_frame_breaks_a_session(side: str, request: pytest.FixtureRequest) -> None:
    """Nothing raises, whatever is sent on is JSON, and the session's own clock never stands still."""
    count = 1_000_000 if request.config.getoption("--long") else 20_000
    dice = random.Random(7)
    lines = dict.fromkeys(("agent-moment", "agent-apology", "agent-goodbye", "agent-transfer"), (SOUND,))
    agent = Agent("x", "y", "z", lines=lines, transfer_to="+12025550142")
    session, now = Session(START, agent, 0.0, dialect=model, dice=dice), 0.0
    session.begin()
    for frame in frames(PHONE if side == "phone" else MODEL, count, dice):
        now += 0.02
        if side == "phone":
            actions = session.on_phone(phone.decode(frame), now)
        else:
            actions = session.on_phone(phone.Media(SOUND, 0), now) + session.on_model(
                model.decode(frame), now
            )
        if session.wake_at() <= now and not session.ended:
            actions += session.on_time(now)
            assert session.ended or session.wake_at() > now - 1e-9
        for action in actions:
            if isinstance(action, ToModel | ToPhone):
                json.loads(action.text)
        if session.ended:
            session = Session(START, agent, now, dialect=model, dice=dice)
            session.begin()
