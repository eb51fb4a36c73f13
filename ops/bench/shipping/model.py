"""The echoing model, which also answers: a slot must prove the whole line before it gets calls."""

from __future__ import annotations

import base64
from typing import Any

from picows import WSListener, WSUpgradeRequest

from ops.bench.bridge import frames
from ops.bench.bridge.echo import EchoModel, Session
from ops.speech import g711, library

SILENCE = base64.b64encode(g711.SILENCE * frames.FRAME)
TURN = 10  # silent frames after which the caller's turn is over
ANSWER = 30  # frames of an answer


class AnsweringModel(EchoModel):
    """Echoes frames with a watermark; to speech without one it answers with speech when it ends, and when it
    is asked to."""

    def _take(self, request: WSUpgradeRequest) -> WSListener:
        return Answering(self)


class Answering(Session):
    """One session."""

    _spoke = False
    _silent = 0

    def _hear(self, payload: bytes) -> None:
        if payload[: frames.DIGITS].isdigit():
            super()._hear(payload)
            return
        self._silent = self._silent + 1 if payload == SILENCE else 0
        self._spoke = self._spoke or not self._silent
        if self._spoke and self._silent == TURN:
            self._spoke = False
            self._answer()

    def _command(self, event: dict[str, Any]) -> None:
        super()._command(event)
        if event.get("type") == "response.create" and not self._pieces:
            self._answer()  # the greeting: who owes one is covered up for by the bridge

    def _answer(self) -> None:
        speech = library.line("agent-price").audio[: ANSWER * frames.FRAME]
        self._begin()
        for number in range(ANSWER):
            piece = base64.b64encode(speech[number * frames.FRAME : (number + 1) * frames.FRAME])
            self.write(frames.delta(number, self._response.encode(), self._item.encode(), piece))
        self._end("completed")
