"""One call as a state machine between the phone and the model: messages in, sends out. Pure.

Whoever owns the two sockets calls `on_phone`, `on_model` and `on_time` with the time `now` (in
seconds, monotonic) and carries out the returned actions in order. Everything that is easy to get
wrong is here and can be replayed without a socket: audio before the session is ready, barge-in,
the point of truncation, marks outstanding, stop while the model speaks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.apps.playout import Answer, Playout
from ops.apps.recording import Recording
from ops.journal.hops import Hop
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

KEPT_FRAMES = 500  # ten seconds of the caller's audio, kept while the model's session comes up
GARBAGE_LIMIT = 50  # malformed messages until a socket is given up


@dataclass(frozen=True, slots=True)
class ToPhone:
    text: str


@dataclass(frozen=True, slots=True)
class ToModel:
    text: str


@dataclass(frozen=True)
class OpenModel:
    """Open the Realtime socket for this call."""


@dataclass(frozen=True)
class Hangup:
    """The call is over: close both sockets; the phone's with this code."""

    code: int
    reason: str


@dataclass(frozen=True)
class Note:
    """Something for the journal."""

    level: str
    event: str
    message: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


Action = ToPhone | ToModel | OpenModel | Hangup | Note


@dataclass(frozen=True)
class Agent:
    """What one call's agent is told, how it sounds, and the caps of the call."""

    instructions: str
    voice: str
    transcription: str
    max_seconds: float = 3600.0


