"""A call's session with a clock, without a socket: what happens is told to it, what it does is remembered."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

from ops.apps.actions import Action, Agent, Hangup, Note, OpenModel, ToModel, ToPhone
from ops.apps.session import Session
from ops.net.retry import Policy
from ops.vendors.openai import events
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

START = phone.Start("MZ1", "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})
FRAME = base64.b64encode(b"\x20" * 160).decode()
OTHER = base64.b64encode(b"\x21" * 160).decode()
QUIET = base64.b64encode(b"\xff" * 160).decode()
SOUND = base64.b64encode(bytes(range(0x20, 0x70)) * 20).decode()  # 200 ms
READY = events.Ready(model.FORMAT, model.FORMAT)
LINES = dict.fromkeys(("agent-moment", "agent-apology", "agent-goodbye", "agent-transfer"), (SOUND,))
COLLEAGUE = "+12025550142"


class Line:
    """A session with a clock, which remembers every action."""

    def __init__(self, *, resumed: bool = False, past: Any = (), **agent: Any) -> None:
        told = Agent(
            "be kind", "marin", "gpt-transcribe", **{"lines": LINES, "model": "gpt-realtime", **agent}
        )
        self.now = 0.0
        self.done: list[Action] = []
        self.session = Session(
            START,
            told,
            0.0,
            dialect=model,
            policy=Policy(limit=3, first=0.2),
            dice=random.Random(1),
            past=past,
            resumed=resumed,
        )
        self.take(self.session.begin())

    def take(self, actions: list[Action]) -> list[Action]:
        self.done += actions
        for action in actions:  # the phone plays at once, and says so
            if isinstance(action, ToPhone) and '"mark"' in action.text[:20]:
                self._marks.append((self.now, json.loads(action.text)["mark"]["name"]))
        return actions

    _marks: list[tuple[float, str]]

    def __new__(cls, *_: Any, **__: Any) -> Line:
        one = super().__new__(cls)
        one._marks = []
        return one

    def event(self, *events: events.Event, generation: int | None = None) -> list[Action]:
        return [a for event in events for a in self.take(self.session.on_model(event, self.now, generation))]

    def until(self, when: float, *, frame: str | None = QUIET, marks: bool = True) -> list[Action]:
        """Time passes: a frame each 20 ms, the session's own clock, marks half a second after their audio."""
        found: list[Action] = []
        while self.now < when and not self.session.ended:
            self.now = round(self.now + 0.02, 3)
            if frame is not None:
                found += self.take(self.session.on_phone(phone.Media(frame, int(self.now * 1000)), self.now))
            while marks and self._marks and self._marks[0][0] + 0.5 <= self.now:
                found += self.take(self.session.on_phone(phone.Mark(self._marks.pop(0)[1]), self.now))
            if self.session.wake_at() <= self.now:
                found += self.take(self.session.on_time(self.now))
        return found

    def up(self) -> Line:
        """The model is ready, and has greeted."""
        self.take(self.session.model_connected(self.now, 0.01))
        self.event(events.Created("s", "m"), READY)
        self.answer("greeting", "Hello!")
        self.until(self.now + 1.5)
        return self

    def answer(self, name: str, text: str) -> list[Action]:
        return self.event(
            events.ResponseCreated(f"r-{name}"),
            events.Audio(f"r-{name}", f"i-{name}", SOUND),
            events.Transcript("agent", f"i-{name}", text),
            events.ResponseDone(f"r-{name}", "completed"),
        )

    def says(self, name: str, text: str | None) -> list[Action]:
        """The caller says something for a second; without a text its transcript is still on its way."""
        at = int(self.now * 1000)
        self.event(events.SpeechStarted(at, name))
        self.until(self.now + 1.5, frame=FRAME)
        found = self.event(events.SpeechStopped(int(self.now * 1000), name))
        return found + (self.event(events.Transcript("caller", name, text)) if text else [])

    def reopened(self) -> list[Action]:
        """The next session comes up; what it is told."""
        self.until(self.now + 0.2)
        assert isinstance(next(a for a in reversed(self.done) if isinstance(a, OpenModel)), OpenModel)
        found = self.take(self.session.model_connected(self.now, 0.01))
        return found + self.event(events.Created("s", "m"), READY)


def to_model(actions: list[Action]) -> list[str]:
    return [json.loads(action.text)["type"] for action in actions if isinstance(action, ToModel)]


def sounds(actions: list[Action]) -> list[str]:
    """The caller's frames that the model is sent."""
    sent = [json.loads(action.text) for action in actions if isinstance(action, ToModel)]
    return [one["audio"] for one in sent if one["type"] == "input_audio_buffer.append"]


def items(actions: list[Action]) -> list[dict[str, Any]]:
    sent = [json.loads(action.text) for action in actions if isinstance(action, ToModel)]
    return [one["item"] for one in sent if one["type"] == "conversation.item.create"]


def texts(actions: list[Action]) -> list[tuple[str, str]]:
    return [
        (item["role"], item["content"][0]["text"]) for item in items(actions) if item["type"] == "message"
    ]


def notes(actions: list[Action]) -> list[str]:
    return [action.event for action in actions if isinstance(action, Note)]


def hangups(actions: list[Action]) -> list[Hangup]:
    return [action for action in actions if isinstance(action, Hangup)]
