"""One call as a state machine between the phone and the model: messages in, actions out. Pure.

Whoever owns the two sockets calls `on_phone`, `on_model` and `on_time` with the time `now` (in
seconds, monotonic) and carries out the returned actions in order. Everything that is easy to get
wrong is here and can be replayed without a socket: audio before the session is ready, barge-in,
the point of truncation, marks outstanding, a model that is lost, slow or silent, and the way out.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ops.apps.actions import (
    Action,
    CloseModel,
    Hangup,
    Measure,
    Note,
    ToModel,
    ToPhone,
)
from ops.apps.conduct import remembered
from ops.apps.passing import AnswerPasses, CallerPasses, Passed
from ops.apps.turns import Turns
from ops.journal.hops import Hop
from ops.vendors.openai import events as model
from ops.vendors.twilio import wire as phone

GARBAGE_LIMIT = 50  # malformed messages until a socket is given up
HALF_OPEN = 5.0  # seconds without a frame from the phone: nobody is there any more
DIGITS_PAUSE = 1.5  # seconds after the last key until the digits are told as one
LOST = "the media stream was lost"


class Session(Turns):
    """The state of one call, from the stream's start message on."""

    __slots__ = ()

    # What happens.

    def begin(self) -> list[Action]:
        """The stream's start was accepted: bring the model up, where the call may still have it."""
        return self._at_the_cap(self._began) or [self._open()]

    def on_phone(self, message: phone.Message, now: float) -> list[Action]:
        """A message of the media stream."""
        match message:
            case phone.Media():
                told = self.caller_audio(message, now)
                return [ToModel(told)] if isinstance(told, str) else told
            case phone.Mark(name):
                if self._playout.marked(name, now):
                    return [*self._heard_out(now), *self._depart(now)]
            case phone.Dtmf(digit):
                self._digits, self._digits_at = (self._digits + digit)[-32:], now
                return [Note("INFO", "caller.digit", "The caller pressed a key.", {"digits": len(digit)})]
            case phone.Stop():
                return [self._hop(Hop.STOPPED, now), *self.end(self._why_stopped(), 1000, now)]
            case phone.Garbage(reason):
                return self._malformed("phone", reason, now)
        return []

    def on_model(self, event: model.Event, now: float, generation: int | None = None) -> list[Action]:
        """An event of a Realtime session; one of an earlier generation changes nothing."""
        if generation is not None and generation != self._recovery.generation:
            return []
        self._recovery.heard(now)
        match event:
            case model.Audio():
                told = self.agent_audio(event, now)
                return [ToPhone(told)] if isinstance(told, str) else told
            case model.Speaking(item_id, text):
                if item_id not in self._items or not self._cut(item_id):
                    self._items.add(item_id)
                    self._dialogue.said("agent", item_id).text += text
            case model.Created():
                return [ToModel(self._configuration())]
            case model.Ready():
                return self._model_ready(event, now)
            case model.SpeechStarted(at_ms, item_id):
                return self._caller_speaks(at_ms, item_id, now)
            case model.SpeechStopped(at_ms, item_id):
                return self._caller_silent(at_ms, item_id, now)
            case model.ResponseCreated(response_id):
                self._response, self._spoke = response_id, False
                self._recovery.expect(now)
            case model.ToolCall():
                return self._tool_call(event, now)
            case model.ResponseDone():
                return self._response_done(event, now)
            case model.Transcript(speaker, item_id, text):
                return self._transcript(speaker, item_id, text)
            case model.Failure(code, message):
                return self._model_failure(event, code, message, now)
            case model.Garbage(reason):
                return self._malformed("model", reason, now)
        return []

    def on_agent_audio(self, piece: model.Audio, now: float, generation: int) -> str | list[Action]:
        """`on_model` for a piece of an answer; where it only passes it on, the text for the phone."""
        recovery = self._recovery
        if generation != recovery.generation:
            return []
        if recovery.due_since is not None:
            recovery.heard(now)
        return self.agent_audio(piece, now)

    def passing(self) -> tuple[CallerPasses | None, AnswerPasses | None]:
        """Which frames need no decision: until anything else comes they may pass without this session, which
        then must first be told of them by `passed`."""
        recovery, caller, answer = self._recovery, None, None
        if (
            self.ended
            or recovery.ready_at is None
            or self._leaving is not None
            or self._recording is not None
        ):
            return None, None
        caller = self._frames.passing(listens=recovery.due_since is None, most=self._unproved())
        if self._model_proof is None and self._spoke and self._item and self._item_of not in self._cancelled:
            answer = self._playout.passing(self._item_of, self._item)
        return caller, answer

    def passed(self, what: Passed) -> None:
        """These frames have passed."""
        if what.caller is not None and what.caller.count:
            self.frame_at = what.caller.frame_at
            self._frames.passed(what.caller)
            if self._phone_proof is not None:
                for payload in self._frames.last(what.caller.count):
                    self._phone_proof.add(payload)
        if what.answer is not None:
            if what.answer.piece_at:
                self._recovery.heard(what.answer.piece_at)
            self._playout.passed(what.answer)

    def on_time(self, now: float) -> list[Action]:
        """The clock reached `wake_at()`: send what is due, mend what is broken, end what lasts too long."""
        if self.ended:
            return []
        if now - self.frame_at >= HALF_OPEN:
            return self.phone_lost(f"no frame for {HALF_OPEN:g} s", now)
        actions: list[Action] = []
        if now >= self._full_at and self._leaving is None:
            reason = f"the call reached its limit of {self._agent.max_seconds:g} s"
            actions += self._say_goodbye("agent-goodbye", Hangup(1000, reason), now)
        recovery = self._recovery
        if recovery.stalled(now):
            actions += self.model_lost("it sends nothing although an event is due", now)
        if recovery.rolls_over(now, self._pause):
            note = "The model's session is old: the conversation goes on in a new one."
            actions += [Note("INFO", "model.rolled-over", note), *self._renew(now)]
        if recovery.reopen_at is not None and now >= recovery.reopen_at:
            actions.append(self._open())
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            actions += self._ask(now)
        if self._digits and (now - self._digits_at >= DIGITS_PAUSE) and recovery.ready_at is not None:
            actions += self._tell_digits(now)
        if now >= self._filler_at():
            actions += self._fill(now)
        if self._playout.settle(now):
            actions += self._heard_out(now)
        return actions + self._send_due(now) + self._depart(now)

    def wake_at(self) -> float:
        """When `on_time` wants to be called next, in seconds."""
        return min(
            self.frame_at + HALF_OPEN,
            self._full_at if self._leaving is None else self._leaving.latest,
            self._playout.wake_at(),
            self._recovery.wake_at(self._pause),
            inf if self._retry_at is None else self._retry_at,
            self._digits_at + DIGITS_PAUSE if self._digits and self._recovery.ready_at is not None else inf,
            self._filler_at(),
        )

    @property
    def sends_at(self) -> float | None:
        """When the next piece of an answer is to be sent: all that a frame of audio can bring forward."""
        return self._playout.sends_at

    def model_connected(self, now: float, handshake: float, generation: int | None = None) -> list[Action]:
        """The Realtime socket is open."""
        if generation is not None and generation != self._recovery.generation:
            return []
        self._recovery.opened(now)
        return [self._hop(Hop.MODEL_CONNECTED, now, handshake_ms=round(handshake * 1000))]

    def model_lost(
        self, cause: str, now: float, generation: int | None = None, *, final: bool = False
    ) -> list[Action]:
        """The Realtime socket is gone; `final` when trying again cannot help."""
        old = generation is not None and generation != self._recovery.generation
        known = self._recovery.reopen_at is not None  # one that is deaf and then closes is lost once
        if self.ended or old or (known and not final):
            return []
        if self._leaving is not None:  # we are going anyway: what was said is said
            if goodbye := self._leave_without_model(now):
                return goodbye
            self._recovery.close()
            return [CloseModel(), *self._depart(now)]
        note = Note("WARNING", "model.lost", f"The model's session was lost: {cause}.", {"cause": cause})
        actions: list[Action] = [note, Measure("reconnects"), *self._forget_session(now)]
        if final or not self._recovery.lost(now):
            return actions + self._give_up(cause, now)
        return actions

    def phone_lost(self, cause: str, now: float) -> list[Action]:
        """The media stream closed without a stop message."""
        if self.ended:
            return []
        if self._leaving is not None and self._leaving.started:
            return self.end(self._why_stopped(), 1000, now)
        note = Note("WARNING", "stream.lost", f"The media stream closed: {cause}.", {"cause": cause})
        return [note, *self.end(LOST, 1000, now)]

    def tool_done(self, call_id: str, output: str, now: float) -> list[Action]:
        """A tool returned, or failed: either way the model is told, in whichever session it is by now."""
        entry = self._dialogue.returned(call_id, output)
        if entry is None or self.ended:
            return []
        actions: list[Action] = [remembered(entry)]
        if self._recovery.ready_at is not None:
            self._news = True
            actions.append(ToModel(self._dialect.tool_output(call_id, output)))
        return actions if self._dialogue.running else actions + self._ask(now)

    def transferred(self, problem: str | None, now: float) -> list[Action]:
        """Twilio took the transfer, or not: then the caller is told the truth."""
        if self.ended:
            return []
        if problem is None:
            return []  # the stream's stop message ends this side of the call
        note = Note("ERROR", "call.transfer-failed", f"The caller could not be transferred: {problem}.")
        told = self._leaving is not None and self._leaving.told
        self._leaving = None
        if told or self._recovery.ready_at is None:
            reason = "the model was lost and the transfer failed"
            return [note, *self._say_goodbye("agent-apology", Hangup(1011, reason), now)]
        failed = "The transfer failed: nobody can be reached. Apologise and offer to help yourself."
        self._news = True
        return [note, ToModel(self._dialect.message("system", failed)), *self._ask(now)]

    def summary(self, now: float) -> Note:
        """The call's last record, for when both sockets are closed."""
        level = "WARNING" if self.ended == LOST else "SUCCESS" if self._code == 1000 else "ERROR"
        fields: dict[str, Any] = {
            "reason": self.ended or "unknown",
            "seconds": round(now - self._began, 3),
            "turns": self.turns,
        }
        if any(self.tokens.counts.values()):
            fields |= {"tokens": dict(self.tokens.counts), "dollars": round(self._dollars, 6)}
        return Note(level, Hop.ENDED, f"The call ended: {fields['reason']}.", fields)

    # What is broken, and the way out.

    def _model_failure(self, event: model.Failure, code: str, message: str, now: float) -> list[Action]:
        fields = {"code": code, "error_message": message}
        if event.fatal:
            note = Note("ERROR", "model.error", f"The model refused: {code}: {message}", fields)
            return [note, *self.model_lost(f"{code}: {message}", now, final=True)]
        if event.expired:
            note = Note("WARNING", "model.error", f"The model's session has expired: {message}", fields)
            return [note, Measure("reconnects"), *self._renew(now)]
        self._ask_next = self._ask_next or (event.busy and self._news)  # behind the one that is under way
        return [Note("WARNING", "model.error", f"The model said: {code}: {message}", fields)]

    def _malformed(self, side: str, reason: str, now: float) -> list[Action]:
        self._garbage += 1
        if self._garbage > GARBAGE_LIMIT:
            return self.end(f"too many malformed messages from the {side}", 1003, now)
        if self._garbage > 3:  # the first few explain; the count is in the last record
            return []
        return [Note("WARNING", f"{side}.malformed", f"The {side} sent a malformed message: {reason}")]

    def _why_stopped(self) -> str:
        moved = self._leaving is not None and self._leaving.started
        return "the caller was transferred" if moved else "the caller hung up"
