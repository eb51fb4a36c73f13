"""Calls as data, replayed without a socket: what came in, in both vendors' own words, and all that was done then.

A file of `transcripts/` is one call. Its rows: `at` (seconds) with what happens then, and `does` with everything that
the session did since the row before, in order.

    model       an event of the Realtime API        phone     a message of the media stream
                (its audio `@200`: so many milliseconds of sound)
    caller      frames of 20 ms up to `at`, of this sound: `voice`, `quiet`, or `gone` for none; marks come back when played
    connected   the socket of this generation is open          lost      the model's socket is gone: why
    returned    a tool's output, by its call_id                transferred   what Twilio said of it, null for yes
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ops.apps.actions import (
    Action,
    Agent,
    CloseModel,
    Hangup,
    Measure,
    Note,
    OpenModel,
    Remember,
    RunTool,
    ToModel,
    ToPhone,
    Transfer,
)
from ops.apps.session import Session
from ops.net.retry import Policy
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone
from tests.apps.conversation import COLLEAGUE, FRAME, LINES, QUIET, START

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.jsonl"))
SOUNDS = {"voice": FRAME, "quiet": QUIET, "gone": None}


class Replay:
    """One call, and what it has done since it was last asked."""

    def __init__(self, settings: dict[str, Any]) -> None:
        colleague = {"transfer_to": COLLEAGUE} if settings.pop("colleague", False) else {}
        agent = Agent("be kind", "marin", "gpt-transcribe", lines=LINES, model="m", **colleague, **settings)
        policy = Policy(limit=3, first=0.2)
        self._session = Session(START, agent, 0.0, dialect=model, policy=policy, dice=random.Random(1))
        self._now = 0.0
        self._frame: str | None = None
        self._marks: list[tuple[float, str]] = []  # when each is played
        self._plays_until = 0.0
        self._done: list[str] = []
        self._take(self._session.begin())

    def row(self, row: dict[str, Any]) -> None:
        """Something happens."""
        one = self._session
        if "caller" in row:
            self._frame = SOUNDS[row["caller"]]
            self._until(row["at"])
            return
        self._now = row["at"]
        if "model" in row:
            self._take(one.on_model(model.decode(_sounding(row["model"])), self._now))
        elif "phone" in row:
            self._take(one.on_phone(phone.decode(json.dumps(row["phone"])), self._now))
        elif "connected" in row:
            self._take(one.model_connected(self._now, 0.1, row["connected"]))
        elif "lost" in row:
            self._take(one.model_lost(row["lost"], self._now))
        elif "transferred" in row:
            self._take(one.transferred(row["transferred"], self._now))
        else:
            ((call_id, output),) = row["returned"].items()
            self._take(one.tool_done(call_id, output, self._now))

    def done(self) -> list[str]:
        """All of it, in words; what is the same several times in a row once, with its number."""
        done, self._done = self._done, []
        counted = ((text, len(list(same))) for text, same in groupby(done))
        return [text if count == 1 else f"{text} x{count}" for text, count in counted]

    def _until(self, when: float) -> None:
        while self._now < when and not self._session.ended:
            self._now = round(self._now + 0.02, 3)
            if self._frame is not None:
                media = {"payload": self._frame, "timestamp": str(round(self._now * 1000))}
                heard = phone.decode(json.dumps({"event": "media", "media": media}))
                self._take(self._session.on_phone(heard, self._now))
            while self._marks and self._marks[0][0] <= self._now:
                self._take(self._session.on_phone(phone.Mark(self._marks.pop(0)[1]), self._now))
            if self._session.wake_at() <= self._now:
                self._take(self._session.on_time(self._now))

    def _take(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, ToPhone):
                self._play(json.loads(action.text))
            self._done.append(said(action))

    def _play(self, message: dict[str, Any]) -> None:
        """As a phone does: marks come back when what is before them has sounded, on `clear` all at once."""
        if message["event"] == "media":
            seconds = len(base64.b64decode(message["media"]["payload"])) / 8000
            self._plays_until = max(self._now, self._plays_until) + seconds
        elif message["event"] == "mark":
            self._marks.append((self._plays_until, message["mark"]["name"]))
        else:
            self._plays_until = self._now
            self._marks = [(self._now, name) for _, name in self._marks]


def _sounding(event: dict[str, Any]) -> str:
    if str(event.get("delta", "")).startswith("@"):
        event = event | {"delta": base64.b64encode(b"\x35\x4a" * 4 * int(event["delta"][1:])).decode()}
    return json.dumps(event)


def said(action: Action) -> str:
    """An action in words."""
    match action:
        case ToPhone(text):
            message = json.loads(text)
            return " ".join(["phone", message["event"], *message.get("mark", {}).values()])
        case ToModel(text):
            return f"model {_command(json.loads(text))}"
        case OpenModel(generation):
            return f"open {generation}"
        case CloseModel():
            return "close"
        case RunTool(call_id, name, arguments):
            return f"run {name} {arguments} as {call_id}"
        case Transfer():
            return "transfer"
        case Remember(event, fields):
            entry = fields.get("entry", {})
            return " ".join(
                ["file", event, *(str(entry[key]) for key in ("id", "heard_ms") if entry.get(key))]
            )
        case Hangup(code, reason):
            return f"hang up {code} {reason}"
        case Note(level, event):
            return f"note {level} {event}"
        case Measure(series):
            return f"measure {series}"


def _command(command: dict[str, Any]) -> str:
    match command:
        case {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": role, "content": [content]},
        }:
            return f"{role}: {content['text']}"
        case {"type": "conversation.item.create", "item": {"type": kind, "call_id": call_id}}:
            return f"{kind} {call_id}"
        case {"type": "conversation.item.truncate", "item_id": item_id, "audio_end_ms": ms}:
            return f"truncate {item_id} {ms}"
        case {"type": "response.create", "response": {"instructions": text}}:
            return "response.create: " + text.partition("\n\n")[2]
    return str(command["type"])


def rows(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text("utf-8").splitlines())


def test_there_are_transcripts() -> None:
    """A folder that is not found would pass."""
    assert len(TRANSCRIPTS) >= 10


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_call_does_what_its_transcript_says(path: Path) -> None:
    """Nothing less, nothing else, and in this order."""
    told = rows(path)
    first = next(told)
    replay = Replay(first["agent"])
    for number, row in enumerate(told, 2):
        if "does" in row:
            assert replay.done() == row["does"], f"{path.name}, line {number}"
        else:
            replay.row(row)
    assert replay.done() == []
