"""An hour on the phone in seconds: a call's session and the simulator's sessions under one clock of their own."""

from __future__ import annotations

import base64
import json
import random
from collections import deque
from typing import Any

from ops.apps.actions import Action, Agent, Note, OpenModel, ToModel, ToPhone
from ops.apps.session import Session
from ops.net.retry import Policy
from ops.speech import library
from ops.vendors.openai import wire
from ops.vendors.openai.simulator.session import Session as Simulated
from ops.vendors.twilio import wire as phone

START = phone.Start("MZ" + "0" * 32, "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})
QUIET = b"\xff" * 160
MINUTE = 60.0


class Line:
    """A call and its model; `lifetime` is how long the model lets a session live, in seconds."""

    def __init__(self, lifetime: float = 60 * MINUTE) -> None:
        self.now, self.sessions, self.notes = 0.0, 0, list[str]()
        self._lifetime = lifetime
        self._model: Simulated
        self._marks = deque[tuple[float, str]]()
        self._waiting = deque[Action]()
        self._busy = False
        agent = Agent("be kind", "marin", "gpt-4o-transcribe", max_seconds=3 * 60 * MINUTE)
        self.session = Session(
            START, agent, 0.0, dialect=wire, policy=Policy(limit=3, first=0.2), dice=random.Random(1)
        )
        self.take(self.session.begin())

    def take(self, actions: list[Action]) -> None:
        """Carries out in order, what follows behind it."""
        self._waiting.extend(actions)
        if self._busy:
            return
        self._busy = True
        while self._waiting:
            self._carry_out(self._waiting.popleft())
        self._busy = False

    def _carry_out(self, action: Action) -> None:
        match action:
            case OpenModel(generation):
                self.sessions = generation
                self._model = Simulated(
                    "gpt-realtime-2.1", now=self.now, wall=0.0, seed=1, lifetime=self._lifetime
                )
                self.take(self.session.model_connected(self.now, 0.01, generation))
                self._tell(self._model.open())
            case ToModel(text):
                self._tell(self._model.receive(text, self.now))
            case ToPhone(text):
                message = json.loads(text)
                if message["event"] == "mark":
                    self._marks.append((self.now + 0.5, message["mark"]["name"]))
            case Note():
                self.notes.append(action.event)

    def _tell(self, found: list[dict[str, Any]]) -> None:
        generation = self.sessions
        for event in found:
            self.take(self.session.on_model(wire.decode(json.dumps(event)), self.now, generation))

    def hear(self, mulaw: bytes, seconds: float = 0.02) -> None:
        """A frame from the phone, and as much time as it stands for."""
        payload = base64.b64encode(mulaw).decode()
        self.now = round(self.now + seconds, 3)
        self.take(self.session.on_phone(phone.Media(payload, int(self.now * 1000)), self.now))
        while (due := self._model.due) is not None and due <= self.now:
            self._tell(self._model.tick(self.now))
        while self._marks and self._marks[0][0] <= self.now:
            self.take(self.session.on_phone(phone.Mark(self._marks.popleft()[1]), self.now))
        if self.session.wake_at() <= self.now:
            self.take(self.session.on_time(self.now))

    def asks(self) -> None:
        """The caller asks a question, and hears the answer out."""
        speech = library.line("caller-hours").audio
        for at in range(0, len(speech), 160):
            self.hear(speech[at : at + 160].ljust(160, b"\xff"))
        self.until(self.now + 8, step=0.02)

    def until(self, when: float, step: float = 1.0) -> None:
        """Nobody speaks."""
        while self.now < when and not self.session.ended:
            self.hear(QUIET, step)

    @property
    def answered(self) -> int:
        return self.notes.count("turn.answered")


def test_a_call_outlives_the_models_hour() -> None:
    """After 55 minutes the conversation goes on in a new session, before the model ends the old one at 60; the
    question before it and the question after it are both answered, and nothing was lost on the way."""
    line = Line()
    line.until(8, step=0.02)
    line.asks()
    assert line.answered == 1
    line.until(54 * MINUTE)
    assert line.sessions == 1
    line.until(56 * MINUTE)
    assert line.sessions == 2
    line.until(65 * MINUTE)
    line.asks()
    assert line.answered == 2
    assert line.notes.count("model.rolled-over") == 1
    assert not {"model.lost", "model.error"} & set(line.notes)
    assert line.session.ended is None


def test_a_session_that_the_model_ends_is_replaced() -> None:
    """A model that ends a session sooner than it is rolled over: the error is told, the call goes on."""
    line = Line(lifetime=10 * MINUTE)
    line.until(8, step=0.02)
    line.asks()
    line.until(9 * MINUTE)
    assert line.sessions == 1
    line.until(11 * MINUTE)
    assert line.sessions == 2
    line.asks()
    assert line.answered == 2
    assert line.notes.count("model.error") == 1
    assert "model.given-up" not in line.notes
    assert line.session.ended is None
