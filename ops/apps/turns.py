"""How a conversation goes, turn by turn: the caller's words, the agent's, and its tools. Pure.

`Session` in session.py tells what came; here is what it means for the conversation.
"""

from __future__ import annotations

from typing import Any

from ops.apps import codec
from ops.apps.actions import (
    Action,
    Hangup,
    Measure,
    Note,
    Remember,
    RunTool,
    ToModel,
    Transfer,
)
from ops.apps.caller_audio import LOOK, PAUSE, PRE_ROLL, VOICE
from ops.apps.conduct import LOCAL, remembered
from ops.apps.leaving import PATIENCE, Leaving
from ops.apps.owed import Owed
from ops.journal.hops import Hop
from ops.vendors.openai import events as model
from ops.vendors.openai import prices
from ops.vendors.twilio import wire as phone

ANY = 1_000_000  # frames, as many as a call may have
PHONE_LOOKS = (25, 50, 100, 200)  # frames after which the caller's codec is looked at
TRANSFER, HANG_UP = "transfer_to_agent", "hang_up"
STAYED = (
    "The call goes on: the caller has something to add. Answer, and call hang_up again when they are done."
)
BEHEADED = (
    "The line broke while the caller spoke for long: of what you hear from them next, the beginning is "
    "missing. Ask for it if you need it."
)


