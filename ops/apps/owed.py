"""What the caller waits for: an answer is asked for, and the silence until it comes is filled. Pure."""

from __future__ import annotations

from math import inf

from ops.apps.actions import Action, Measure, Note, ToModel
from ops.apps.conduct import Conduct, remembered
from ops.apps.dialogue import Said
from ops.journal.hops import Hop

DEAD_AIR = 1.5  # seconds of silence, while an answer is owed, until a recorded sentence fills it
FILLER_AGAIN = 4.0  # seconds from one such sentence to the next
KEYS = "keys:"  # what the caller's pressed keys are called among the items
GO_ON = (
    "The line broke while you answered. The caller has heard of your last answer only: {heard!r}. "
    "Go on from there in a few words, without a greeting."
)
REPEAT = "The line broke while you spoke, so the caller has not heard all of this. Say it again: {said}"
SAY_AGAIN = (
    "The line broke for a moment and the caller may have spoken meanwhile. "
    "Say: Sorry, could you say that again?"
)


class Owed(Conduct):
    """What is owed to the caller."""

    __slots__ = ()

    def _take_up(self, now: float, first: bool) -> list[Action]:
        """The first words in a new session: a greeting, an answer that is owed, or nothing."""
        broken = self._dialogue.find(self._item) if self._item else None
        self._item = None
        if first and not (self._resumed and len(self._dialogue)):
            self._owed_since = now if self._agent.greets else None
            return self._ask(now) if self._agent.greets else []
        if first:  # the phone's stream was lost and came back
            last = self._dialogue.last
            if isinstance(last, Said) and last.by == "agent" and last.text and last.heard_ms is None:
                return self._ask(now, SAY_AGAIN if last.played else REPEAT.format(said=last.text))
            return self._ask_again(now)
        if self._owed_since is None or self._dialogue.running:
            return []
        if broken is not None and not broken.whole and broken.text:
            return self._ask(now, GO_ON.format(heard=broken.text))
        return self._ask_again(now)

    def _ask_again(self, now: float) -> list[Action]:
        """Ask for the answer to the caller's last words; where they are not known, for the words."""
        if not isinstance(self._dialogue.last, Said):  # a greeting, or a tool's result: no words are needed
            return self._ask(now)
        known = any(entry.text for entry in self._dialogue.unanswered)
        return self._ask(now, None if known else SAY_AGAIN)

    def _ask(self, now: float, instructions: str | None = None) -> list[Action]:
        """Ask for an answer, now or as soon as that is possible; while the caller speaks, the end of the turn
        asks for one."""
        if self._frames.speaking:
            self._ask_next = self._probed  # unless it is noise
            return []
        if self._owed_since is None:
            self._owed_since = now
        if self._recovery.ready_at is None:
            return []
        if self._response is not None:
            self._ask_next = True
            return []
        self._recovery.expect(now)
        told = f"{self._agent.instructions}\n\n{instructions}" if instructions else None
        return [ToModel(self._dialect.answer(told))]

    def _tell_digits(self, now: float) -> list[Action]:
        entry = self._dialogue.said("caller", f"{KEYS}{now!r}")
        entry.text = f"(The caller pressed these keys on the phone: {' '.join(self._digits)})"
        entry.whole, self._digits, self._news = True, "", True
        return [ToModel(self._dialect.message("user", entry.text)), remembered(entry), *self._ask(now)]

    # Until it comes.

    def _filler_at(self) -> float:
        owed = self._owed_since
        if owed is None and self._in_an_answer:
            owed = self._playout.ends_at  # it may have run dry
        if owed is None or self._leaving is not None or not self._agent.lines:
            return inf
        quiet_since = max(owed, self._playout.ends_at if self._playout.speaking else 0.0)
        return max(quiet_since + DEAD_AIR, self._next_filler)

    def _fill(self, now: float) -> list[Action]:
        said = self._say_line("agent-moment", now)
        self._next_filler = now + FILLER_AGAIN
        note = Note("WARNING", Hop.FILLED, "No answer yet: a recorded sentence fills the silence.")
        return [
            note,
            Measure("fillers"),
            *said,
            *([] if self._under_way else self._take_up(now, first=False)),
        ]

    @property
    def _under_way(self) -> bool:
        """Whether something comes of its own: an answer, a tool's result, another try or session."""
        recovery = self._recovery
        waits = recovery.ready_at is None or recovery.due_since is not None or self._retry_at is not None
        return waits or self._response is not None or self._dialogue.running

    @property
    def _in_an_answer(self) -> bool:
        """Whether an answer has begun to sound, is not whole yet, and nobody speaks into it."""
        return self._response is not None and self._spoke and not self._frames.speaking

    @property
    def _pause(self) -> bool:
        """Whether nobody speaks and nothing is owed."""
        busy = self._response is not None or self._owed_since is not None or self._dialogue.running
        return not (busy or self._playout.speaking or self._frames.turn_open or self._leaving)
