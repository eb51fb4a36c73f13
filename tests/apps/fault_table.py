"""What a call must outlive, as data: each fault, what is seen of it, and the time that is promised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.apps.rig import HOURS

ANSWER = "Yes, from nine to five."
GO_ON = "Sorry, could you say that again?"  # all that the simulated model says when told to go on
ASK, PRICE = HOURS[1], {"do": "say", "line": "caller-price"}


@dataclass(frozen=True)
class Fault:
    """One that a call must outlive: `name` of the simulator `of`, and the record that it leaves in the call's
    journal. `goal`: from the first record of one kind to the next of another at most so many seconds."""

    name: str
    leaves: str
    numbers: dict[str, float] = field(default_factory=dict)
    of: str = "openai"
    says: dict[str, Any] = field(default_factory=lambda: ASK)
    hears: tuple[str, ...] = (ANSWER,)  # one of these
    lasts: bool = False  # until every call has met it: who tries again at once would meet it for another
    spare: int = 0  # more of them than calls: a session that has just been given up may take one
    goal: tuple[str, str, float] | None = None


AGAIN = ("model.lost", "agent.speech-started", 1.0)
# The order is that in which they are armed one after the other: a fault of the socket is taken by whatever session
# says something next, one of a response by the next response.
FAULTS = {
    "reset": Fault("reset", "model.lost", {"after_events": 28}, goal=AGAIN),  # an answer is due
    "reset in an answer": Fault("reset", "model.lost", {"after_events": 46}, hears=(GO_ON,), goal=AGAIN),
    "reset in a tool": Fault("reset", "model.lost", {"after_events": 43}, says=PRICE),
    "stall": Fault(
        "stall", "agent.filler", {"after_events": 28, "seconds": 30},
        goal=("caller.speech-stopped", "model.lost", 5.0),
    ),
    "stall in an answer": Fault(
        "stall", "agent.filler", {"after_events": 46, "seconds": 30}, hears=(GO_ON,),
        goal=("turn.answered", "model.lost", 5.0),
    ),
    "an hour is over": Fault("expired-session", "model.error", {"after": 4}, goal=("model.error", "model.ready", 1.0)),
    "refusal": Fault("refuse", "model.lost", lasts=True),
    "rate limit": Fault("rate-limit", "model.lost", lasts=True),
    "closed at once": Fault("drop-after-open", "model.lost", lasts=True),
    "cut stream": Fault(
        "stream-reset", "stream.resumed", {"ms": 5000}, of="twilio", hears=(ANSWER, GO_ON),
        goal=("stream.lost", "agent.speech-started", 3.0)
    ),
    "failed response": Fault("failed-response", "model.response-failed", lasts=True),
    "silent response": Fault("silent-response", "model.response-failed", lasts=True),
    "late response": Fault("slow-response", "agent.filler", {"seconds": 3}),
    "broken event": Fault("malformed-event", "model.malformed", {"after_events": 28}, spare=2),
    "unknown words": Fault("failed-transcription", "turn.answered"),
    "webhook that comes twice": Fault("webhook-twice", "turn.answered", of="twilio"),
    "late frames": Fault("stream-slow", "turn.answered", of="twilio"),
    "lost marks": Fault("marks-lost", "turn.answered", of="twilio"),
    "broken messages": Fault("stream-garbage", "phone.malformed", {"every": 250}, of="twilio"),
}  # fmt: skip