class Turns(Owed):
    """A conversation under way."""

    __slots__ = ()

    # The two for each frame. Nearly all only pass it on, and then return its text for the other side.

    def caller_audio(self, frame: phone.Media, now: float) -> str | list[Action]:
        """A frame from the caller: to the model as it is, or kept until there is one."""
        self.frame_at = now
        payload = frame.payload
        if self._recording is not None:
            self._recording.caller(payload, frame.timestamp)
        if self._phone_proof is not None and (mismatch := self._proved_phone(payload, now)):
            return mismatch
        if self._recovery.ready_at is None:
            if self._frames.keep(payload) and self._owed_since is None and self._leaving is None:
                self._owed_since = now - 0.02 * LOOK * PAUSE  # since the last word, which nobody heard
            return []
        if self._frames.sent(payload):
            if self._frames.speaking:
                if self._caller_rests(payload, now):
                    return [ToModel(self._hear(payload))]
            elif self._recovery.due_since is None and self._frames.voiced(payload):
                return [self._probe(now), ToModel(self._hear(payload))]
        return self._hear(payload)

    def agent_audio(self, piece: model.Audio, now: float) -> str | list[Action]:
        """A piece of an answer: to the phone when it is due."""
        payload, item_id = piece.payload, piece.item_id
        if piece.response_id in self._cancelled:
            return []
        if self._model_proof is not None and (mismatch := self._proved_model(payload, now)):
            return mismatch
        self._spoke, self._item, self._item_of = True, item_id, piece.response_id
        if self._recording is None and self._playout.passes(item_id, payload, now):
            return phone.media(self.start.stream_sid, payload)
        sounds_at = self._playout.ends_at
        if not self._playout.produce(item_id, payload):
            return self._send_due(now)
        return self._send_due(now) + self._agent_speaks(item_id, max(now, sounds_at), now)

    # The caller.

    def _caller_rests(self, payload: str, now: float) -> bool:
        """After enough silence in a turn the model must have noticed its end, else it has stalled. Whether
        that is so from now on."""
        overdue = self._frames.rest(payload) and self._recovery.due_since is None
        if overdue:
            self._recovery.due_since = now - 2.0  # it was due a while ago
        return overdue

    def _probe(self, now: float) -> Action:
        """The caller makes sound, and the model says nothing of it: noise to its ears, or is it deaf?"""
        self._probed = True
        self._frames.open_turn(0)  # should it be deaf, the next one must hear this
        self._recovery.expect(now - 0.02 * LOOK * VOICE)
        return ToModel(self._dialect.probe())

    def _hears(self, now: float) -> list[Action]:
        """It answered the probe: what sounded was no speech to it, as far as it has listened yet. What is
        owed all the same is asked for with the next recorded sentence."""
        self._probed, asks, self._ask_next = False, self._ask_next, False
        self._frames.close_turn()
        self._recovery.due_since = None if self._response is None or self._owed_since is None else now
        return self._ask(now) if asks else []

    def _caller_speaks(self, at_ms: int, item_id: str, now: float) -> list[Action]:
        actions: list[Action] = [self._hop(Hop.CALLER_SPEAKS, now, audio_ms=at_ms)]
        self._waiting_since = self._owed_since = self._retry_at = None
        self._recovery.due_since = None
        self._ask_next = self._probed = False
        self._frames.open_turn(self._frames_since(at_ms, now), item_id)
        if self._leaving is not None and isinstance(self._leaving.how, Hangup) and not self._leaving.told:
            self._leaving = None
            actions.append(ToModel(self._dialect.message("system", STAYED)))
        ready_at = self._recovery.ready_at or 0.0
        if self._origin + at_ms / 1000 < ready_at - 0.5 and self._recovery.generation > 1:
            return actions  # said before this session began: it interrupts nobody now
        dropped = self._playout.waiting
        cut = self._playout.interrupt(now)
        self._barged_in = cut is not None and not cut.item_id.startswith(LOCAL)
        if cut is not None:
            sounded = self._origin + at_ms / 1000 + self._dialect.PADDING_MS / 1000
            actions += [Measure("barge_in_stop", max(0.0, now - sounded)), *self._barge_in(cut, dropped, now)]
        return actions

    def _caller_silent(self, at_ms: int, item_id: str, now: float) -> list[Action]:
        last_voiced = self._origin + (at_ms - self._dialect.SILENCE_MS) / 1000
        self._waiting_since = self._owed_since = min(now, max(last_voiced, self._began))
        self._frames.end_turn(self._frames_since(at_ms, now))
        self._recovery.expect(now)
        self._news = self._response is not None
        entry = self._dialogue.said("caller", item_id)
        return [self._hop(Hop.CALLER_SILENT, now, audio_ms=at_ms), remembered(entry)]

    def _frames_since(self, at_ms: int, now: float) -> int:
        """The caller's frames since a place in what the model's present session has heard."""
        return round((now - self._origin - at_ms / 1000) / 0.02)

    def _transcript(self, speaker: str, item_id: str, text: str) -> list[Action]:
        by = "caller" if speaker == "caller" else "agent"
        entry = self._dialogue.said(by, item_id)  # type: ignore[arg-type]
        entry.text, entry.whole = text, True
        fields: dict[str, Any] = {"text": text, "item_id": item_id}
        if by == "caller":
            self._frames.known(item_id)
        if entry.heard_ms is not None:
            fields |= {"heard_ms": entry.heard_ms, "produced_ms": entry.produced_ms}
        return [Note("INFO", f"transcript.{speaker}", "", fields), remembered(entry)]

    # The agent.

    def _model_ready(self, event: model.Ready, now: float) -> list[Action]:
        if self._recovery.ready_at is not None:
            return self._hears(now) if self._probed else []
        expected = self._dialect.FORMAT
        if (event.input_format, event.output_format) != (expected, expected):
            said = f"it speaks {event.input_format} and {event.output_format}, the phone {expected}"
            return self._wrong_codec(said, now)
        first = self._recovery.first
        self._recovery.ready(now)
        noticed, unnoticed = self._frames.noticed, self._frames.unnoticed and not first
        beheaded = noticed and self._frames.overflowed
        frames = self._frames.take(speaking=noticed)
        self._origin = self._began if self._recovery.generation == 1 else now - 0.02 * len(frames)
        replayed = self._dialogue.replay(self._dialect)
        if beheaded:
            replayed.append(self._dialect.message("system", BEHEADED))
        actions: list[Action] = [
            self._hop(Hop.MODEL_READY, now, kept_ms=20 * len(frames), replayed=len(replayed)),
            *(ToModel(text) for text in replayed),
            *(ToModel(self._hear(payload)) for payload in frames),
        ]
        for payload in frames:
            self._frames.sent(payload)
        if noticed:
            self._recovery.expect(now)  # the model will hear the turn's end, and answer
            return actions
        if unnoticed:
            return [*actions, self._probe(now)]
        return actions + self._take_up(now, first)

    def _agent_speaks(self, item_id: str, sounds_at: float, now: float) -> list[Action]:
        """The first sound of an item: sent, or behind what is being said before it."""
        self._items.add(item_id)
        self._dialogue.said("agent", item_id)
        actions: list[Action] = []
        if not self._heard_agent:
            self._heard_agent = True
            actions.append(self._hop(Hop.FIRST_AUDIO, now))
        actions.append(self._hop(Hop.AGENT_SPEAKS, now, item_id=item_id))
        self._owed_since = None
        self._recovery.succeeded()
        if self._waiting_since is not None:
            actions += self._answered(self._waiting_since, sounds_at)
        return actions

    def _answered(self, silent_since: float, sounds_at: float) -> list[Action]:
        latency = round((sounds_at - silent_since) * 1000)
        fields = {"turn": self.turns, "latency_ms": latency, "barge_in": self._barged_in}
        self.turns += 1
        self._waiting_since, self._barged_in = None, False
        note = Note("INFO", Hop.ANSWERED, f"Turn {fields['turn']} answered in {latency} ms.", fields)
        return [note, Measure("turn_latency", latency / 1000), Remember("turn", {"turn": fields["turn"]})]

    def _response_done(self, event: model.ResponseDone, now: float) -> list[Action]:
        self._cancelled.discard(event.response_id)
        mine = self._response in (None, event.response_id)
        if mine:
            self._response, self._news = None, False
            self._recovery.due_since = None
        actions = self._count(event, now)
        if event.status == "failed":
            return actions + self._answer_failed(event, now)
        ended = event.status in ("completed", "incomplete")
        silent = ended and mine and not self._spoke and self._owed_since is not None
        if silent and not self._dialogue.running and not self._ask_next:
            return actions + self._answer_failed(event, now)
        self._recovery.failed_answers = 0
        if self._leaving is not None and self._spoke:
            self._leaving.waits_for_model = False
        if self._ask_next and event.status != "cancelled":
            self._ask_next = False
            actions += self._ask(now)
        return actions + self._produced(now) + self._depart(now)

    def _answer_failed(self, event: model.ResponseDone, now: float) -> list[Action]:
        fields = {"code": event.code, "reason": event.reason or "it said nothing"}
        word = event.code or fields["reason"]
        self._retry_at = None
        if not event.fatal:
            self._retry_at = self._recovery.answer_failed(now)
        if self._retry_at is not None:
            self._owed_since = self._owed_since if self._owed_since is not None else now
            return [Note("WARNING", "model.response-failed", f"An answer failed ({word}).", fields)]
        note = Note("ERROR", "model.response-failed", f"Answers keep failing ({word}).", fields)
        return [note, *self._give_up(f"answers keep failing ({word})", now)]

    def _count(self, event: model.ResponseDone, now: float) -> list[Action]:
        """What the response cost; at the cap the agent takes its leave."""
        if not event.usage:
            return []
        used = prices.tokens(event.usage)
        self.tokens += used
        actions: list[Action] = [
            Note("DEBUG", "model.usage", "", {"usage": dict(event.usage)}),
            *(Measure("tokens", count, kind) for kind, count in used.counts.items() if count),
            *(Measure("dollars", cost, kind) for kind, cost in used.costs(self._agent.model).items() if cost),
            Remember("spent", {"dollars": round(self._spent.dollars + self._dollars, 6)}),
        ]
        return actions + self._at_the_cap(now)

    # Tools.

    def _tool_call(self, call: model.ToolCall, now: float) -> list[Action]:
        entry = self._dialogue.called(call)
        if entry is None:
            return []
        actions: list[Action] = [
            Note("INFO", Hop.TOOL_CALLED, f"The model calls {call.name}.", {"tool": call.name}),
            remembered(entry),
        ]
        if call.name == HANG_UP:
            return actions + self._leave_after_words(call, Hangup(1000, "the agent hung up"), now)
        if call.name == TRANSFER and self._agent.transfer_to is not None:
            return actions + self._leave_after_words(call, Transfer(self._agent.transfer_to), now)
        if self._owed_since is None:
            self._owed_since = now  # silence while it runs is filled, also behind "let me look"
        return [*actions, RunTool(call.call_id, call.name, call.arguments)]

    def _leave_after_words(self, call: model.ToolCall, how: Hangup | Transfer, now: float) -> list[Action]:
        """The model wants to go: what it has said is heard first, else it is asked for a last sentence."""
        word = (
            "the caller hears that they are being connected" if isinstance(how, Transfer) else "say goodbye"
        )
        entry = self._dialogue.returned(
            call.call_id, f'{{"ok": true, "next": "in one short sentence: {word}"}}'
        )
        assert entry is not None
        told: list[Action] = [
            ToModel(self._dialect.tool_output(call.call_id, entry.output or "")),
            remembered(entry),
        ]
        if self._leaving is not None:  # asked for once already
            return told
        self._leaving = Leaving(how, now + PATIENCE, waits_for_model=not self._spoke)
        return told if self._spoke else told + self._ask(now)

    # Which codec it really is.

    def _proved_phone(self, payload: str, now: float) -> list[Action]:
        """Looks at the caller's codec a few times, for four seconds."""
        proof = self._phone_proof
        assert proof is not None
        proof.add(payload)
        if proof.frames not in PHONE_LOOKS:
            return []
        if proof.frames == PHONE_LOOKS[-1]:
            self._phone_proof = None
        return self._foreign("phone", proof, now)

    def _unproved(self) -> int:
        """How many of the caller's frames may pass, and be kept, until the next look at their codec."""
        if self._phone_proof is None:
            return ANY
        frames = self._phone_proof.frames
        return min(PRE_ROLL, min(look for look in PHONE_LOOKS if look > frames) - frames - 1)

    def _proved_model(self, payload: str, now: float) -> list[Action]:
        """Looks at the model's codec in its first sounds."""
        proof = self._model_proof
        assert proof is not None
        proof.add(payload)
        if proof.size >= codec.ENOUGH or proof.frames == PHONE_LOOKS[-1]:
            self._model_proof = None
        return self._foreign("model", proof, now)

    def _foreign(self, side: str, proof: codec.Evidence, now: float) -> list[Action]:
        found = proof.foreign
        return self._wrong_codec(f"the {side} sends {found} although mu-law was agreed", now) if found else []

    def _cut(self, item_id: str) -> bool:
        entry = self._dialogue.find(item_id)
        return entry is not None and (entry.heard_ms is not None or entry.whole)
