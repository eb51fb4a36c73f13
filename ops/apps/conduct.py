"""What a call's session can do: ask for an answer, speak, fall silent, open another model, leave. Pure.

`Session` in session.py decides when; here is how, and everything that must be remembered for it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from ops.apps.actions import (
    NOTHING,
    Action,
    Agent,
    CloseModel,
    Hangup,
    Measure,
    Note,
    OpenModel,
    Remember,
    Spent,
    ToModel,
    ToPhone,
    Transfer,
)
from ops.apps.caller_audio import CallerAudio
from ops.apps.codec import Evidence
from ops.apps.dialect import Dialect
from ops.apps.dialogue import Dialogue, Entry, to_json
from ops.apps.leaving import PATIENCE, Leaving
from ops.apps.playout import Answer, Playout, Send
from ops.apps.recording import Recording
from ops.apps.recovery import Recovery
from ops.journal.hops import Hop
from ops.net.retry import Policy
from ops.vendors.openai import prices
from ops.vendors.twilio import wire as phone

DICE = random.SystemRandom()  # one for all calls: it has no state, and 2.5 kB
LOCAL = "line:"  # what our own recorded sentences are called among the model's items
CUT = "The caller interrupted your last answer and has heard of it only: {heard!r}"


class Conduct:
    """The state of one call and the moves in it; each returns what is to be carried out.

    `dialect` is the model's protocol, `past` what was said in an earlier stream of the same call, which this
    one goes on with, `turns` how many answers there were, and `spent` what they took of the call's caps.
    """

    __slots__ = (  # so many that without them each call would have a table of 1.5 kB for them
        "_agent", "_ask_next", "_barged_in", "_began", "_cancelled", "_code", "_dialect", "_dialogue",
        "_digits", "_digits_at", "_frames", "_garbage", "_hear", "_heard_agent", "_item", "_item_of",
        "_items", "_leaving", "_lines_said", "_model_proof", "_news", "_next_filler", "_origin",
        "_owed_since", "_phone_proof", "_playout", "_probed", "_recording", "_recovery", "_response",
        "_resumed", "_retry_at", "_spent", "_spoke", "_waiting_since", "ended", "frame_at", "start", "tokens",
        "turns",
    )  # fmt: skip

    def __init__(
        self,
        start: phone.Start,
        agent: Agent,
        now: float,
        recording: Recording | None = None,
        *,
        dialect: Dialect,
        past: tuple[Entry, ...] = (),
        turns: int = 0,
        resumed: bool = False,
        spent: Spent = NOTHING,
        policy: Policy | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self.start = start
        self.turns = turns
        self.ended: str | None = None
        self.tokens = prices.Tokens()
        self._code = 1011
        self._agent = agent
        self._dialect = dialect
        self._hear = dialect.append  # looked up once: it is called for each frame
        self._recording = recording
        self._began = now
        self.frame_at = now  # when the phone's last frame came
        self._origin = now  # when the first sample sounded that the model's present session has heard
        self._frames = CallerAudio()
        self._playout = Playout()
        self._dialogue = Dialogue(past)
        self._resumed = resumed
        self._spent = spent
        self._recovery = Recovery(policy or Policy(), dice or DICE)
        self._leaving: Leaving | None = None
        self._cancelled: set[str] = set()  # responses whose late audio must not be played
        self._items: set[str] = set()  # the present session's own items: only these can be truncated
        self._response: str | None = None  # the response under way
        self._spoke = False  # it has said something
        self._item: str | None = None  # the item that is being said
        self._item_of = ""  # the response that it belongs to
        self._ask_next = False  # ask for an answer as soon as the one under way is done
        self._news = False  # the model was told something that the one under way may not know of
        self._retry_at: float | None = None  # when to ask again for one that failed
        self._owed_since: float | None = now  # since when the caller waits for the agent to speak
        self._waiting_since: float | None = None  # the caller's last voiced sample of the open turn
        self._probed = False  # the model was asked whether it still hears, and has not answered
        self._barged_in = False
        self._heard_agent = False
        self._digits = ""
        self._digits_at = 0.0
        self._phone_proof: Evidence | None = Evidence()  # None: its codec was found right
        self._model_proof: Evidence | None = Evidence()
        self._garbage = 0
        self._lines_said = 0
        self._next_filler = now

    def end(self, reason: str, code: int, now: float) -> list[Action]:
        """The call is over, once."""
        if self.ended:
            return []
        self.ended = reason
        self._code = code
        return [Hangup(code, reason)]

    def _barge_in(self, cut: Answer, dropped: tuple[Answer, ...], now: float) -> list[Action]:
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
        actions += self._unheard((one for one in dropped if one.item_id != cut.item_id), now)
        if cut.item_id.startswith(LOCAL):
            return actions
        entry = self._dialogue.said("agent", cut.item_id)
        produced = int(max(one.produced for one in (cut, *dropped) if one.item_id == cut.item_id))
        entry.heard_ms, entry.produced_ms = heard, produced
        fields = {"item_id": cut.item_id, "heard_ms": heard, "produced_ms": produced}
        actions += [
            Note("INFO", "transcript.interrupted", "", {**fields, "text": entry.heard}),
            remembered(entry),
        ]
        if heard > 0 and cut.item_id in self._items:
            actions += self._truncate(cut.item_id, heard, now)
        elif cut.item_id not in self._items and self._recovery.ready_at is not None:
            actions.append(ToModel(self._dialect.message("system", CUT.format(heard=entry.heard))))
        return actions

    def _unheard(self, answers: Iterable[Answer], now: float) -> list[Action]:
        """Answers dropped behind the one that was cut: no other session is told that they were said, nor this
        one of what had begun to sound before a recorded sentence came between."""
        actions: list[Action] = []
        for answer in answers:
            if (entry := self._dialogue.find(answer.item_id)) is not None:
                heard = entry.heard_ms = int(answer.began)
                entry.produced_ms = int(answer.produced)
                actions.append(remembered(entry))
                if heard > 0 and answer.item_id in self._items:
                    actions += self._truncate(answer.item_id, heard, now)
        return actions

    def _truncate(self, item_id: str, heard_ms: int, now: float) -> list[Action]:
        return [
            ToModel(self._dialect.truncate(item_id, heard_ms)),
            self._hop(Hop.TRUNCATED, now, item_id=item_id, heard_ms=heard_ms),
        ]

    def _send_due(self, now: float) -> list[Action]:
        return self._to_phone(self._playout.due(now))

    def _produced(self, now: float) -> list[Action]:
        """The model has said all of its answer; what of it has been sent already gets its last mark."""
        heard_out = self._playout.completed()
        actions = self._to_phone(self._playout.ends())
        return actions + self._heard_out(now) if heard_out else actions

    def _to_phone(self, sends: list[Send]) -> list[Action]:
        actions: list[Action] = []
        sid = self.start.stream_sid
        for send in sends:
            if send.payload:
                actions.append(ToPhone(phone.media(sid, send.payload)))
            if send.mark:
                actions.append(ToPhone(phone.mark(sid, send.mark)))
            if send.gap:
                actions.append(Measure("underruns"))
            if self._recording is not None:
                self._recording.agent(send.payload, (send.sounds_at - self._began) * 1000)
        return actions

    @property
    def _dollars(self) -> float:
        return self.tokens.dollars(self._agent.model)

    @property
    def _full_at(self) -> float:
        """When the call has had all its seconds, those of its earlier streams too."""
        return self._began + self._agent.max_seconds - self._spent.seconds

    def _at_the_cap(self, now: float) -> list[Action]:
        """Once the call has used up its dollars, the agent takes its leave."""
        if self._spent.dollars + self._dollars < self._agent.max_dollars or self._leaving is not None:
            return []
        reason = f"the call reached its limit of {self._agent.max_dollars:g} dollars"
        return self._say_goodbye("agent-goodbye", Hangup(1000, reason), now)

    def _heard_out(self, now: float) -> list[Action]:
        """Everything that was said has been heard."""
        entry = self._dialogue.find(self._item) if self._item else None
        if entry is None or entry.played:
            return [self._hop(Hop.AGENT_SILENT, now)]
        entry.played = True
        return [self._hop(Hop.AGENT_SILENT, now), remembered(entry)]

    def _open(self) -> OpenModel:
        return OpenModel(self._recovery.open())

    def _configuration(self) -> str:
        agent = self._agent
        return self._dialect.configure(
            instructions=agent.instructions,
            voice=agent.voice,
            transcription=agent.transcription,
            tools=agent.tools,
        )

    def _forget_session(self, now: float) -> list[Action]:
        """Whatever belonged to the model's session alone is over; the conversation is not."""
        told: list[Action] = []
        if self._response is not None and self._spoke and self._item is not None:
            entry = self._dialogue.said("agent", self._item)
            self._owed_since = max(now, self._playout.ends_at)  # the rest of the answer is owed
            told.append(remembered(entry))
        elif self._response is not None or self._ask_next or self._retry_at is not None:
            self._owed_since = self._owed_since if self._owed_since is not None else now
        told += self._produced(now)
        if self._probed:  # the caller spoke and nobody heard it
            self._owed_since, self._probed = now, False
        self._response, self._ask_next, self._news, self._retry_at = None, False, False, None
        self._cancelled.clear()
        self._items.clear()
        return told

    def _renew(self, now: float) -> list[Action]:
        return [*self._forget_session(now), self._open()]

    def _give_up(self, cause: str, now: float) -> list[Action]:
        """It cannot be mended: an honest sentence, then a colleague where there is one, else the end."""
        if self._leaving is not None:
            return self._leave_without_model(now)
        note = Note("ERROR", "model.given-up", f"The model cannot be had: {cause}.", {"cause": cause})
        to, reason = self._agent.transfer_to, f"the model was lost: {cause}"
        line, how = (
            ("agent-apology", Hangup(1011, reason)) if to is None else ("agent-transfer", Transfer(to))
        )
        return [note, Measure("given_up"), *self._say_goodbye(line, how, now)]

    def _say_goodbye(self, line: str, how: Hangup | Transfer, now: float) -> list[Action]:
        """Say a recorded sentence and go; the model is not needed any more."""
        self._recovery.close()
        actions: list[Action] = [*self._forget_session(now), CloseModel()]
        self._owed_since = None
        actions += self._say_line(line, now)
        self._leaving = Leaving(how, min(now + PATIENCE, self._playout.done_at(now) + 0.3), told=True)
        return actions + self._depart(now)

    def _leave_without_model(self, now: float) -> list[Action]:
        """The goodbye that the model was to say, but will not, is a recorded one."""
        leaving = self._leaving
        if leaving is None or not leaving.waits_for_model:
            return []
        line = "agent-goodbye" if isinstance(leaving.how, Hangup) else "agent-transfer"
        return self._say_goodbye(line, leaving.how, now)

    def _depart(self, now: float) -> list[Action]:
        leaving = self._leaving
        if leaving is None:
            return []
        if leaving.waits_for_model and now >= leaving.latest:
            return self._leave_without_model(now)
        if leaving.started and now >= leaving.latest:
            return self.end("the transfer did not happen", 1011, now)
        if not leaving.due(now, self._playout.speaking):
            return []
        if isinstance(leaving.how, Hangup):
            return self.end(leaving.how.reason, leaving.how.code, now)
        leaving.started, leaving.latest = True, now + PATIENCE
        return [Note("INFO", "call.transfer", "The caller is being transferred."), leaving.how]

    def _say_line(self, name: str, now: float) -> list[Action]:
        """Queue a recorded sentence of our own behind what is being said."""
        self._lines_said += 1
        for payload in self._agent.lines.get(name, ()):
            self._playout.produce(f"{LOCAL}{name}:{self._lines_said}", payload)
        return self._produced(now) + self._send_due(now)

    def _wrong_codec(self, cause: str, now: float) -> list[Action]:
        note = Note("ERROR", "model.codec", f"Codec mismatch: {cause}.", {"expected": self._dialect.FORMAT})
        return [note, *self._say_goodbye("agent-apology", Hangup(1011, f"codec mismatch: {cause}"), now)]

    def _hop(self, hop: Hop, now: float, **fields: Any) -> Note:
        return Note("INFO", hop, "", {"at_ms": round((now - self._began) * 1000), **fields})


def remembered(entry: Entry) -> Remember:
    """An entry of the conversation, for the call's file."""
    return Remember("said", {"entry": to_json(entry)})