class Session:
    """The state of one call, from the stream's start message on."""

    def __init__(
        self, start: phone.Start, agent: Agent, now: float, recording: Recording | None = None
    ) -> None:
        self.start = start
        self.turns = 0
        self.ended: str | None = None
        self._code = 1011
        self._agent = agent
        self._recording = recording
        self._began = now
        self._ready = False
        self._kept: deque[str] = deque(maxlen=KEPT_FRAMES)
        self._playout = Playout()
        self._cancelled: set[str] = set()  # responses whose late audio must not be played
        self._response: str | None = None  # the response under way
        self._waiting_since: float | None = None  # the caller's last voiced sample of the open turn
        self._barged_in = False
        self._heard_agent = False
        self._garbage = 0
        self._retried = 0

    # --- what happens ---------------------------------------------------------------------

    def begin(self) -> list[Action]:
        """The stream's start was accepted: bring the model up."""
        return [OpenModel()]

    def on_phone(self, message: phone.Message, now: float) -> list[Action]:
        """A message of the media stream."""
        match message:
            case phone.Media(payload, timestamp):
                return self._caller_audio(payload, timestamp)
            case phone.Mark(name):
                if self._playout.marked(name, now):
                    return [self._hop(Hop.AGENT_SILENT, now)]
            case phone.Dtmf(digit):
                return [Note("INFO", "caller.digit", "The caller pressed a key.", {"digits": len(digit)})]
            case phone.Stop():
                return [self._hop(Hop.STOPPED, now), *self.end("the caller hung up", 1000, now)]
            case phone.Garbage(reason):
                return self._malformed("phone", reason, now)
        return []

    def on_model(self, event: model.Event, now: float) -> list[Action]:
        """An event of the Realtime session."""
        match event:
            case model.Audio(response_id, item_id, payload):
                return self._agent_audio(response_id, item_id, payload, now)
            case model.Created():
                return [
                    ToModel(
                        model.configure(
                            instructions=self._agent.instructions,
                            voice=self._agent.voice,
                            transcription=self._agent.transcription,
                        )
                    )
                ]
            case model.Ready():
                return self._model_ready(event, now)
            case model.SpeechStarted(at_ms, _):
                return self._caller_speaks(at_ms, now)
            case model.SpeechStopped(at_ms, _):
                return self._caller_silent(at_ms, now)
            case model.ResponseCreated(response_id):
                self._response = response_id
            case model.ResponseDone():
                return self._response_done(event, now)
            case model.Transcript(speaker, item_id, text):
                return [Note("INFO", f"transcript.{speaker}", "", {"text": text, "item_id": item_id})]
            case model.Failure(code, message):
                return self._model_failure(event, code, message, now)
            case model.Garbage(reason):
                return self._malformed("model", reason, now)
        return []

    def on_time(self, now: float) -> list[Action]:
        """The clock reached `wake_at()`: send what is due, end what has lasted too long."""
        if now - self._began >= self._agent.max_seconds:
            return self.end(f"the call reached its limit of {self._agent.max_seconds:g} s", 1000, now)
        return self._send_due(now)

    def wake_at(self) -> float:
        """When `on_time` wants to be called next, in seconds."""
        limit = self._began + self._agent.max_seconds
        due = self._playout.wake_at()
        return limit if due is None else min(due, limit)

    def model_connected(self, now: float, handshake: float) -> list[Action]:
        """The Realtime socket is open."""
        return [self._hop(Hop.MODEL_CONNECTED, now, handshake_ms=round(handshake * 1000))]

    def model_lost(self, cause: str, now: float) -> list[Action]:
        """The Realtime socket is gone and will not come back."""
        if self.ended:
            return []
        note = Note("ERROR", "model.lost", f"The model's session was lost: {cause}.", {"cause": cause})
        return [note, *self.end("the model was lost", 1011, now)]

    def phone_lost(self, cause: str, now: float) -> list[Action]:
        """The media stream closed without a stop message."""
        if self.ended:
            return []
        note = Note("WARNING", "stream.lost", f"The media stream closed: {cause}.", {"cause": cause})
        return [note, *self.end("the media stream was lost", 1000, now)]

    def end(self, reason: str, code: int, now: float) -> list[Action]:
        """The call is over, once."""
        if self.ended:
            return []
        self.ended = reason
        self._code = code
        return [Hangup(code, reason)]

    def summary(self, now: float) -> Note:
        """The call's last record, for when both sockets are closed."""
        level = "SUCCESS" if self._code == 1000 else "ERROR"
        fields = {
            "reason": self.ended or "unknown",
            "seconds": round(now - self._began, 3),
            "turns": self.turns,
        }
        return Note(level, Hop.ENDED, f"The call ended: {fields['reason']}.", fields)

    # --- what it means --------------------------------------------------------------------

    def _caller_audio(self, payload: str, timestamp: int) -> list[Action]:
        if self._recording is not None:
            self._recording.caller(payload, timestamp)
        if not self._ready:
            self._kept.append(payload)
            return []
        return [ToModel(model.append(payload))]

    def _model_ready(self, event: model.Ready, now: float) -> list[Action]:
        if self._ready:
            return []
        if (event.input_format, event.output_format) != (model.FORMAT, model.FORMAT):
            cause = f"it speaks {event.input_format} and {event.output_format}, the phone {model.FORMAT}"
            return [
                Note("ERROR", "model.codec", f"Codec mismatch: {cause}.", {"expected": model.FORMAT}),
                *self.end(f"codec mismatch: {cause}", 1011, now),
            ]
        self._ready = True
        kept, self._kept = self._kept, deque()
        return [
            self._hop(Hop.MODEL_READY, now, kept_ms=20 * len(kept)),
            *(ToModel(model.append(payload)) for payload in kept),
            ToModel(model.answer()),  # the agent greets; it does not wait for the caller
        ]

    def _agent_audio(self, response_id: str, item_id: str, payload: str, now: float) -> list[Action]:
        if response_id in self._cancelled:
            return []
        actions: list[Action] = []
        sounds_at = max(now, self._playout.ends_at)
        if self._playout.produce(item_id, payload):
            if not self._heard_agent:
                self._heard_agent = True
                actions.append(self._hop(Hop.FIRST_AUDIO, now))
            actions.append(self._hop(Hop.AGENT_SPEAKS, now, item_id=item_id))
            if self._waiting_since is not None:
                actions.append(self._answered(self._waiting_since, sounds_at))
        return self._send_due(now) + actions

    def _send_due(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for send in self._playout.due(now):
            sid = self.start.stream_sid
            actions += [ToPhone(phone.media(sid, send.payload)), ToPhone(phone.mark(sid, send.mark))]
            if self._recording is not None:
                self._recording.agent(send.payload, (send.sounds_at - self._began) * 1000)
        return actions

    def _caller_speaks(self, at_ms: int, now: float) -> list[Action]:
        actions: list[Action] = [self._hop(Hop.CALLER_SPEAKS, now, audio_ms=at_ms)]
        self._waiting_since = None
        cut = self._playout.interrupt(now)
        self._barged_in = cut is not None
        if cut is not None:
            actions += self._barge_in(cut, now)
        return actions

    def _barge_in(self, cut: Answer, now: float) -> list[Action]:
        """Stop the phone at once, then tell the model what was heard; 0 ms heard needs no truncate."""
        if self._response is not None:
            self._cancelled.add(self._response)
        heard = min(round(cut.heard), int(cut.produced))  # past what was produced would be refused
        if self._recording is not None:
            self._recording.cut_agent((now - self._began) * 1000)
        actions: list[Action] = [
            ToPhone(phone.clear(self.start.stream_sid)),
            self._hop(Hop.CLEARED, now, heard_ms=heard, produced_ms=int(cut.produced)),
        ]
        if heard > 0:
            actions += [
                ToModel(model.truncate(cut.item_id, heard)),
                self._hop(Hop.TRUNCATED, now, item_id=cut.item_id, heard_ms=heard),
            ]
        return actions

    def _caller_silent(self, at_ms: int, now: float) -> list[Action]:
        last_voiced = self._began + (at_ms - model.SILENCE_MS) / 1000
        self._waiting_since = min(now, max(last_voiced, self._began))
        return [self._hop(Hop.CALLER_SILENT, now, audio_ms=at_ms)]

    def _answered(self, silent_since: float, sounds_at: float) -> Note:
        latency = round((sounds_at - silent_since) * 1000)
        fields = {"turn": self.turns, "latency_ms": latency, "barge_in": self._barged_in}
        self.turns += 1
        self._waiting_since, self._barged_in, self._retried = None, False, 0
        return Note("INFO", Hop.ANSWERED, f"Turn {fields['turn']} answered in {latency} ms.", fields)

    def _response_done(self, event: model.ResponseDone, now: float) -> list[Action]:
        self._cancelled.discard(event.response_id)
        if self._response == event.response_id:
            self._response = None
        actions: list[Action] = []
        if event.usage:
            actions.append(Note("DEBUG", "model.usage", "", {"usage": dict(event.usage)}))
        if event.status == "failed":
            fields = {"code": event.code, "reason": event.reason}
            if self._retried < 2:
                self._retried += 1
                actions.append(
                    Note("WARNING", "model.response-failed", f"An answer failed ({event.code}).", fields)
                )
                return [*actions, ToModel(model.answer())]
            actions.append(
                Note("ERROR", "model.response-failed", f"Answers keep failing ({event.code}).", fields)
            )
        if self._playout.completed():
            actions.append(self._hop(Hop.AGENT_SILENT, now))
        return actions

    def _model_failure(self, event: model.Failure, code: str, message: str, now: float) -> list[Action]:
        fields = {"code": code, "error_message": message}
        if event.fatal:
            note = Note("ERROR", "model.error", f"The model refused: {code}: {message}", fields)
            return [note, *self.end("the model was lost", 1011, now)]
        return [Note("WARNING", "model.error", f"The model said: {code}: {message}", fields)]

    def _malformed(self, side: str, reason: str, now: float) -> list[Action]:
        self._garbage += 1
        if self._garbage > GARBAGE_LIMIT:
            return self.end(f"too many malformed messages from the {side}", 1003, now)
        if self._garbage > 3:  # the first few explain; the count is in the last record
            return []
        return [Note("WARNING", f"{side}.malformed", f"The {side} sent a malformed message: {reason}")]

    def _hop(self, hop: Hop, now: float, **fields: Any) -> Note:
        return Note("INFO", hop, "", {"at_ms": round((now - self._began) * 1000), **fields})
