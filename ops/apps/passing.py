"""What a session must tell of frames that need no decision, and what it is told when they have passed. Pure.

While nothing else happens in a call, the caller's frames and the pieces of an answer only go on: a lane
between the two sockets may carry them (`ops.apps.transports`), and the session sleeps. Whatever else comes
wakes it, and first it is told what passed. Times are seconds of its clock, sounds are milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class CallerPasses(Struct, frozen=True):
    """The caller's frames may pass. Each `look`-th is looked at: whether it sounds."""

    sent: int  # frames so far
    ring: bytearray  # keeps them: places of one size, the next frame's at `at`, behind the last one the first
    at: int
    place: int  # a frame of another size is for the session
    most: int  # so many may pass: the frame behind them is for the session
    speaking: bool  # in an open turn: the `rest`-th quiet look in a row is for the session
    listens: bool  # else, and if this: so is the `voice`-th that sounds
    quiet: int  # looks in a row, so far
    loud: int
    look: int
    rest: int
    voice: int


class AnswerPasses(Struct, frozen=True):
    """Further pieces of this item may pass, each sent at once, and the marks behind them come back."""

    response_id: str
    item_id: str
    index: int  # names its marks
    ends_at: float  # when everything sent so far will have been played
    lead: float  # a piece later than that before its time waits for it, and is for the session
    audible: float  # one so much too late leaves a gap that is heard, likewise
    mark_every: float
    sent: float
    marked: float
    heard: float
    heard_at: float
    marks: tuple[float, ...]  # still out: what each stands for


class PassedCaller(Struct, frozen=True):
    """The caller's frames that passed: how many, when the last one came, and the looks in a row."""

    count: int
    frame_at: float
    quiet: int
    loud: int


class PassedAnswer(Struct, frozen=True):
    """How far the answer is: when its last piece came (0: none did), and otherwise as in `AnswerPasses`."""

    piece_at: float
    ends_at: float
    sent: float
    marked: float
    heard: float
    heard_at: float
    marks: Sequence[float]


class Passed(Struct, frozen=True):
    """What passed, of each side that was let pass."""

    caller: PassedCaller | None
    answer: PassedAnswer | None


class Piece(Struct, frozen=True):
    """How a piece of an answer looks in a protocol: an object with these members, all of them texts."""

    kind_name: str
    kind: str
    response_name: str
    item_name: str
    payload_name: str
