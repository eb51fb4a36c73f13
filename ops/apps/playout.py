"""What of the agent's speech the caller has heard: sent audio, returned marks and the clock. Pure.

The model produces audio faster than it can be spoken; it waits here, and a little of it in the
phone's buffer, so that a barge-in can stop it at once and tell the model what was really heard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from msgspec import Struct

from ops.apps.passing import AnswerPasses, PassedAnswer

BYTES_PER_MS = 8  # mu-law at 8 kHz
MARK_EVERY = 200.0  # milliseconds of sound
AUDIBLE = 0.02  # seconds: the phone's own buffer bridges gaps below one frame
LATE_MARK = 2.0  # seconds after the end of all sound until a mark that has not come back is not waited for


def milliseconds(payload: str) -> float:
    """The duration of a base64 text of mu-law."""
    size = len(payload)
    return (size * 3 // 4 - payload.count("=", size - 2)) / BYTES_PER_MS


@dataclass(slots=True)
class Answer:
    """One item of agent speech: how much of it was produced, sent and heard, in milliseconds."""

    item_id: str
    index: int
    began: float = 0.0  # what of it sounded before a recorded sentence came between
    produced: float = 0.0
    sent: float = 0.0
    marked: float = 0.0  # sent up to the last mark
    heard: float = 0.0  # by the last mark that came back
    heard_at: float = 0.0  # when that was, or when the first frame was due to sound; in seconds
    closed: bool = False  # nothing more of it will be produced
    complete: bool = False  # nor of the whole answer that it belongs to
    marks: list[float] = field(default_factory=list)  # still out: the millisecond that each stands for

    def played(self, now: float) -> float:
        """Milliseconds heard by `now`: the clock since the last mark, but never past a mark that is
        still out, and never more than was sent."""
        if self.sent == self.began:
            return self.began
        limit = self.marks[0] if self.marks else self.sent
        return max(self.heard, min(self.heard + max(0.0, now - self.heard_at) * 1000, limit))

    @property
    def heard_out(self) -> bool:
        """Whether all of it has been heard."""
        return self.complete and not self.marks and self.produced == self.marked

    def mark(self) -> str:
        """The name of a mark that stands for everything sent so far."""
        self.marks.append(self.sent)
        self.marked = self.sent
        return self.name(self.sent)

    def passed(self, what: PassedAnswer) -> None:
        """Pieces were sent, and marks came back, meanwhile."""
        self.produced = self.sent = what.sent
        self.marked, self.heard, self.heard_at = what.marked, what.heard, what.heard_at
        self.marks = list(what.marks)

    def name(self, at: float) -> str:
        """The name of the mark that stands for so many milliseconds."""
        return f"{self.index}:{at:g}"


class Send(Struct, frozen=True):
    """What the phone gets now: a payload (or none), and a mark behind it (or none)."""

    payload: str
    mark: str
    sounds_at: float  # seconds
    gap: float = 0.0  # seconds of silence within the answer before this payload: it came too late


class Playout:
    """The agent's speech on its way to the phone, paced so that the phone holds about `lead` seconds.

    A mark follows every `MARK_EVERY` of sound, and the end of each item: in between the clock tells what
    was heard.
    """

    def __init__(self, lead: float = 0.4) -> None:
        self.ends_at = 0.0  # when everything sent so far will have been played, in seconds
        self._lead = lead
        # Few, so lists: an empty deque would hold 800 bytes.
        self._answers: list[Answer] = []  # not yet heard to the end, the oldest first
        self._queue: list[tuple[Answer, str, float]] = []  # not yet sent, its milliseconds last
        self._count = 0
        self._broken_off: tuple[str, float] = ("", 0.0)  # an item that ran dry, and its milliseconds so far

    @property
    def speaking(self) -> bool:
        """Whether some of an answer is still to be heard."""
        return bool(self._answers)

    def produce(self, item_id: str, payload: str) -> bool:
        """Takes a piece of an answer; True when it is the first of its item."""
        answers = self._answers
        new = not answers or answers[-1].item_id != item_id
        if new:
            before, began = self._broken_off
            began = began if item_id == before else 0.0
            if answers:
                answers[-1].closed = True
                if not answers[-1].complete:
                    self._broken_off = answers[-1].item_id, answers[-1].produced
            answers.append(Answer(item_id, self._count, began, began, began, began, began))
            self._count += 1
        answer = answers[-1]
        duration = milliseconds(payload)
        answer.produced += duration
        self._queue.append((answer, payload, duration))
        return new

    def passes(self, item_id: str, payload: str, now: float) -> bool:
        """Takes a further piece of the item that is being said if it goes to the phone at once and alone, as
        nearly all do; what is not taken is for `produce` and `due`."""
        ends_at = self.ends_at
        if self._queue or not self._answers or not now - AUDIBLE < ends_at < now + self._lead:
            return False
        answer = self._answers[-1]
        duration = milliseconds(payload)
        sent = answer.sent + duration
        if answer.item_id != item_id or answer.closed or sent - answer.marked >= MARK_EVERY:
            return False
        answer.produced = answer.sent = sent
        self.ends_at = max(now, ends_at) + duration / 1000
        return True

    def passing(self, response_id: str, item_id: str) -> AnswerPasses | None:
        """How further pieces of the item that is being said may be sent without this; None: they may not."""
        if self._queue or len(self._answers) != 1:
            return None
        answer = self._answers[0]
        if answer.item_id != item_id or answer.closed or answer.sent == answer.began:
            return None
        return AnswerPasses(
            response_id, item_id, answer.index, self.ends_at, self._lead, AUDIBLE, MARK_EVERY,
            answer.sent, answer.marked, answer.heard, answer.heard_at, tuple(answer.marks),
        )  # fmt: skip

    def passed(self, what: PassedAnswer) -> None:
        """Pieces of it were sent meanwhile."""
        self._answers[0].passed(what)
        self.ends_at = what.ends_at

    def due(self, now: float) -> list[Send]:
        """What to send now."""
        sends = []
        while self._queue and self.ends_at - now < self._lead:
            answer, payload, duration = self._queue.pop(0)
            before = self.ends_at
            sounds_at = now if now > before else before
            self.ends_at = sounds_at + duration / 1000
            gap = sounds_at - before if answer.sent > answer.began else 0.0
            if answer.sent == answer.began:
                answer.heard_at = sounds_at
            answer.sent += duration
            ends = answer.closed and answer.sent == answer.produced
            mark = answer.mark() if ends or answer.sent - answer.marked >= MARK_EVERY else ""
            sends.append(Send(payload, mark, sounds_at, gap if gap >= AUDIBLE else 0.0))
        return sends

    def ends(self) -> list[Send]:
        """The marks of items whose last piece was sent before it was known to be the last."""
        return [
            Send("", answer.mark(), self.ends_at)
            for answer in self._answers
            if answer.closed and answer.marked < answer.sent == answer.produced
        ]

    @property
    def sends_at(self) -> float | None:
        """When the next piece is to be sent, in seconds; None while none waits."""
        return self.ends_at - self._lead if self._queue else None

    def done_at(self, now: float) -> float:
        """When everything produced so far will have been played, in seconds."""
        return max(now, self.ends_at) + sum(duration for _, _, duration in self._queue) / 1000

    def wake_at(self) -> float:
        """When `due` or `settle` has something to do next, in seconds; infinity while nothing waits."""
        if (at := self.sends_at) is not None:
            return at
        return self.ends_at + LATE_MARK if self._answers and self._answers[-1].complete else inf

    def settle(self, now: float) -> bool:
        """Gives up on marks that are long overdue; True when with that everything has been heard."""
        if self._queue or not self._answers or not self._answers[-1].complete:
            return False
        if now < self.ends_at + LATE_MARK:
            return False
        self._answers.clear()
        return True

    def marked(self, name: str, now: float) -> bool:
        """A mark came back; True when with it an answer has been heard to its end."""
        answer = self._answers[0] if self._answers else None
        if answer is None or not answer.marks or answer.name(answer.marks[0]) != name:
            return False  # of an answer that was cut: marks come back on `clear` too
        answer.heard, answer.heard_at = answer.marks.pop(0), now
        return self._heard_out()

    def completed(self) -> bool:
        """The model has produced all that it wanted to say; True when it has been heard already."""
        for answer in self._answers:
            answer.closed = answer.complete = True
        return self._heard_out()

    @property
    def waiting(self) -> tuple[Answer, ...]:
        """The answers behind the one that is being heard, or is the next to be."""
        return tuple(self._answers)[1:]

    def interrupt(self, now: float) -> Answer | None:
        """Drops what has not been heard; returns the answer that was cut, with `heard` settled, or None
        when nothing was to be heard."""
        if not self._answers:
            return None
        answer = self._answers[0]
        answer.heard = min(answer.played(now), answer.produced)
        self._answers.clear()
        self._queue.clear()
        self.ends_at = now
        return answer

    def _heard_out(self) -> bool:
        if not self._answers or not self._answers[0].heard_out:
            return False
        del self._answers[0]
        return True
